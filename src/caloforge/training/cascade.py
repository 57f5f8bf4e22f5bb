"""Train a system: its stages in the order of their needs, in parallel where possible."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from caloforge.cascade.quantities import ShowerQuantities
from caloforge.cascade.registry import config_to_dict, read_config
from caloforge.cascade.sample import check_sample, check_showers
from caloforge.cascade.stage import Conditions, Learned
from caloforge.cascade.system import System
from caloforge.cascade.trained import TrainedRange
from caloforge.cascade.usual import UsualParticle
from caloforge.data import FileSource, open_source
from caloforge.devices import find_device, hardware
from caloforge.geometry import Geometry
from caloforge.jobs import Executor, Task, find_executor, report
from caloforge.names import did_you_mean
from caloforge.showers import Particles, ShowerSource, check_units, held
from caloforge.training.fitting import fit_stage
from caloforge.training.progress import TrainingProgress
from caloforge.training.runfolder import RunFolder
from caloforge.training.split import split_numbers

__all__ = ["train"]

BLOCK = 1000  # showers read at once

Report = Callable[[TrainingProgress], None]


def train(
    system: System,
    showers: ShowerSource[Any] | str | Path | Sequence[str | Path],
    *,
    run: str | Path,
    stages: Sequence[str] | None = None,
    seed: int = 0,
    processes: int | Executor = 1,
    device: torch.device | str = "auto",
    resume: bool = False,
    progress: Report | None = None,
) -> System:
    """Train the stages of a system, and keep them in a run folder.

    Example:
        >>> showers = cf.read("showers.h5")[:200]
        >>> system = cf.build("library", showers.geometry)
        >>> system = cf.train(system, showers, run="runs/library")

    Args:
        system: as `build` made it.
        showers: the training sample, voxels or points as the system samples: in memory or any other
            source, its file, a pattern such as "train_*.h5", or several of these.
        run: the run folder.
        stages: train only these.
        seed: of the split, the order of the showers and all noise.
        processes: how many stages to train at once, or an `Executor`, such as one on a cluster;
            with several, a script must call this under `if __name__ == "__main__":`, as
            multiprocessing asks.
        device: where to compute; by default the accelerator if there is one.
        resume: go on with a run that was begun with the same system and seed.
        progress: called with a `TrainingProgress` from time to time.

    Returns:
        The system, with the best weights of all stages that are trained.

    Raises:
        ValueError: for showers that the system or one of its stages cannot learn from, unknown
            stages, an unavailable device, numbers that are too small, or a run folder that is
            in use by another run or was begun with other showers; before anything is trained.

    Warns:
        UnitsWarning: if the energies look as if they were not in MeV.
    """
    place = find_device(device)
    executor = find_executor(processes)
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    source: ShowerSource[Any] = (
        open_source(showers) if isinstance(showers, str | Path | Sequence) else showers
    )
    sample = held(source)
    check_showers(system, sample)
    if not isinstance(source, FileSource):  # whose files are checked as they are read
        deposited = [block.total_energy() for block in sample.blocks(BLOCK)]
        energies = sample.particles.energy
        check_units("training sample", sample.geometry, energies, np.concatenate(deposited))
    unknown = [name for name in stages or () if name not in system.stages]
    if unknown:
        meant = did_you_mean(unknown[0], system.stages)
        raise ValueError(
            f"{system.name} has no stage {', '.join(unknown)}{meant}; it has "
            f"{', '.join(system.stages)}"
        )
    folder = RunFolder(run)
    facts = _facts(sample)
    is_begun = _compare(folder, system, facts, resume, seed)
    system.usual = UsualParticle.of(sample.particles)
    wanted = [name for name in (stages or system.stages) if not folder.stage(name).is_trained]
    _check_needs(system, folder, wanted)
    check_sample(system, sample, wanted)
    if not is_begun:
        trained = _trained(system, sample.particles, seed)
        data = {**_origin(source), **facts, "trained": trained}
        folder.create(system, seed=seed, hardware=hardware([place]), data=data)
    # workers read files themselves
    handed = Handed(source if isinstance(source, FileSource) else sample, facts["fingerprint"])
    training = StageTasks(folder, handed, seed, str(device))
    training.system, training.sample = system, sample
    for name in system.stages:
        if folder.stage(name).is_trained:
            training.fetch(name)
    with closing(
        executor.run(
            [training.task(name, wanted) for name in wanted],
            shared=training,
            progress=progress,
            work="training",
            remedy="what was saved is kept, resume it",
        )
    ) as finished:
        for name, _ in finished:
            training.fetch(name)
    system.trained = folder.trained_range()
    return system


def _origin(source: ShowerSource[Any]) -> dict[str, str]:
    """Where a training sample lies."""
    files = source.paths if isinstance(source, FileSource) else ()
    return {"showers": ", ".join(map(str, files)) or "in memory"}


def _facts(sample: ShowerSource[Any]) -> dict[str, Any]:
    """What is worth knowing of a training sample, its incident energies [MeV] as quantiles."""
    energies = sample.particles.energy.astype(np.float64)
    quantiles = np.quantile(energies, np.linspace(0, 1, 101))
    return {
        "n_showers": len(sample),
        "fingerprint": sample.fingerprint(),
        "energy_inc_quantiles": [float(f"{energy:.6g}") for energy in quantiles],
        "usual_particle": UsualParticle.of(sample.particles).to_dict(),
    }


def _trained(system: System, particles: Particles, seed: int) -> dict[str, Any]:
    """The range of the particles whose showers all stages learn from."""
    particles = particles[_training_split(system, len(particles), seed)]
    return TrainedRange.of(particles, directed=system.is_directed).to_dict()


def _training_split(system: System, n: int, seed: int) -> NDArray[np.int64]:
    """Numbers of the showers that all stages learn from: with the largest `validation`."""
    shares = [s.recipe.validation for s in system.stages.values() if isinstance(s, Learned)]
    return split_numbers(n, max(shares), seed)[0] if shares else np.arange(n)


def _compare(
    folder: RunFolder, system: System, facts: dict[str, Any], resume: bool, seed: int
) -> bool:
    """Whether a run was begun in the folder; refuse one that another call began."""
    if not folder.exists:
        if os.path.lexists(folder.path / "stages"):
            raise ValueError(
                f"{folder.path} holds stages without a config.yaml: choose another folder"
            )
        return False
    if not resume:
        raise ValueError(f"{folder.path} holds a run already: resume it, or choose another folder")
    before = folder.config()
    if before["system"] == system.name:  # with the settings that are newer than the run
        before["config"] = config_to_dict(read_config(system.name, before["config"]))
    same = {
        "system": (before["system"], system.name),
        "config": (before["config"], config_to_dict(system.config)),
        "geometry": (Geometry.from_dict(before["geometry"]), system.geometry),
        "initial seed": (before.get("initial_seed"), system.seed),
        "seed": (before.get("seed"), seed),
    }
    other = [name for name, (then, now) in same.items() if then != now]
    other += _other_data(before.get("data", {}), facts)
    if other:
        raise ValueError(
            f"{folder.path} was begun with another {' and '.join(other)}: "
            "resume with the same, or choose another folder"
        )
    return True


def _other_data(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """How a training sample differs from the one before, as far as the run folder records that."""
    then = {name: before.get(name, value) for name, value in now.items()}
    if then["n_showers"] != now["n_showers"]:
        return [f"n_showers ({then['n_showers']} then, {now['n_showers']} now)"]
    if then["energy_inc_quantiles"] != now["energy_inc_quantiles"]:
        return ["sample: its incident energies differ"]
    if then["fingerprint"] != now["fingerprint"]:
        return ["sample: the same incident energies, but other deposits or another order"]
    return []


def _check_needs(system: System, folder: RunFolder, wanted: Sequence[str]) -> None:
    """Refuse to train a stage without one that it needs."""
    for name in wanted:
        needs = [need for need in system.stages[name].needs if need not in wanted]
        untrained = [need for need in needs if not folder.stage(need).is_trained]
        if untrained:
            raise ValueError(f"{name} needs {', '.join(untrained)} trained first: train it too")


def _train_stage(
    system: System,
    showers: ShowerSource[Any],
    seen: ShowerSource[Any],
    folder: RunFolder,
    name: str,
    seed: int,
    device: str,
    progress: Report | None,
) -> None:
    """Train a stage on what the stages see of the showers, or fit it."""
    # the loop brings in Fabric, which is slow to import
    from caloforge.training.loop import StageTraining

    stage = system.stages[name]
    quantities = ShowerQuantities(seen, stage.learns or (*stage.reads, *stage.writes))
    if not isinstance(stage, Learned):
        place = folder.stage(name)
        if isinstance(stage, Conditions):
            split = torch.from_numpy(_training_split(system, len(quantities), seed))
            quantities = quantities.split(split).to(device)
        fit_stage(
            name, system, showers, quantities, place, seed=seed, device=device, report=progress
        )
        return
    StageTraining(
        name,
        stage,
        quantities,
        system.upstream(name),
        folder.stage(name),
        seed=seed,
        device=device,
        report=progress,
    ).run()


# ---------------------------------------------------------------- as tasks


class Handed(NamedTuple):
    """The training sample as a worker gets it: of files, no more than where they lie."""

    source: ShowerSource[Any]
    fingerprint: str

    def sample(self) -> ShowerSource[Any]:
        """The same sample.

        Raises:
            ValueError: if its files hold other showers now.
        """
        sample = held(self.source)
        if sample.fingerprint() != self.fingerprint:
            raise ValueError(
                f"{self.source!r} was changed while it was trained on: start again, with files "
                "that stay as they are"
            )
        return sample


@dataclass
class StageTasks:
    """The training of stages as tasks that meet in the run folder.

    A task is given the name of its stage. Whatever else it needs goes to another process as the
    place of the run folder, and of a sample in files no more than their place.

    Args:
        folder: the run folder.
        handed: the training sample.
        seed: of the split, the order of the showers and all noise.
        device: where to compute, see `find_device`.
    """

    folder: RunFolder
    handed: Handed
    seed: int
    device: str

    def __getstate__(self) -> dict[str, Any]:
        folder = RunFolder(self.folder.path.absolute())
        return {"folder": folder, "handed": self.handed, "seed": self.seed, "device": self.device}

    @cached_property
    def system(self) -> System:
        """The system, as the run began."""
        return self.folder.build()

    @cached_property
    def sample(self) -> ShowerSource[Any]:
        """The training sample."""
        return self.handed.sample()

    @cached_property
    def seen(self) -> ShowerSource[Any]:
        """What the stages learn from."""
        return held(self.system.training_sample(self.sample))

    @cached_property
    def here(self) -> set[str]:
        """Stages that were trained in this process, or fetched."""
        return set()

    def fetch(self, stage: str) -> None:
        """Load a trained stage, unless it is here."""
        if stage not in self.here:
            self.folder.stage(stage).load_weights(self.system.stages[stage])
            self.here.add(stage)

    def task(self, stage: str, wanted: Collection[str]) -> Task:
        """The task of a stage, after those of the wanted stages that it needs."""
        needs = tuple(need for need in self.system.stages[stage].needs if need in wanted)
        return Task(stage, f"{__name__}:StageTasks.train", {"stage": stage}, needs)

    def train(self, stage: str) -> None:
        """Train a stage, with those that it needs as the folder has them."""
        for need in self.system.stages[stage].needs:
            self.fetch(need)
        place = find_device(self.device)
        _train_stage(
            self.system, self.sample, self.seen, self.folder, stage, self.seed, place, report
        )
        self.here.add(stage)
