"""The run folder: all that a trained system is, in formats that never execute code.

A folder may come from anybody. All its files go through `Enclosed`; what they hold is compared with
the configuration before it is used, and before memory is spent on it.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save as to_bytes
from torch import Tensor

import caloforge
from caloforge.cascade.calibration import Calibration
from caloforge.cascade.registry import build_from_config, config_to_dict
from caloforge.cascade.stage import Stage
from caloforge.cascade.system import System
from caloforge.cascade.trained import TrainedRange
from caloforge.cascade.usual import UsualParticle
from caloforge.geometry import Geometry
from caloforge.training.enclosed import Enclosed
from caloforge.training.outline import outlined
from caloforge.training.plainyaml import plain_yaml, written
from caloforge.training.tensors import check_layout, read_tensors

__all__ = ["MALFORMED", "RunFolder", "StageFolder", "check_form", "load"]

# what values of the wrong kind end in, wherever they are used
MALFORMED = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    ArithmeticError,
    RuntimeError,
)

MOST_YAML = 1 << 20  # sizes of files [bytes]
MOST_JSON = 1 << 26
MOST_TENSORS = 1 << 34
FEW_WEIGHTS = 1 << 22  # numbers that cost nothing, whether they are there or not


@dataclass(frozen=True)
class StageFolder:
    """What is kept of one stage.

    `transforms.json` what its transforms were fitted to, `weights.safetensors` the best weights,
    `state.safetensors` all that resuming needs, while it trains, `log.csv` one line an epoch,
    `summary.json` once it is trained.

    Args:
        path: the folder.
        run: the run folder that it lies in; None if it stands alone.
    """

    path: Path
    run: Path | None = None

    @cached_property
    def _files(self) -> Enclosed:
        return Enclosed(self.run or self.path)

    @property
    def is_trained(self) -> bool:
        """Whether its training came to its end."""
        return self._files.holds(self.path / "summary.json")

    def save_weights(self, stage: Stage) -> None:
        """Write the weights and the transforms of a stage."""
        tensors = {name: value.detach().contiguous() for name, value in stage.state_dict().items()}
        self._files.write(
            {
                self.path / "transforms.json": json.dumps(stage.transforms(), indent=1),
                self.path / "weights.safetensors": to_bytes(tensors),
            }
        )

    def check_weights(self, stage: Stage) -> None:
        """Refuse weights that a stage has no room for, before any of them is read.

        Args:
            stage: may lie on PyTorch's meta device, where it has shapes alone.

        Raises:
            ValueError: if they are missing, damaged, or of another network.
        """
        weights = self.path / "weights.safetensors"
        if not self._files.holds(weights):
            raise ValueError(
                f"{self.path} holds no weights: train the stage {self.path.name!r} first"
            )
        with self._fitting():
            self._files.check_size(weights, MOST_TENSORS)
            check_layout(weights, stage.state_dict())

    def load_weights(self, stage: Stage) -> None:
        """Load what `save_weights` wrote.

        Raises:
            ValueError: if it is missing, damaged, or of another network.
        """
        self.check_weights(stage)
        with self._fitting():
            transforms = self._files.json(self.path / "transforms.json", MOST_JSON)
            stage.load_transforms(transforms)
            check_form(stage.transforms(), transforms)
            stage.load_state_dict(read_tensors(self.path / "weights.safetensors")[0])

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """Whatever goes wrong in here is said of this folder."""
        try:
            yield
        except (SafetensorError, OSError, *MALFORMED) as error:
            # PyTorch lists every weight that is missing: its first two lines say enough
            reason = " ".join(str(error).splitlines()[:2])[:200]
            raise ValueError(f"{self.path} does not fit the stage: {reason}") from error

    def save_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Write all that resuming needs: tensors, and values in JSON's types."""
        contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        # to memory first: an error of the disk is then one of Python's, not of safetensors
        content = to_bytes(contiguous, metadata={"values": json.dumps(values)})
        self._files.write({self.path / "state.safetensors": content})

    def load_state(
        self, expected: Mapping[str, Tensor], *, optional: frozenset[str] = frozenset()
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What `save_state` wrote, None if there is nothing.

        Args:
            expected: tensors of the names and shapes that there have to be.
            optional: names that may be missing.

        Raises:
            ValueError: if it is damaged, or of another stage.
        """
        path = self.path / "state.safetensors"
        if not self._files.holds(path):
            return None
        try:
            self._files.check_size(path, MOST_TENSORS)
            check_layout(path, expected, optional=optional)
            return read_tensors(path)
        except ValueError as error:
            raise self.damaged_state(error) from error

    def damaged_state(self, reason: object) -> ValueError:
        """What to say of a state that cannot be resumed from."""
        return ValueError(
            f"{self.path / 'state.safetensors'} is damaged ({str(reason)[:200]}): remove it to "
            "begin this stage anew"
        )

    def save_log(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the log, a line an epoch."""
        lines, text = list(rows), io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(lines[0]) if lines else [])
        writer.writeheader()
        writer.writerows(lines)
        self._files.write({self.path / "log.csv": text.getvalue()})

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Mark the stage as trained and drop what only resuming needs."""
        self._files.write({self.path / "summary.json": json.dumps(summary, indent=1)})
        self._files.remove(self.path / "state.safetensors")

    def summary(self) -> dict[str, Any]:
        """What `finish` wrote: of a stage that learns nothing the seconds alone.

        Raises:
            ValueError: if it is damaged.
        """
        path = self.path / "summary.json"
        values = self._files.json(path, MOST_JSON)
        found: dict[str, Any] = values if isinstance(values, dict) else {}
        is_fitted_alone = found.keys() == {"seconds"}
        numbers = () if is_fitted_alone else ("epochs", "steps", "validation")
        if any(not _is_number(found.get(name)) for name in (*numbers, "seconds")):
            raise ValueError(
                f"{path} is damaged: expected the numbers {', '.join((*numbers, 'seconds'))}"
            )
        return found


class RunFolder:
    """A folder that holds one trained system: `config.yaml`, `stages/<name>/…`, `calibration/…`.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._files = Enclosed(self.path)
        self._config = self.path / "config.yaml"

    def __repr__(self) -> str:
        if not self.exists:
            return f"RunFolder({str(self.path)!r}: no run was begun here)"
        config = self.config()
        stages = sorted((self.path / "stages").glob("*"))
        trained = sum(self.stage(folder.name).is_trained for folder in stages)
        return (
            f"RunFolder({str(self.path)!r}: {config['system']} for "
            f"{config['geometry'].get('name')}, {trained} stages trained)"
        )

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self._files.holds(self._config)

    def stage(self, name: str) -> StageFolder:
        """The folder of a stage."""
        return StageFolder(self.path / "stages" / name, self.path)

    def save_calibration(self, name: str, calibration: Calibration) -> None:
        """Keep what was fitted after training."""
        content = json.dumps(calibration.state(), indent=1)
        self._files.write({self._calibration(name): content})

    def load_calibration(self, name: str, calibration: Calibration) -> bool:
        """Load what `save_calibration` wrote; returns whether there is any.

        Raises:
            ValueError: if it is damaged.
        """
        path = self._calibration(name)
        if not self._files.holds(path):
            return False
        try:
            state = self._files.json(path, MOST_JSON)
            calibration.load_state(state)
            check_form(calibration.state(), state)
        except (OSError, *MALFORMED) as error:
            reason = " ".join(str(error).splitlines()[:2])[:200]
            raise ValueError(
                f"{path} is damaged ({reason}): remove it and resume the training"
            ) from error
        return True

    def _calibration(self, name: str) -> Path:
        return self.path / "calibration" / f"{name}.json"

    def create(self, system: System, **facts: Any) -> None:
        """Begin a run: write the complete configuration.

        Args:
            system: what is trained.
            facts: what else belongs to the run, such as the seed and the training sample.
        """
        config = {
            "caloforge": caloforge.__version__,
            "system": system.name,
            "initial_seed": system.seed,
            **facts,
            "config": config_to_dict(system.config),
            "geometry": system.geometry.to_dict(),
        }
        self._files.write({self._config: written(config)})

    def config(self) -> dict[str, Any]:
        """What `create` wrote.

        Raises:
            ValueError: if no run was begun here, or its configuration is damaged.
        """
        if not self.exists:
            raise ValueError(f"{self.path} is no run folder: it has no config.yaml")
        text = self._files.read(self._config, MOST_YAML)
        try:
            values = plain_yaml(text)
        except ValueError as error:
            raise ValueError(f"{self._config} is damaged: {error}") from error
        found: dict[str, Any] = values if isinstance(values, dict) else {}
        if missing := {"system", "config", "geometry"} - found.keys():
            raise ValueError(f"{self._config} lacks {', '.join(sorted(missing))}")
        for name, kind in _KINDS.items():
            value = found.get(name, kind())
            if not isinstance(value, kind) or (isinstance(value, int) and abs(value) >= 1 << 63):
                raise ValueError(
                    f"{self._config} is damaged: expected {kind.__name__} for {name}, got "
                    f"{str(value)[:100]!r}"
                )
        return found

    def trained_range(self) -> TrainedRange | None:
        """What the system was trained on, None for runs that are older than this record.

        Raises:
            ValueError: if it is damaged.
        """
        data = self.config().get("data")
        values = data.get("trained") if isinstance(data, dict) else None
        return None if values is None else TrainedRange.from_dict(values)

    def usual_particle(self) -> UsualParticle:
        """What the particles of the training are alike in, as far as the run knows.

        Raises:
            ValueError: if it is damaged.
        """
        values = self.config().get("data", {}).get("usual_particle")
        return UsualParticle() if values is None else UsualParticle.from_dict(values)

    def effort(self) -> dict[str, float]:
        """What the training took, as far as the run knows: its showers, and minutes of all stages.

        Stages that trained side by side count one after the other.

        Raises:
            ValueError: if the configuration or a summary is damaged.
        """
        config, found = self.config(), dict[str, float]()
        if _is_number(n_showers := config.get("data", {}).get("n_showers")):
            found["n_training_showers"] = n_showers
        folders = sorted((self.path / "stages").glob("*"))
        stages = [stage for folder in folders if (stage := self.stage(folder.name)).is_trained]
        if stages:
            seconds = sum(stage.summary()["seconds"] for stage in stages)
            found["training_minutes"] = round(seconds / 60, 3)
        return found

    def build(self) -> System:
        """The system with its initial weights, as the run began."""
        config, geometry = self._described()
        seed = config.get("initial_seed", 0)
        system = build_from_config(config["system"], config["config"], geometry, seed=seed)
        system.usual = self.usual_particle()
        return system

    def outline(self, **limit: int) -> System:
        """The same system without memory for its weights: it knows its shapes, and cannot draw.

        Args:
            limit: see `outlined`.

        Raises:
            ValueError: if no run was begun here, or its configuration is damaged.
        """
        config, geometry = self._described()
        return outlined(config["system"], config["config"], geometry, **limit)

    def size(self) -> int:
        """Size of all weights [bytes]."""
        files = (self.path / "stages").glob("*/weights.safetensors")
        return sum(self._files.check_size(path, MOST_TENSORS) for path in files)

    def _described(self) -> tuple[dict[str, Any], Geometry]:
        config = self.config()
        return config, Geometry.from_dict(config["geometry"])


def load(run: str | Path) -> System:
    """Load a trained system from its run folder alone.

    Raises:
        ValueError: if it is no run folder, a stage is not trained, or a file does not fit.
    """
    folder = RunFolder(run)
    # half as many numbers as bytes are twice as many as are there
    outline = folder.outline(most=max(FEW_WEIGHTS, folder.size() // 2))
    untrained = [name for name in outline.stages if not folder.stage(name).is_trained]
    if untrained:
        raise ValueError(
            f"{run} is not trained to its end, {len(untrained)} of {len(outline.stages)} stages "
            f"are missing ({', '.join(untrained[:5])}{' …' if len(untrained) > 5 else ''}): "
            "resume the training"
        )
    for name, stage in outline.stages.items():
        folder.stage(name).check_weights(stage)
    system = folder.build()
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


# what else than any value there has to be in config.yaml, where it is there at all
_KINDS: dict[str, type[Any]] = {
    "system": str,
    "config": dict,
    "geometry": dict,
    "initial_seed": int,
    "seed": int,
    "data": dict,
}


def check_form(own: Any, given: Any) -> None:
    """Refuse loaded values that would be written otherwise: other names or lengths, not finite.

    Raises:
        ValueError: for values of another form.
    """
    if isinstance(own, dict) and isinstance(given, dict) and own.keys() == given.keys():
        for name in own:
            check_form(own[name], given[name])
    elif isinstance(own, list) and isinstance(given, list) and len(own) == len(given):
        for pair in zip(own, given, strict=True):
            check_form(*pair)
    elif not (_is_number(own) and _is_number(given)) and own != given:
        raise ValueError(f"expected values such as {str(own)[:60]}, got {str(given)[:60]}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < math.inf
