"""Run folders of earlier versions, which keep some stages at another place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import safe_open

from caloforge.cascade.stage import Stage
from caloforge.training.stagefolder import StageFolder

__all__ = ["stage_folder"]

HOSTS = {"members": "points"}  # stages whose tensors lie among those of another, and that


def stage_folder(run: Path, name: str) -> StageFolder:
    """The folder of a stage, or what an earlier version has in its place."""
    guests = tuple(guest for guest, host in HOSTS.items() if host == name)
    folder = StageFolder(run / "stages" / name, run, guests)
    if folder.is_trained:
        return folder
    older: list[Older] = [Calibration(run / "calibration" / f"{name}.json", run)]
    if name in HOSTS:
        older.append(Guest(run / "stages" / HOSTS[name], run, (name,)))
    return next((place for place in older if place.is_trained), folder)


class Older(StageFolder):
    """What is no folder of the stage's own."""

    def summary(self) -> dict[str, Any]:
        return {"seconds": 0.0}  # which nobody wrote down


class Calibration(Older):
    """The one file of what was fitted on the trained system, before that was a stage."""

    @property
    def _state_file(self) -> Path:
        return self.path

    @property
    def is_trained(self) -> bool:
        return self._files.holds(self.path)

    def check_weights(self, stage: Stage) -> None:
        """There are none."""

    def load_weights(self, stage: Stage) -> None:
        with self._fitting():
            self._load_state(stage)


class Guest(Older):
    """Tensors among those of a host, of names that begin with that of the stage, its only guest."""

    @property
    def is_trained(self) -> bool:
        weights = self.path / "weights.safetensors"
        if not super().is_trained or not self._files.holds(weights):
            return False
        with self._fitting(), safe_open(weights, "pt") as file:
            return any(map(self._named, file.keys()))

    def _named(self, name: str) -> str:
        owner, _, own = name.partition(".")
        return own if owner in self.guests else ""

    def _load_state(self, stage: Stage) -> None:
        stage.load_state({})  # tensors are all that was kept
