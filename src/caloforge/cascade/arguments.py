"""Arguments that many functions take: incident energies, a user's choices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from caloforge.showers import Particles

__all__ = ["SamplingOptions", "incident_particles"]


class SamplingOptions(dict[str, Any]):
    """What a user chooses at generation, by name; a stage is given a value for all that it offers.

    What there is to choose each system says: `system.choices` and `caloforge info`. None leaves a
    choice to the system, as does leaving it out. Any other mapping is as good.

    Example:
        >>> options = SamplingOptions(solver="rk4-20", resample=3)
        >>> options.solver, options["resample"]
        ('rk4-20', 3)
    """

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(
                f"nothing is chosen for {name}, only for {', '.join(self) or 'nothing'}: "
                "`chosen` of a stage or a system fills in what is left to them"
            )
        return self[name]


def incident_particles(particles: Particles | ArrayLike) -> Particles:
    """Particles, or those of given energies [MeV], in the single precision that networks take.

    Raises:
        ValueError: for what `Particles` refuses.
    """
    given = Particles.of(particles)
    return Particles(given.energy.astype(np.float32), given.direction, given.pdg)
