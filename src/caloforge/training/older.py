"""Run folders of earlier versions, which keep some stages at another place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from caloforge.cascade.stage import Stage
from caloforge.training.stagefolder import StageFolder

__all__ = ["stage_folder"]


def stage_folder(run: Path, name: str) -> StageFolder:
    """The folder of a stage, or what an earlier version has in its place."""
    folder = StageFolder(run / "stages" / name, run)
    if folder.is_trained:
        return folder
    older = Calibration(run / "calibration" / f"{name}.json", run)
    return older if older.is_trained else folder


class Calibration(StageFolder):
    """One file for what was fitted on the trained system, before that was a stage."""

    @property
    def is_trained(self) -> bool:
        return self._files.holds(self.path)

    def check_weights(self, stage: Stage) -> None:
        """It has none."""

    def load_weights(self, stage: Stage) -> None:
        with self._fitting():
            self._load_state(stage, self.path)

    def summary(self) -> dict[str, Any]:
        return {"seconds": 0.0}  # which nobody wrote down
