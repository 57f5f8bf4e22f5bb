"""Run folders of earlier versions, which keep some stages at another place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import safe_open

from caloforge.cascade.stage import Stage
from caloforge.training.stagefolder import StageFolder
from caloforge.training.tensors import check_layout, read_tensors

__all__ = ["stage_folder"]

HOSTS = {"members": "points"}  # stages whose tensors lie among those of another, and that


def stage_folder(run: Path, name: str) -> StageFolder:
    """The folder of a stage, or what an earlier version has in its place."""
    guests = tuple(guest for guest, host in HOSTS.items() if host == name)
    folder = StageFolder(run / "stages" / name, run, guests)
    older: list[StageFolder] = [Calibration(run / "calibration" / f"{name}.json", run)]
    if name in HOSTS:
        older.append(Guest(run / "stages" / HOSTS[name], run, (name,)))
    if folder.is_trained:
        return folder
    return next((place for place in older if place.is_trained), folder)


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


class Guest(StageFolder):
    """Tensors among those of another stage, which began with the name of what is a stage now."""

    @property
    def is_trained(self) -> bool:
        if not super().is_trained or not self._files.holds(self._weights):
            return False
        with self._fitting(), safe_open(self._weights, "pt") as file:
            return any(map(self._of_guests, file.keys()))

    @property
    def _weights(self) -> Path:
        return self.path / "weights.safetensors"

    def _of_host(self, name: str) -> bool:
        return not self._of_guests(name)

    def check_weights(self, stage: Stage) -> None:
        (guest,) = self.guests
        expected = {f"{guest}.{name}": values for name, values in stage.state_dict().items()}
        with self._fitting():
            check_layout(self._weights, expected, others=self._of_host)

    def load_weights(self, stage: Stage) -> None:
        self.check_weights(stage)
        with self._fitting():
            tensors = read_tensors(self._weights, self._of_host)[0]
            stage.load_state_dict({n.partition(".")[2]: values for n, values in tensors.items()})
            stage.is_fitted = True

    def summary(self) -> dict[str, Any]:
        return {"seconds": 0.0}
