"""Generate and upsample showers with trained systems, in memory or streamed to disk."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

import caloforge
from caloforge.cascade.arguments import SamplingOptions, incident_particles
from caloforge.cascade.asked import asked_particles, outside_trained
from caloforge.cascade.kinds import Upsamples
from caloforge.cascade.registry import config_to_dict
from caloforge.cascade.system import System
from caloforge.data import Layout, Parts, check_layout
from caloforge.devices import find_device
from caloforge.pdg import particle_name
from caloforge.showers import Particles, Showers, VoxelShowers, check_units, fingerprint

__all__ = ["GenerationProgress", "generate", "training_energies", "upsample"]

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
    particles: Particles | ArrayLike,
    *,
    seed: int,
    output: None = ...,
    layout: Layout = ...,
    attributes: dict[str, Any] | None = ...,
    batch_size: int = ...,
    device: torch.device | str = ...,
    options: SamplingOptions | None = ...,
    strict: bool = ...,
    resume: bool = ...,
    progress: Callable[[GenerationProgress], None] | None = ...,
) -> Showers: ...


@overload
def generate(
    system: System,
    particles: Particles | ArrayLike,
    *,
    seed: int,
    output: str | Path,
    layout: Layout = ...,
    attributes: dict[str, Any] | None = ...,
    batch_size: int = ...,
    device: torch.device | str = ...,
    options: SamplingOptions | None = ...,
    strict: bool = ...,
    resume: bool = ...,
    progress: Callable[[GenerationProgress], None] | None = ...,
) -> Path: ...


def generate(
    system: System,
    particles: Particles | ArrayLike,
    *,
    seed: int,
    output: str | Path | None = None,
    layout: Layout = "sparse",
    attributes: dict[str, Any] | None = None,
    batch_size: int = 100,
    device: torch.device | str = "auto",
    options: SamplingOptions | None = None,
    strict: bool = False,
    resume: bool = False,
    progress: Callable[[GenerationProgress], None] | None = None,
) -> Showers | Path:
    """Generate showers, one (or `options.resample`) for each incident particle.

    With an output the showers are written in parts as they are made: memory stays flat, and an
    interrupted job can be resumed with the same result. Showers resampled from one coarse shower
    follow each other; the file's column `coarse_shower` says which they are.

    Example:
        >>> system = cf.load("runs/l2l")
        >>> showers = cf.generate(system, [1e4, 5e4], seed=1)
        >>> aslant = cf.Particles([1e4, 5e4], direction=[0.6, 0.0, 0.8], pdg="gamma")
        >>> showers = cf.generate(cf.load("runs/directed"), aslant, seed=1)

    Args:
        system: a trained system.
        particles: n incident particles, such as those of showers or of an open file; or their
            energies [MeV], shape (n,), for particles of the direction and kind of the training
            sample.
        seed: a shower depends on it and on its number alone, up to rounding.
        output: where to write; without it the showers are returned.
        layout: of the file, see `caloforge.data.create`.
        attributes: written to the root of the file.
        batch_size: showers drawn at once.
        device: where to compute; by default the accelerator if there is one.
        options: what a user chooses at generation.
        strict: refuse particles unlike those that the system was trained on.
        resume: continue an interrupted job of the same request to the same output.
        progress: called with a `GenerationProgress` after every batch.

    Returns:
        The showers, or the path of the file that holds them.

    Raises:
        ValueError: for particles that `Particles` refuses, or of directions that the system does
            not know of, parts of another job at the output, and see `strict`.
        NoSpaceError: if the disk is full; what is finished is kept.

    Warns:
        UnitsWarning: if the energies look as if they were not in MeV.
        ExtrapolationWarning: for particles outside the trained range. A file has the range and
            their number in its attributes `trained_energy_inc_MeV` and `n_outside_trained`.
    """
    asked = asked_particles(system, particles)
    check_units("energies to generate for", system.geometry, asked.energy)
    system.check(options or SamplingOptions())
    place = find_device(device)
    outside = outside_trained(system, asked, strict=strict)

    def batches(start: int, stop: int) -> Iterator[Showers]:
        return system.batches(
            asked[start:stop],
            seed=seed,
            batch_size=batch_size,
            first=start,
            device=place,
            options=options,
        )

    request = _hashes(asked)
    job = _Job(system, asked, outside, batches, request, seed, batch_size, options, layout)
    return job.run(output, attributes, resume=resume, progress=progress)


def upsample(
    system: System,
    coarse: VoxelShowers | System,
    particles: Particles | ArrayLike | None = None,
    *,
    seed: int,
    output: str | Path | None = None,
    layout: Layout = "sparse",
    attributes: dict[str, Any] | None = None,
    batch_size: int = 100,
    device: torch.device | str = "auto",
    options: SamplingOptions | None = None,
    strict: bool = False,
    resume: bool = False,
    progress: Callable[[GenerationProgress], None] | None = None,
) -> Showers | Path:
    """Draw the fine voxels of coarse showers, `options.resample` times each.

    Example:
        >>> system = cf.load("runs/supercalo")
        >>> showers = cf.upsample(system, cf.read("showers.h5")[:10], seed=1)
        >>> showers = cf.upsample(system, cf.load("runs/coarse"), [1e4, 5e4], seed=1)

    Args:
        system: a trained system that upsamples, such as SuperCalo.
        coarse: showers in its coarse voxels, or in its fine ones, which are made coarse first; or
            another trained system, which draws coarse ones.
        particles: incident particles for the other system, or their energies [MeV], shape (n,).
        seed: a shower depends on it and on its number alone, up to rounding.
        output: where to write; without it the showers are returned.
        layout: of the file, see `caloforge.data.create`.
        attributes: written to the root of the file.
        batch_size: coarse showers at once.
        device: where to compute; by default the accelerator if there is one.
        options: what a user chooses at generation.
        strict: refuse particles unlike those that the system was trained on.
        resume: continue an interrupted job of the same request to the same output.
        progress: called with a `GenerationProgress` after every batch.

    Returns:
        The showers, or the path of the file that holds them.

    Raises:
        ValueError: for a system that upsamples nothing, showers that do not fit it, energies that
            are missing or too many, parts of another job at the output, and see `strict`.

    Warns:
        ExtrapolationWarning: as for `generate`, of the system and of the other one.
    """
    if not isinstance(system, Upsamples):
        raise ValueError(f"{system.name} samples showers of particles: it upsamples none")
    if not isinstance(coarse, VoxelShowers | System):
        raise ValueError(
            f"upsample takes showers in voxels or a system that draws them, got {coarse!r}: "
            "project points into the coarse voxels first"
        )
    if isinstance(coarse, System) != (particles is not None):
        raise ValueError(
            "upsample takes coarse showers, which have their energy_inc, or a system that draws "
            "them and particles for it"
        )
    if isinstance(coarse, System):
        asked = asked_particles(coarse, particles if particles is not None else [])
        check_units("energies to generate for", coarse.geometry, asked.energy)
        request = {"coarse": f"{_settings_hash(coarse)} {_weights_hash(coarse)}"}
    else:
        asked = incident_particles(coarse.particles)
        check_units("coarse showers", coarse.geometry, asked.energy, coarse.total_energy())
        request = {"coarse": fingerprint(coarse)}
    request |= _hashes(asked)
    system.check(options or SamplingOptions())
    place = find_device(device)
    outside = outside_trained(system, asked, strict=strict)
    if isinstance(coarse, System):
        outside = outside | outside_trained(coarse, asked, strict=strict)

    def coarse_batches(start: int, stop: int) -> Iterator[Showers]:
        if isinstance(coarse, VoxelShowers):
            return coarse[start:stop].batches(batch_size)
        # it resamples nothing: that is for the fine voxels
        options_there = dataclasses.replace(options or SamplingOptions(), resample=1)
        return coarse.batches(
            asked[start:stop],
            seed=seed,
            batch_size=batch_size,
            first=start,
            device=place,
            options=options_there,
        )

    def batches(start: int, stop: int) -> Iterator[Showers]:
        return system.upsample(
            coarse_batches(start, stop),
            seed=seed,
            first=start,
            device=place,
            options=options,
        )

    job = _Job(system, asked, outside, batches, request, seed, batch_size, options, layout)
    return job.run(output, attributes, resume=resume, progress=progress)


@dataclass(frozen=True)
class _Job:
    """A generation in batches, in memory or part by part to disk.

    Args:
        system: the system that draws.
        particles: one for each draw of its first stages, which gives `options.resample` showers.
        outside: which of them lie outside the trained range, shape (n,).
        batches: showers of the draws from a start to a stop.
        request: what else is asked, in JSON's types: a resumed job must ask the same.
        seed: of the random numbers.
        batch_size: draws at once.
        options: what the user chose.
        layout: of the output.
    """

    system: System
    particles: Particles
    outside: NDArray[np.bool_]
    batches: Callable[[int, int], Iterator[Showers]]
    request: dict[str, Any]
    seed: int
    batch_size: int
    options: SamplingOptions | None
    layout: Layout

    @property
    def n(self) -> int:
        """Draws of the first stages."""
        return len(self.particles)

    def __post_init__(self) -> None:
        check_layout(self.system.kind, self.layout)
        if self.n == 0 or self.batch_size < 1:
            raise ValueError(
                "generate needs one incident energy or more and a batch_size of 1 or more, "
                f"got {self.n} and {self.batch_size}"
            )

    def run(
        self,
        output: str | Path | None,
        attributes: dict[str, Any] | None,
        *,
        resume: bool,
        progress: Callable[[GenerationProgress], None] | None,
    ) -> Showers | Path:
        """The showers, or the path of the file that holds them."""
        resample = (self.options or SamplingOptions()).resample
        if resume and output is None:
            raise ValueError("resume needs an output: only files keep what a former job made")
        # whole batches, so that a file holds to the last bit what memory would
        size = max(1, PART_SIZE // (self.batch_size * resample)) * self.batch_size
        n_parts = -(-self.n // size)
        parts = None if output is None else self._parts(output, n_parts, resume)
        if parts is not None and parts.is_finished:
            return parts.output
        wanted = list(range(n_parts)) if parts is None else parts.missing()
        left = sum(min(size, self.n - part * size) for part in wanted)
        report = _Reporter(progress, self.n * resample, before=(self.n - left) * resample)
        kept: list[Showers] = []
        redrawn_before = self.system.n_redrawn
        for part in wanted:
            start = part * size
            made: list[Showers] = []
            try:
                for batch in self.batches(start, min(self.n, start + size)):
                    made.append(batch)
                    report(len(batch))
            except (ValueError, FloatingPointError):  # what is refused is not resumed
                if parts is not None:
                    parts.abandon()
                raise
            if parts is None:
                kept += made
            else:
                parts.save(part, self._joined(made))
        if parts is None:
            return self._joined(kept)
        facts = self._facts()
        if len(wanted) == n_parts and self.system.n_redrawn > redrawn_before:
            # a resumed job knows the draws of its last run alone
            facts["n_redrawn"] = self.system.n_redrawn - redrawn_before
        columns = {}
        if resample > 1:
            columns["coarse_shower"] = np.repeat(np.arange(self.n), resample)
        return parts.assemble({**facts, **(attributes or {})}, columns=columns)

    def _joined(self, made: list[Showers]) -> Showers:
        joined: Showers = self.system.kind.concatenate(made)
        return joined

    def _parts(self, output: str | Path, n_parts: int, resume: bool) -> Parts:
        request = {
            "system": self.system.name,
            "geometry": self.system.geometry.name,
            "n": self.n,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "options": dataclasses.asdict(self.options or SamplingOptions()),
            "settings": _settings_hash(self.system),
            "weights": _weights_hash(self.system),
            **self.request,
        }
        return Parts(
            output, n_parts, request, resume=resume, kind=self.system.kind, layout=self.layout
        )

    def _facts(self) -> dict[str, Any]:
        facts = {
            "generator": f"caloforge {caloforge.__version__}, {self.system.name}",
            "seed": self.seed,
        }
        if len(self.particles.kinds) == 1:
            facts["particle"] = particle_name(*self.particles.kinds)
        chosen = dataclasses.asdict(self.options or SamplingOptions())
        if self.system.trained is not None:
            facts["trained_energy_inc_MeV"] = list(self.system.trained.energy_inc)
            facts["n_outside_trained"] = int(self.outside.sum()) * chosen["resample"]
        usual = dataclasses.asdict(SamplingOptions())
        told = ("resample", "solver", "energy_solver", "precision")
        return facts | {name: chosen[name] for name in told if chosen[name] != usual[name]}


def training_energies(config: dict[str, Any], n: int, seed: int) -> NDArray[np.float32]:
    """Draw incident energies as the training sample has them, within the trained range.

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
    trained = config["data"].get("trained")
    if trained is not None:  # the ends may be of showers that were kept for validation
        quantiles = np.clip(quantiles, *trained["energy_inc"])
    known = np.log(np.asarray(quantiles))
    drawn = np.exp(np.interp(share, np.linspace(0, 1, len(known)), known))
    energies: NDArray[np.float32] = drawn.astype(np.float32)
    return energies


def _settings_hash(system: System) -> str:
    """Distinguishes systems that draw with the same weights in another way, or in other voxels."""
    described = {"config": config_to_dict(system.config), "geometry": system.geometry.to_dict()}
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _weights_hash(system: System) -> str:
    """Distinguishes trained systems, so that no file mixes the showers of two."""
    digest = hashlib.sha256()
    for stage in system.stages.values():
        digest.update(json.dumps(stage.state(), sort_keys=True).encode())
        for value in stage.state_dict().values():
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _hashes(particles: Particles) -> dict[str, str]:
    """What a request says of its particles."""
    columns = {"energies": particles.energy, "direction": particles.direction, "pdg": particles.pdg}
    return {name: _hash(values) for name, values in columns.items()}


def _hash(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for values in arrays:
        digest.update(np.ascontiguousarray(values).tobytes())
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
