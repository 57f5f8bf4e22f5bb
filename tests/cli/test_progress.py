"""What the lines of a long training say where there is no terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from caloforge.cli import progress as displays
from caloforge.training import TrainingProgress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(displays.time, "monotonic", lambda: now[0])
    return now


def test_the_time_left_is_that_of_the_stage_from_where_it_was_taken_up(clock: list[float]) -> None:
    console = Console(file=io.StringIO(), width=200)
    display = displays.TrainingDisplay(console, 2)
    display(TrainingProgress("points", 500, 1000, 0.5, 0.6, 90.0, False))
    clock[0] += 100
    display(TrainingProgress("points", 600, 1000, 0.5, 0.6, 90.0, False))
    clock[0] += 400
    display(TrainingProgress("points", 1000, 1000, 0.5, 0.6, 90.0, True))
    display(TrainingProgress("clouds", 30, 30, float("nan"), float("nan"), 9.0, True))
    first, second, third, fourth = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert first.startswith("training stages: 25 %, points 50 %, loss 0.500, validation 0.600, 90")
    assert "left" not in first
    assert "points 60 % (0:06:40 left), loss" in second
    assert "50 %, points 100 %, loss" in third
    assert fourth.startswith("training stages: 100 %, clouds 100 %, 9 showers/s, 0:08:20 spent")
