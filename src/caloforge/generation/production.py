"""Generate showers from a trained system, in memory or streamed to disk."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

import caloforge
from caloforge.data import Parts
from caloforge.showers import VoxelShowers
from caloforge.systems.base import SamplingOptions, System, incident_energies

__all__ = ["GenerationProgress", "generate", "training_energies"]

PART_SIZE = 1000  # showers kept in memory before they are written


@dataclass(frozen=True)
class GenerationProgress:
    """How far a generation is.

    Args:
        done: showers that are finished.
        n: showers that were asked for.
        showers_per_second: speed of this run.
    """

    done: int
    n: int
    showers_per_second: float


@overload
def generate(
    system: System,
    energy_inc: ArrayLike,
    *,
    seed: int,
    output: None = ...,
    attributes: dict[str, Any] | None = ...,
    batch_size: int = ...,
    device: str = ...,
    options: SamplingOptions | None = ...,
    resume: bool = ...,
    progress: Callable[[GenerationProgress], None] | None = ...,
) -> VoxelShowers: ...


@overload
def generate(
    system: System,
    energy_inc: ArrayLike,
    *,
    seed: int,
    output: str | Path,
    attributes: dict[str, Any] | None = ...,
    batch_size: int = ...,
    device: str = ...,
    options: SamplingOptions | None = ...,
    resume: bool = ...,
    progress: Callable[[GenerationProgress], None] | None = ...,
) -> Path: ...


def generate(
    system: System,
    energy_inc: ArrayLike,
    *,
    seed: int,
    output: str | Path | None = None,
    attributes: dict[str, Any] | None = None,
    batch_size: int = 100,
    device: str = "cpu",
    options: SamplingOptions | None = None,
    resume: bool = False,
    progress: Callable[[GenerationProgress], None] | None = None,
) -> VoxelShowers | Path:
    """Generate showers, one for each incident energy.

    With an output the showers are written in parts as they are made: memory stays flat, and an
    interrupted job can be resumed with the same result.

    Example:
        >>> system = cf.load("runs/l2l")
        >>> showers = cf.generate(system, [1e4, 5e4], seed=1)

    Args:
        system: a trained system.
        energy_inc: incident energies [MeV], shape (n,).
        seed: the same seed, device and batch size give the same showers.
        output: where to write; without it the showers are returned.
        attributes: written to the root of the file.
        batch_size: showers drawn at once.
        device: where to compute.
        options: what a user chooses at generation.
        resume: continue an interrupted job of the same request to the same output.
        progress: called with a `GenerationProgress` after every batch.

    Returns:
        The showers, or the path of the file that holds them.

    Raises:
        ValueError: for energies that are not positive numbers in one dimension, or parts of
            another job at the output.
    """
    energies = incident_energies(energy_inc)
    if len(energies) == 0 or batch_size < 1:
        raise ValueError(
            "generate needs one incident energy or more and a batch_size of 1 or more, "
            f"got {len(energies)} and {batch_size}"
        )
    batches_a_part = max(1, PART_SIZE // batch_size)
    size = batches_a_part * batch_size
    n_parts = -(-len(energies) // size)
    parts = None
    if output is not None:
        request = {
            "system": system.name,
            "geometry": system.geometry.name,
            "n": len(energies),
            "energies": hashlib.sha256(energies.tobytes()).hexdigest(),
            "seed": seed,
            "batch_size": batch_size,
            "device": str(device),
            "options": dataclasses.asdict(options or SamplingOptions()),
            "weights": _weights_hash(system),
        }
        parts = Parts(output, n_parts, request, resume=resume)
    wanted = list(range(n_parts)) if parts is None else parts.missing()
    sizes = [min(size, len(energies) - part * size) for part in wanted]
    report = _Reporter(progress, len(energies), before=len(energies) - sum(sizes))
    kept: list[VoxelShowers] = []
    redrawn_before = system.n_redrawn
    for part in wanted:
        made: list[VoxelShowers] = []
        for batch in system.stream(
            energies[part * size : (part + 1) * size],
            seed=seed,
            batch_size=batch_size,
            first=part * batches_a_part,
            device=device,
            options=options,
        ):
            made.append(batch)
            report(len(batch))
        if parts is None:
            kept += made
        else:
            parts.save(part, VoxelShowers.concatenate(made))
    if parts is None:
        return VoxelShowers.concatenate(kept)
    if len(wanted) == n_parts and system.n_redrawn > redrawn_before:
        # a resumed job knows the draws of its last run alone
        attributes = {"n_redrawn": system.n_redrawn - redrawn_before, **(attributes or {})}
    facts = {
        "generator": f"caloforge {caloforge.__version__}, {system.name}",
        "particle": system.geometry.particle,
        "seed": seed,
        "batch_size": batch_size,
    }
    return parts.assemble({**facts, **(attributes or {})})


def training_energies(config: dict[str, Any], n: int, seed: int) -> NDArray[np.float32]:
    """Draw incident energies as the training sample has them.

    Args:
        config: of the run folder, which keeps the quantiles of the training sample's energies.
        n: number of energies.
        seed: of the draw.

    Returns:
        Energies [MeV], shape (n,).

    Raises:
        ValueError: if the run folder does not know its training sample.
    """
    quantiles = config.get("data", {}).get("energy_inc_quantiles")
    if not quantiles:
        raise ValueError("the run folder does not say its training energies: give the energies")
    share = np.random.default_rng(seed).random(n)
    known = np.log(np.asarray(quantiles))
    drawn = np.exp(np.interp(share, np.linspace(0, 1, len(known)), known))
    energies: NDArray[np.float32] = drawn.astype(np.float32)
    return energies


def _weights_hash(system: System) -> str:
    """Tells trained systems apart, so that no file mixes the showers of two."""
    digest = hashlib.sha256()
    for stage in system.stages.values():
        digest.update(json.dumps(stage.transforms(), sort_keys=True).encode())
        for value in stage.state_dict().values():
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    for calibration in system.calibrations.values():
        digest.update(json.dumps(calibration.state(), sort_keys=True).encode())
    return digest.hexdigest()


class _Reporter:
    """Counts showers and hands on how far the job is."""

    def __init__(
        self, progress: Callable[[GenerationProgress], None] | None, n: int, before: int
    ) -> None:
        self.progress, self.n, self.before, self.made = progress, n, before, 0
        self.begin = time.monotonic()

    def __call__(self, made: int) -> None:
        self.made += made
        if self.progress is not None:
            speed = self.made / max(1e-9, time.monotonic() - self.begin)
            self.progress(GenerationProgress(self.before + self.made, self.n, speed))
