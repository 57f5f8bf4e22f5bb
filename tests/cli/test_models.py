"""The commands of models, and names of models in the commands that take a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import caloforge as cf
from caloforge.showers import VoxelShowers
from caloforge.training import models

Command = Callable[..., Any]  # arguments to exit code and what was printed


def test_what_is_installed_is_listed_with_what_is_known(
    installed: Path, caloforge: Command
) -> None:
    (listed,) = json.loads(caloforge("models", "--json").out)["models"]
    assert listed["name"] == "electrons-mine-quilt"
    assert (listed["system"], listed["geometry"]) == ("quilt", "calochallenge-2")
    assert listed["n_showers"] == cf.load("electrons-mine").trained.n_showers
    assert listed["worth"] is listed["auc"] is listed["ms_per_shower"] is None
    printed = caloforge("models").out
    assert "electrons-mine is electrons-mine-quilt" in printed
    assert "–" in printed


def test_what_a_card_was_made_of_stands_in_the_table(installed: Path, caloforge: Command) -> None:
    scores = [
        {"metric": "worth", "observable": "all", "value": 1102.0},
        {"metric": "worth", "observable": "radius", "value": 580.0},
        {"metric": "small-shower", "observable": "auc", "value": 0.576},
        {"metric": "small-voxels", "observable": "auc", "value": 0.672},
        {"metric": "small-layers", "observable": "auc", "value": None},
    ]
    timing = [{"rows": [{"ms_per_shower": 17.2}, {"ms_per_shower": 0.71}, {"ms_per_shower": None}]}]
    card = installed / "electrons-mine-quilt" / "card.json"
    card.write_text(json.dumps({"evaluation": {"scores": scores}, "timing": timing}))
    (listed,) = json.loads(caloforge("models", "--json").out)["models"]
    assert (listed["worth"], listed["auc"], listed["ms_per_shower"]) == (1102, 0.672, 0.71)
    printed = caloforge("models").out
    assert all(number in printed for number in ("1,102", "0.672", "0.71"))
    card.write_text(json.dumps({"evaluation": None, "timing": []}))  # nothing was measured
    assert "–" in caloforge("models").out
    card.write_text("[]")
    damaged = caloforge("models")
    assert (damaged.code, "card.json is no card of a model" in damaged.err) == (2, True)


def test_nothing_installed_is_said(caloforge: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_shipped", lambda: ({}, {}))
    assert "pip install 'caloforge[models]'" in caloforge("models").out


def test_showers_of_a_model_have_the_spectrum_of_its_training(
    installed: Path, tmp_path: Path, caloforge: Command
) -> None:
    done = caloforge("generate", "electrons-mine", "-n", 30, "--strict", "-o", tmp_path / "a.h5")
    assert done.code == 0, done.err
    with cf.open_showers(tmp_path / "a.h5") as file:
        assert len(file) == 30
        assert file.attributes["run"] == "electrons-mine-quilt"


def test_a_model_is_described_and_timed(
    installed: Path, tmp_path: Path, caloforge: Command
) -> None:
    assert "for calochallenge-2" in caloforge("info", "electrons-mine").out
    quick = ("--batch-sizes", 10, "--runs", 1, "-n", 10)
    done = caloforge("bench", "electrons-mine", *quick, "--json")
    assert json.loads(done.out)["run"] == "electrons-mine-quilt"


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "electrons-min", "-n", "3", "-o", "{tmp}/a.h5"),
        ("upsample", "electrons-min", "coarse.h5", "-o", "{tmp}/a.h5"),
        ("bench", "electrons-min"),
        ("check", "electrons-min"),
        ("pack", "electrons-min", "-o", "{tmp}/model"),
        ("info", "electrons-min"),
    ],
)
def test_a_name_that_is_nearly_right_is_one_line(
    arguments: tuple[str, ...], installed: Path, tmp_path: Path, caloforge: Command
) -> None:
    done = caloforge(*(text.format(tmp=tmp_path) for text in arguments))
    assert done.code == 2
    assert "did you mean 'electrons-mine'?" in done.err
    assert "caloforge models" in done.err
    assert done.err.count("\n") == 1


def test_a_model_is_packed_checked_and_fails_when_it_is_spoiled(
    quilt_run: Path, bundled: VoxelShowers, tmp_path: Path, caloforge: Command
) -> None:
    model, geant4 = tmp_path / "model", tmp_path / "geant4.h5"
    assert "MB" in caloforge("pack", quilt_run, "-o", model).err
    cf.write(geant4, bundled[2000:])
    passed = caloforge("check", model, "--make", geant4)
    assert "check.json" in passed.err
    assert (passed.code, "passed; 200 showers" in passed.out) == (0, True)
    values = json.loads((model / "check.json").read_text())
    values["figures"]["mean response"] = {"geant4": 0.5, "error": 0.001, "model": 0.5}
    (model / "check.json").write_text(json.dumps(values))
    failed = caloforge("check", model)
    assert failed.code == 1
    assert "mean response" in failed.out
    assert "1 of 100 figures lie beyond their tolerance" in failed.out
    assert not json.loads(caloforge("check", model, "--json").out)["passed"]
