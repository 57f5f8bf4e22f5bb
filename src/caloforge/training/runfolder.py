"""The run folder: all that a trained system is, in formats that never execute code."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

import caloforge
from caloforge.data import write_files
from caloforge.geometry import Geometry
from caloforge.systems.base import System
from caloforge.systems.calibration import Calibration
from caloforge.systems.registry import build_from_config, config_to_dict
from caloforge.systems.stage import Stage
from caloforge.systems.trained import TrainedRange
from caloforge.systems.usual import UsualParticle

__all__ = ["RunFolder", "StageFolder", "load"]

# what reading a damaged or foreign JSON file ends in
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True)
class StageFolder:
    """What is kept of one stage.

    `transforms.json` what its transforms were fitted to, `weights.safetensors` the best weights,
    `state.safetensors` all that resuming needs, while it trains, `log.csv` one line an epoch,
    `summary.json` once it is trained.
    """

    path: Path

    @property
    def is_trained(self) -> bool:
        """Whether its training came to its end."""
        return (self.path / "summary.json").exists()

    def save_weights(self, stage: Stage) -> None:
        """Write the weights and the transforms of a stage."""
        tensors = {name: value.detach().contiguous() for name, value in stage.state_dict().items()}
        files: dict[Path, str | bytes] = {
            self.path / "transforms.json": json.dumps(stage.transforms(), indent=1),
            self.path / "weights.safetensors": to_bytes(tensors),
        }
        write_files(files, parents=True)

    def load_weights(self, stage: Stage) -> None:
        """Load what `save_weights` wrote.

        Raises:
            ValueError: if it is missing, damaged, or of another network.
        """
        weights = self.path / "weights.safetensors"
        if not weights.exists():
            raise ValueError(
                f"{self.path} holds no weights: train the stage {self.path.name!r} first"
            )
        try:
            stage.load_transforms(json.loads((self.path / "transforms.json").read_text()))
            stage.load_state_dict(load_file(weights))
        except (SafetensorError, RuntimeError, OSError, *_MALFORMED) as error:
            # PyTorch lists every weight that is missing: its first two lines say enough
            reason = " ".join(str(error).splitlines()[:2])[:200]
            raise ValueError(f"{self.path} does not fit the stage: {reason}") from error

    def save_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Write all that resuming needs: tensors, and values in JSON's types."""
        contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        # to memory first: an error of the disk is then one of Python's, not of safetensors
        content = to_bytes(contiguous, metadata={"values": json.dumps(values)})
        write_files({self.path / "state.safetensors": content}, parents=True)

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What `save_state` wrote, None if there is nothing.

        Raises:
            ValueError: if it is damaged.
        """
        path = self.path / "state.safetensors"
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return tensors, json.loads(file.metadata()["values"])
        except (SafetensorError, *_MALFORMED) as error:
            raise ValueError(
                f"{path} is damaged ({error}): remove it to begin this stage anew"
            ) from error

    def save_log(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the log, a line an epoch."""
        lines, text = list(rows), io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(lines[0]) if lines else [])
        writer.writeheader()
        writer.writerows(lines)
        write_files({self.path / "log.csv": text.getvalue()}, parents=True)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Mark the stage as trained and drop what only resuming needs."""
        write_files({self.path / "summary.json": json.dumps(summary, indent=1)})
        (self.path / "state.safetensors").unlink(missing_ok=True)

    def summary(self) -> dict[str, Any]:
        """What `finish` wrote."""
        values: dict[str, Any] = json.loads((self.path / "summary.json").read_text())
        return values


class RunFolder:
    """A folder that holds one trained system: `config.yaml`, `stages/<name>/…`, `calibration/…`.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "config.yaml").exists()

    def stage(self, name: str) -> StageFolder:
        """The folder of a stage."""
        return StageFolder(self.path / "stages" / name)

    def save_calibration(self, name: str, calibration: Calibration) -> None:
        """Keep what was fitted after training."""
        content = json.dumps(calibration.state(), indent=1)
        write_files({self._calibration(name): content}, parents=True)

    def load_calibration(self, name: str, calibration: Calibration) -> bool:
        """Load what `save_calibration` wrote; returns whether there is any.

        Raises:
            ValueError: if it is damaged.
        """
        path = self._calibration(name)
        if not path.exists():
            return False
        try:
            calibration.load_state(json.loads(path.read_text()))
        except (OSError, *_MALFORMED) as error:
            raise ValueError(
                f"{path} is damaged ({error}): remove it and resume the training"
            ) from error
        return True

    def _calibration(self, name: str) -> Path:
        return self.path / "calibration" / f"{name}.json"

    def create(self, system: System, **facts: Any) -> None:
        """Begin a run: write the complete configuration.

        Args:
            system: what is trained.
            facts: what else belongs to the run, such as the seed and the training sample.

        Raises:
            NoSpaceError: if the disk is full, as all that writes here.
            ValueError: if the path is no folder.
        """
        config = {
            "caloforge": caloforge.__version__,
            "system": system.name,
            "initial_seed": system.seed,
            **facts,
            "config": config_to_dict(system.config),
            "geometry": system.geometry.to_dict(),
        }
        text = yaml.safe_dump(config, sort_keys=False)
        write_files({self.path / "config.yaml": text}, parents=True)

    def config(self) -> dict[str, Any]:
        """What `create` wrote.

        Raises:
            ValueError: if no run was begun here, or its configuration is damaged.
        """
        if not self.exists:
            raise ValueError(f"{self.path} is no run folder: it has no config.yaml")
        try:
            values = yaml.safe_load((self.path / "config.yaml").read_text())
        except yaml.YAMLError as error:
            raise ValueError(f"{self.path}/config.yaml is damaged: {error}") from error
        missing = {"system", "config", "geometry"} - set(values if isinstance(values, dict) else ())
        if missing:
            raise ValueError(f"{self.path}/config.yaml lacks {', '.join(sorted(missing))}")
        found: dict[str, Any] = values
        return found

    def trained_range(self) -> TrainedRange | None:
        """What the system was trained on, None for runs that are older than this record.

        Raises:
            ValueError: if it is damaged.
        """
        data = self.config().get("data")
        values = data.get("trained") if isinstance(data, dict) else None
        return None if values is None else TrainedRange.from_dict(values)

    def build(self) -> System:
        """The system with its initial weights, as the run began."""
        config = self.config()
        geometry = Geometry.from_dict(config["geometry"])
        system = build_from_config(
            config["system"], config["config"], geometry, seed=int(config.get("initial_seed", 0))
        )
        data = config.get("data")
        if isinstance(data, dict) and "usual_particle" in data:  # which older runs do not know
            system.usual = UsualParticle.from_dict(data["usual_particle"])
        return system


def load(run: str | Path) -> System:
    """Load a trained system from its run folder alone.

    Raises:
        ValueError: if it is no run folder, a stage is not trained, or a file does not fit.
    """
    folder = RunFolder(run)
    system = folder.build()
    untrained = [name for name in system.stages if not folder.stage(name).is_trained]
    if untrained:
        raise ValueError(
            f"{run} is not trained to its end, {len(untrained)} of {len(system.stages)} stages are "
            f"missing ({', '.join(untrained[:5])}{' …' if len(untrained) > 5 else ''}): "
            "resume the training"
        )
    for name, stage in system.stages.items():
        folder.stage(name).load_weights(stage)
        stage.eval()
    system.trained = folder.trained_range()
    for name, calibration in system.calibrations.items():
        if not folder.load_calibration(name, calibration):
            raise ValueError(
                f"{run} lacks its calibration {name!r}, which is fitted behind the last stage: "
                "resume the training"
            )
    return system
