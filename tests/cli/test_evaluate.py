"""`caloforge evaluate` of point clouds: cells by name and impact point, what is lost, what is left
out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.main import get_command

import caloforge as cf
from caloforge.cli.cells import cells_around
from caloforge.cli.main import app
from caloforge.evaluation import Scores
from caloforge.geometry import ild_ecal
from caloforge.report.command import command_of
from caloforge.showers import PointShowers

Command = Callable[..., Any]  # arguments to exit code and what was printed


def test_cells_lie_around_an_impact_point() -> None:
    assert cells_around("37.5,-36.1", ild_ecal()) == ild_ecal((37.5, -36.1))
    with pytest.raises(ValueError, match=r"--impact is a place in the detector of ild-ecal"):
        cells_around("1,2", cf.geometry_preset("ild-30"))
    with pytest.raises(ValueError, match=r"expected 2 numbers such as 1,2, got '5'"):
        cells_around("5", ild_ecal())


def _no_page(scores: Scores, path: Path, *, figures: object) -> None:
    path.write_text(scores.to_markdown())


@pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning")
def test_points_are_evaluated_in_the_cells_asked_for(
    bundled_points: PointShowers,
    tmp_path: Path,
    caloforge: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("caloforge.report.save_page", _no_page)  # drawing takes long
    for module in ("caloforge.evaluation", "caloforge.evaluation.catalogue"):
        monkeypatch.setattr(f"{module}.metric_names", lambda: ("points", "calodream-low"))
    cf.write(tmp_path / "test.h5", bundled_points[:30])
    cf.write(tmp_path / "fake.h5", fake := bundled_points[30:])
    arguments = ["evaluate", "--reference", tmp_path / "test.h5", f"mine={tmp_path / 'fake.h5'}"]
    result = caloforge(*arguments, "--impact", "37.5,-36.1", "--metric", "all", "-o", tmp_path)
    assert result.code == 0, result.err
    lost = fake.lost(fake.project(ild_ecal((37.5, -36.1)))).mean()
    assert f"mine: {lost:.2%} of the energy lost in the projection" in result.err
    assert "left out, as ild-ecal at (37.5, -36.1) does not suit them: calodream-low" in result.err
    record = json.loads((tmp_path / "scores.json").read_text())
    assert record["provenance"]["geometry"] == "ild-ecal at (37.5, -36.1)"
    assert {score["metric"] for score in record["scores"]} == {"points"}
    found = {score["observable"]: score["value"] for score in record["scores"]}
    assert np.isfinite(found["n_points"])


@pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning")
def test_training_showers_and_conditions_are_taken_from_options(
    bundled: cf.VoxelShowers,
    tmp_path: Path,
    caloforge: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("caloforge.report.save_page", _no_page)
    for name, part in {"test": bundled[:120], "fake": bundled[120:240]}.items():
        cf.write(tmp_path / f"{name}.h5", part)
    for name, part in {"a": bundled[240:300], "b": bundled[300:370]}.items():
        cf.write(tmp_path / f"train_{name}.h5", part)
    arguments = ["evaluate", "--reference", tmp_path / "test.h5", tmp_path / "fake.h5"]
    metrics = ["--metric", "worth", "--metric", "wasserstein"]
    options = ["--training", tmp_path / "train_*.h5", "--by", "energy:2", "-o", tmp_path]
    result = caloforge(*arguments, *metrics, *options)
    assert result.code == 0, result.err
    record = json.loads((tmp_path / "scores.json").read_text())
    files = ["train_a.h5", "train_b.h5"]
    assert record["provenance"]["training"] == {"n_showers": 130, "files": files}
    assert [cell["n_training"] for cell in record["worths"]["fake"]["cells"]] == [130]
    assert len({score["condition"] for score in record["by_condition"]}) == 2
    result = caloforge(*arguments, *metrics, "--by", "mass", "-o", tmp_path)
    assert result.code != 0
    assert "--by must be among kind, direction, energy" in result.err


@pytest.mark.filterwarnings("ignore::caloforge.evaluation.EvaluationWarning")
def test_copies_of_training_points_are_counted_in_any_cells(
    bundled_points: PointShowers,
    tmp_path: Path,
    caloforge: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("caloforge.report.save_page", _no_page)
    parts = {"test": slice(0, 24), "fake": slice(24, 48), "train": slice(36, None)}
    for name, part in parts.items():
        cf.write(tmp_path / f"{name}.h5", bundled_points[part])
    arguments = ["evaluate", "--reference", tmp_path / "test.h5", tmp_path / "fake.h5"]
    options = ["--geometry", "ild-30", "--metric", "copies", "-o", tmp_path]
    result = caloforge(*arguments, "--training", tmp_path / "train.h5", *options)
    assert result.code == 0, result.err
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]
    found = next(score for score in scores if score["observable"] == "exact")
    assert found["value"] == pytest.approx(0.5, abs=0.1)  # 12 of 24, over ten samples of 12
    assert found["floor"] == 0


# options of how the work is done and of what is written, not of the result
UNCHANGING = {"output", "figures", "published", "cache", "processes", "as_json"}
GIVEN = {
    "voxels": (
        *("mine=fake.h5", "--reference", "test.h5", "--other", "other.h5"),
        *("--training", "train_a.h5", "--training", "train_b.h5"),
        *(
            "--metric",
            "wasserstein",
            "--metric",
            "worth",
            "--by",
            "energy:2",
            "--by",
            "direction:1",
        ),
        *("--timing", "mine=time.json", "--threshold", "0.2", "--seed", "3"),
        *("--geometry", "calochallenge-2"),
    ),
    "points": (
        "mine=points.h5",
        "--reference",
        "points.h5",
        "--metric",
        "points",
        "--impact",
        "1,2",
    ),
}


def _options(words: Sequence[str]) -> dict[str, Any]:
    """What the command makes of words."""
    command = get_command(app).commands["evaluate"]
    return command.make_context("evaluate", list(words)).params


@pytest.mark.filterwarnings("ignore::caloforge.evaluation.EvaluationWarning")
@pytest.mark.filterwarnings("ignore::caloforge.evaluation.UndeterminedWarning")
def test_the_command_of_the_page_has_every_option_that_changes_the_result(
    bundled: cf.VoxelShowers,
    bundled_points: PointShowers,
    tmp_path: Path,
    caloforge: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    printed: list[str | None] = []

    def keep_command(scores: Scores, path: Path, *, figures: object) -> None:
        printed.append(command_of(scores))
        path.touch()

    monkeypatch.setattr("caloforge.report.save_page", keep_command)
    names = ("test", "other", "fake", "train_a", "train_b")
    for number, name in enumerate(names):
        cf.write(tmp_path / f"{name}.h5", bundled[100 * number : 100 * number + 100])
    cf.write(tmp_path / "points.h5", bundled_points)
    (tmp_path / "time.json").write_text('{"rows": []}')
    usual, changed = _options(["a.h5", "--reference", "b.h5", "-o", "c"]), set[str]()
    for words in GIVEN.values():
        result = caloforge("evaluate", *words, "--no-cache", "--json", "-o", "eval")
        assert result.code == 0, result.err
        command = printed[-1]
        assert command is not None
        given, again = _options([*words, "-o", "eval"]), _options(shlex.split(command)[2:])
        told = {name for name in given if given[name] != usual[name]} - UNCHANGING
        assert {name: again[name] for name in told} == {name: given[name] for name in told}
        changed |= told
    # a new option has to be printed, and given above, or to change nothing
    assert changed == usual.keys() - UNCHANGING
