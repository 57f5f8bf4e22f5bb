"""The demo: a ready model and a generator of one's own, in one page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caloforge import samples
from caloforge.evaluation import Scores, assessment
from caloforge.training import RunFolder, find_run

PARTS = {"train": slice(0, 240), "test": slice(2000, 2120)}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A smaller sample, distances alone, and no pictures: what takes the time has its own tests."""
    showers = samples.load()
    monkeypatch.setattr(samples, "load", lambda part: showers[PARTS[part]])
    monkeypatch.setattr("caloforge.cli.demo.FIRST", ("separation",))
    metrics = ("separation", "worth", "copies")
    monkeypatch.setattr(assessment, "default_metrics", lambda *_, **__: metrics)
    monkeypatch.setattr(
        Scores, "save", lambda self, folder: self.save_json(Path(folder) / "scores.json")
    )


@pytest.mark.filterwarnings("ignore::caloforge.evaluation.EvaluationWarning")
@pytest.mark.filterwarnings("ignore::caloforge.evaluation.UndeterminedWarning")
@pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning")
def test_the_demo_judges_a_ready_model_and_one_of_its_own(
    few: None, caloforge: Callable[..., Any], tmp_path: Path
) -> None:
    done = caloforge("demo", "-o", tmp_path, "--processes", 1)
    assert done.code == 0
    assert done.out.strip() == str(tmp_path / "report.html")
    first, second = done.err.index("The first page"), done.err.index("5. Evaluate")
    assert first < done.err.index("4. Train") < second
    model = find_run("electrons-calochallenge-2")
    record = json.loads((tmp_path / "scores.json").read_text())
    ready, own = record["summary"]
    assert (ready["candidate"], own["candidate"]) == (model.name, "own")
    assert own["copies"] == own["copies_floor"] == 0
    assert own["n_training_showers"] == 240
    n_trained = RunFolder(model).effort()["n_training_showers"]
    assert ready["n_training_showers"] == n_trained != 240
    assert ready["copies"] is None  # its training showers are not there
    for candidate in (ready, own):
        assert candidate["ms_per_shower"] > 0
        assert candidate["amplification_low"] > 0
