"""Run folders of earlier versions, which keep some stages at another place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import safe_open

from caloforge.cascade.stage import Stage
from caloforge.training.sharing.layout import MOST_JSON
from caloforge.training.stagefolder import StageFolder

__all__ = ["stage_folder"]

HOSTS = {"members": "points"}  # stages whose tensors lie among those of another, and that
CONDITIONS = ({"energy_inc", "ratios"}, {"energy_inc", "n_points"})  # that every network kept


def stage_folder(run: Path, name: str) -> StageFolder:
    """The folder of a stage, or what an earlier version has in its place."""
    guests = tuple(guest for guest, host in HOSTS.items() if host == name)
    folder = Owner(run / "stages" / name, run, guests)
    if folder.is_trained:
        return folder
    older: list[Older] = [Calibration(run / "calibration" / f"{name}.json", run)]
    if name in HOSTS:
        older.append(Guest(run / "stages" / HOSTS[name], run, (name,)))
    if name == "conditions":
        older += [Shared(path, run) for path in sorted((run / "stages").glob("*"))]
    return next((place for place in older if place.is_trained), folder)


class Owner(StageFolder):
    """A folder of the stage's own, without the conditions that networks kept with their own."""

    def _state(self, stage: Stage) -> Any:
        state = super()._state(stage)
        shared = _conditions(state) if "conditions" in stage.needs else set()
        return {name: values for name, values in state.items() if name not in shared}


class Older(StageFolder):
    """What is no folder of the stage's own."""

    def summary(self) -> dict[str, Any]:
        return {"seconds": 0.0}  # not recorded


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


class Shared(Calibration):
    """The conditions of a system that a network keeps with its own transforms."""

    @property
    def _state_file(self) -> Path:
        return self.path / "transforms.json"

    @property
    def is_trained(self) -> bool:
        if not StageFolder(self.path, self.run).is_trained:
            return False
        with self._fitting():
            return bool(_conditions(self._files.json(self._state_file, MOST_JSON)))

    def _state(self, stage: Stage) -> Any:
        state = super()._state(stage)
        return {name: state[name] for name in _conditions(state)}


def _conditions(state: Any) -> set[str]:
    """Names of the conditions among the transforms of a network."""
    return next((names for names in CONDITIONS if names <= state.keys()), set())


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
