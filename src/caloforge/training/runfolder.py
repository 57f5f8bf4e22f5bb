"""The run folder: all that a trained system is, in formats that never execute code.

A folder is untrusted. All its files go through `Enclosed`; what they hold is compared with
the configuration before it is used, and before memory is spent on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import caloforge
from caloforge.cascade.registry import build_from_config, config_to_dict
from caloforge.cascade.system import System
from caloforge.cascade.trained import TrainedRange
from caloforge.cascade.usual import UsualParticle
from caloforge.geometry import Geometry
from caloforge.training.enclosed import Enclosed
from caloforge.training.models import find_run
from caloforge.training.older import stage_folder
from caloforge.training.outline import outlined
from caloforge.training.plainyaml import plain_yaml, written
from caloforge.training.sharing.layout import MOST_TENSORS, MOST_YAML
from caloforge.training.stagefolder import StageFolder, is_number

__all__ = ["RunFolder", "load"]

FEW_WEIGHTS = 1 << 22  # numbers that cost nothing, whether they are there or not


class RunFolder:
    """A folder that holds one trained system: `config.yaml` and `stages/<name>/…`.

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
        return stage_folder(self.path, name)

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
        """What all particles of the training have in common, as far as the run records it.

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
        if is_number(n_showers := config.get("data", {}).get("n_showers")):
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
        """The same system without memory for its weights: it has shapes, and cannot sample.

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

    Args:
        run: the folder, the name of a model, or the address of one, see `find_run`.

    Raises:
        ConnectionError: if what holds an address does not answer.
        ValueError: if it is no run folder, a stage is not trained, or a file does not fit.

    Warns:
        MovingAddressWarning: if an address names another model tomorrow.
    """
    folder = RunFolder(find_run(run))
    # as many numbers as bytes are twice as many as are there in half precision
    outline = folder.outline(most=max(FEW_WEIGHTS, folder.size()))
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
    return system


# what else than any value there has to be in config.yaml, where it is there at all
_KINDS: dict[str, type[Any]] = {
    "system": str,
    "config": dict,
    "geometry": dict,
    "initial_seed": int,
    "seed": int,
    "data": dict,
    "hardware": dict,
}
