"""What is asked of a generation, and how any part of it is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import caloforge
from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.kinds import Upsamples
from caloforge.cascade.system import System
from caloforge.data import Parts
from caloforge.generation.identity import particle_hashes, settings_hash, weights_hash
from caloforge.jobs import report
from caloforge.pdg import particle_name
from caloforge.showers import Particles, Showers, VoxelShowers, fingerprint

__all__ = ["Job", "Part"]


class Part(NamedTuple):
    """Consecutive showers of a job.

    Args:
        showers: None where they were written to disk.
        n_rejected: samples that a stage rejected.
    """

    showers: Showers | None
    n_rejected: int


@dataclass(frozen=True)
class Job:
    """All that determines the showers.

    Args:
        system: the system that samples.
        particles: one for each sample of its first stages, which gives `options.resample` showers.
        coarse: what is upsampled: coarse showers, one for each particle, or a system that samples
            them; None for a system that samples showers of particles.
        seed: of the random numbers.
        batch_size: particles at once.
        device: where to compute, see `find_device`.
        options: all that was chosen, see `System.chosen`.
        part_size: showers of a part, about.
        parts: where parts are written; None: nowhere.
    """

    system: System
    particles: Particles
    coarse: VoxelShowers | System | None
    seed: int
    batch_size: int
    device: str
    options: SamplingOptions
    part_size: int
    parts: Parts | None = None

    def __post_init__(self) -> None:
        if self.n == 0 or self.batch_size < 1:
            raise ValueError(
                "generate needs one incident energy or more and a batch_size of 1 or more, "
                f"got {self.n} and {self.batch_size}"
            )

    @property
    def n(self) -> int:
        """Number of particles."""
        return len(self.particles)

    @property
    def resample(self) -> int:
        """Showers of each particle."""
        return int(self.options.get("resample", 1))

    @property
    def unusual(self) -> dict[str, Any]:
        """What was chosen otherwise than the system chooses by itself."""
        choices = self.system.choices
        return {n: value for n, value in self.options.items() if value != choices[n].default}

    @property
    def part_particles(self) -> int:
        """Particles of a part: whole batches, so that files hold what memory does, to the bit."""
        batches = self.part_size // (self.batch_size * self.resample)
        return max(1, batches) * self.batch_size

    @property
    def n_parts(self) -> int:
        """Number of parts."""
        return -(-self.n // self.part_particles)

    def size(self, part: int) -> int:
        """Number of showers of a part."""
        return min(self.part_particles, self.n - part * self.part_particles) * self.resample

    def make(self, part: int) -> Part:
        """Sample the showers of a part, and report the number of each batch."""
        before, made = self.system.n_rejected, []
        for batch in self._batches(
            part * self.part_particles, min(self.n, (part + 1) * self.part_particles)
        ):
            made.append(batch)
            report(len(batch))
        showers, rejected = self.system.kind.concatenate(made), self.system.n_rejected - before
        if self.parts is None:
            return Part(showers, rejected)
        self.parts.save(part, showers)
        return Part(None, rejected)

    def _batches(self, start: int, stop: int) -> Iterator[Showers]:
        given: dict[str, Any] = {"seed": self.seed, "first": start, "device": self.device}
        if self.coarse is None:
            asked, size = self.particles[start:stop], self.batch_size
            return self.system.batches(asked, batch_size=size, options=self.options, **given)
        coarse: Iterator[Showers]
        if isinstance(self.coarse, VoxelShowers):
            coarse = self.coarse[start:stop].batches(self.batch_size)
        else:
            # it resamples nothing: that is for the fine voxels
            offered = self.coarse.choices.keys() - {"resample"}
            there = {name: value for name, value in self.unusual.items() if name in offered}
            asked = self.particles[start:stop]
            coarse = self.coarse.batches(asked, batch_size=self.batch_size, options=there, **given)
        assert isinstance(self.system, Upsamples)
        fine: Iterator[Showers] = self.system.upsample(coarse, options=self.options, **given)
        return fine

    def request(self) -> dict[str, Any]:
        """What was asked, in JSON's types."""
        return {
            "system": self.system.name,
            "geometry": self.system.geometry.name,
            "n": self.n,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "options": self.options,
            "settings": settings_hash(self.system),
            "weights": weights_hash(self.system),
            **({} if self.coarse is None else {"coarse": _identity(self.coarse)}),
            **particle_hashes(self.particles),
        }

    def facts(self, n_outside: int) -> dict[str, Any]:
        """What is written to the root of the file.

        Args:
            n_outside: particles that are unlike those of the training.
        """
        facts: dict[str, Any] = {
            "generator": f"caloforge {caloforge.__version__}, {self.system.name}",
            "seed": self.seed,
        }
        if len(self.particles.kinds) == 1:
            facts["particle"] = particle_name(*self.particles.kinds)
        if self.system.trained is not None:
            facts["trained_energy_inc_MeV"] = list(self.system.trained.energy_inc)
            facts["n_outside_trained"] = n_outside * self.resample
        return self.unusual | facts


def _identity(coarse: VoxelShowers | System) -> str:
    if isinstance(coarse, System):
        return f"{settings_hash(coarse)} {weights_hash(coarse)}"
    return fingerprint(coarse)
