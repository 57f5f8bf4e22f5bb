"""Arguments that many functions take: incident energies, a user's choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from caloforge.showers import Particles

__all__ = ["SamplingOptions", "incident_particles"]


@dataclass(frozen=True)
class SamplingOptions:
    """What a user chooses at generation.

    Args:
        postprocess: apply the system's post-processing, such as the rescaling to layer energies;
            the read-out threshold is always applied.
        resample: showers made of each draw of the first stages; those of one draw follow each
            other and are correlated (SuperCalo, section V C).
        memory_budget: for the temporaries of a stage that can work piece by piece [bytes].
        solver: how voxels or points are drawn: of a differential equation, such as "rk4-20" or a
            bespoke one of the run, "bns-8", or of a diffusion, such as "heun-8"; None for the
            system's own choice.
        energy_solver: the same of layer energies.
        precision: of the networks whose equation `solver` solves: "bf16" is several times faster
            where the processor multiplies matrices of it; steps and results stay in "32" bits.

    Raises:
        ValueError: for numbers below 1, or an unknown precision.
    """

    postprocess: bool = True
    resample: int = 1
    memory_budget: int = 1 << 30
    solver: str | None = None
    energy_solver: str | None = None
    precision: Literal["32", "bf16"] = "32"

    def __post_init__(self) -> None:
        for name in ("resample", "memory_budget"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.precision not in ("32", "bf16"):
            raise ValueError(f"precision must be '32' or 'bf16', got {self.precision!r}")


def incident_particles(particles: Particles | ArrayLike) -> Particles:
    """Particles, or those of given energies [MeV], in the single precision that networks take.

    Raises:
        ValueError: for what `Particles` refuses.
    """
    given = Particles.of(particles)
    return Particles(given.energy.astype(np.float32), given.direction, given.pdg)
