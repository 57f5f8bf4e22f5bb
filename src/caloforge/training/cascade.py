"""Train a system: its stages in the order of their needs, side by side where they allow it."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from caloforge.cascade.quantities import ShowerQuantities
from caloforge.cascade.registry import config_to_dict, read_config
from caloforge.cascade.sample import check_sample, check_showers
from caloforge.cascade.stage import Learned
from caloforge.cascade.system import System
from caloforge.cascade.trained import TrainedRange
from caloforge.cascade.usual import UsualParticle
from caloforge.data import FileSource, open_source
from caloforge.devices import find_device
from caloforge.geometry import Geometry
from caloforge.names import did_you_mean
from caloforge.processes import worker_pool
from caloforge.showers import Particles, ShowerSource, check_units, held
from caloforge.training.fitting import fit_stage
from caloforge.training.progress import TrainingProgress
from caloforge.training.runfolder import RunFolder
from caloforge.training.split import split_numbers

__all__ = ["train"]

BLOCK = 1000  # showers looked at at once

Report = Callable[[TrainingProgress], None]


def train(
    system: System,
    showers: ShowerSource[Any] | str | Path | Sequence[str | Path],
    *,
    run: str | Path,
    stages: Sequence[str] | None = None,
    seed: int = 0,
    processes: int = 1,
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
        showers: the training sample, voxels or points as the system draws: in memory or any other
            source, its file, a pattern such as "train_*.h5", or several of these.
        run: the run folder.
        stages: train only these.
        seed: of the split, the order of the showers and all noise.
        processes: how many stages to train at once; with more than one, a script must call this
            under `if __name__ == "__main__":`, as multiprocessing asks.
        device: where to compute; by default the accelerator if there is one.
        resume: go on with a run that was begun with the same system and seed.
        progress: called with a `TrainingProgress` now and then.

    Returns:
        The system, with the best weights of all stages that are trained.

    Raises:
        ValueError: for showers that the system or one of its stages cannot learn from, unknown
            stages, a device that is not there, numbers that are too small, or a run folder that is
            in use by another run or was begun with other showers; before anything is trained.

    Warns:
        UnitsWarning: if the energies look as if they were not in MeV.
    """
    place = find_device(device)
    for name, value, least in (("processes", processes, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"{name} must be {least} or more, got {value}")
    source: ShowerSource[Any] = (
        open_source(showers) if isinstance(showers, str | Path | Sequence) else showers
    )
    sample = held(source)
    check_showers(system, sample)
    if not isinstance(source, FileSource):  # whose files are looked at as they are read
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
    check_sample(system, sample, wanted)
    if not is_begun:
        trained = _trained(system, sample.particles, seed)
        folder.create(system, seed=seed, data={**_origin(source), **facts, "trained": trained})
    for name in system.stages:
        if folder.stage(name).is_trained:
            folder.stage(name).load_weights(system.stages[name])
    if processes > 1 and len(wanted) > 1:
        # workers read files themselves
        handed = Handed(source if isinstance(source, FileSource) else sample, facts["fingerprint"])
        _train_in_processes(system, handed, folder, wanted, seed, processes, place, progress)
    elif wanted:
        seen = held(system.training_sample(sample))
        for name in _in_order(system, wanted):
            _train_stage(system, sample, seen, folder, name, seed, place, progress)
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
    shares = [s.recipe.validation for s in system.stages.values() if isinstance(s, Learned)]
    if shares:
        particles = particles[split_numbers(len(particles), max(shares), seed)[0]]
    return TrainedRange.of(particles, directed=system.is_directed).to_dict()


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
    """How a training sample differs from the one before, as far as the run folder knows that."""
    then = {name: before.get(name, value) for name, value in now.items()}
    if then["n_showers"] != now["n_showers"]:
        return [f"n_showers ({then['n_showers']} then, {now['n_showers']} now)"]
    if then["energy_inc_quantiles"] != now["energy_inc_quantiles"]:
        return ["sample: its incident energies differ"]
    if then["fingerprint"] != now["fingerprint"]:
        return ["sample: the same incident energies, but other deposits or another order"]
    return []


def _in_order(system: System, wanted: Sequence[str]) -> list[str]:
    """The wanted stages, each behind those it needs.

    Raises:
        ValueError: if a needed stage is neither trained nor wanted.
    """
    ordered: list[str] = []
    waiting = list(wanted)
    while waiting:
        ready = [n for n in waiting if not set(system.stages[n].needs) & set(waiting)]
        if not ready:
            raise ValueError(f"the stages {', '.join(waiting)} need each other in a circle")
        ordered += ready
        waiting = [name for name in waiting if name not in ready]
    return ordered


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
    untrained = [need for need in stage.needs if not folder.stage(need).is_trained]
    if untrained:
        raise ValueError(f"{name} needs {', '.join(untrained)} trained first: train it too")
    quantities = ShowerQuantities(seen, stage.learns or (*stage.reads, *stage.writes))
    if not isinstance(stage, Learned):
        place = folder.stage(name)
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


# ---------------------------------------------------------------- several processes


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
                f"{self.source!r} was changed while it was trained on: begin anew, with files that "
                "stay as they are"
            )
        return sample


class _Worker:
    """What a worker process holds between stages."""

    system: System
    handed: Handed
    sample: ShowerSource[Any]
    seen: ShowerSource[Any] | None = None
    folder: RunFolder
    messages: Any


def _start_worker(folder: Path, handed: Handed, threads: int, messages: Any) -> None:
    torch.set_num_threads(threads)
    _Worker.folder = RunFolder(folder)
    _Worker.system = _Worker.folder.build()
    _Worker.handed, _Worker.messages = handed, messages


def _train_in_worker(name: str, needs: Sequence[str], seed: int, device: str) -> str:
    for need in needs:
        _Worker.folder.stage(need).load_weights(_Worker.system.stages[need])
    if _Worker.seen is None:
        _Worker.sample = _Worker.handed.sample()
        _Worker.seen = held(_Worker.system.training_sample(_Worker.sample))
    system, sample, seen, folder = _Worker.system, _Worker.sample, _Worker.seen, _Worker.folder
    _train_stage(system, sample, seen, folder, name, seed, device, _report)
    return name


def _report(progress: TrainingProgress) -> None:
    _Worker.messages.put(progress)


def _train_in_processes(
    system: System,
    handed: Handed,
    folder: RunFolder,
    wanted: Sequence[str],
    seed: int,
    processes: int,
    device: str,
    progress: Report | None,
) -> None:
    messages = get_context("spawn").Queue()
    threads = max(1, (os.cpu_count() or 1) // processes)
    waiting = _in_order(system, wanted)
    running: set[Future[str]] = set()
    with (
        _forwarding(messages, progress),
        worker_pool(
            min(processes, len(wanted)),
            work="training",
            remedy="what was saved is kept, resume it",
            initializer=_start_worker,
            initargs=(folder.path, handed, threads, messages),
        ) as executor,
    ):
        while waiting or running:
            for name in [n for n in waiting if _is_ready(system, folder, n)]:
                waiting.remove(name)
                needs = system.stages[name].needs
                running.add(executor.submit(_train_in_worker, name, needs, seed, device))
            if not running:
                raise ValueError(f"{waiting[0]} needs a stage that is not trained: train it too")
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                name = future.result()
                folder.stage(name).load_weights(system.stages[name])


def _is_ready(system: System, folder: RunFolder, name: str) -> bool:
    return all(folder.stage(need).is_trained for need in system.stages[name].needs)


@contextmanager
def _forwarding(messages: Any, progress: Report | None) -> Iterator[None]:
    """Hand the workers' messages to the caller's `progress`, in a thread of this process."""
    ended = threading.Event()

    # Nothing is put into the queue from here: a worker that was killed may have left it locked.
    def forward() -> None:
        while True:
            last = ended.is_set()
            try:
                message = messages.get(timeout=0.1)
            except queue.Empty:
                if last:
                    return
                continue
            if progress is not None:
                progress(message)

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=5)
