"""The particles that a system is asked for, against those that it was trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caloforge.cascade.arguments import incident_particles
from caloforge.cascade.usual import PARALLEL
from caloforge.pdg import NOT_KNOWN
from caloforge.showers import Particles

if TYPE_CHECKING:
    from caloforge.cascade.system import System

__all__ = ["asked_particles", "outside_trained"]


def asked_particles(system: System, particles: Particles | ArrayLike) -> Particles:
    """Particles to generate for, in single precision.

    Energies alone are those of particles like the ones that the system was trained on, `usual`, and
    particles of no known kind are of the kind of these.

    Raises:
        ValueError: as `System.generate` does.
    """
    usual, asked = system.usual, incident_particles(particles)
    if not isinstance(particles, Particles):
        asked = replace(asked, direction=np.array(usual.direction, np.float32))
    angle = usual.angles_to(asked).max(initial=0)
    if angle > PARALLEL and not system.is_directed:
        raise ValueError(
            f"{system.name} samples showers of the direction {usual.direction} and reads none, got "
            f"particles up to {angle:.3g} rad from it: leave the directions out, or train a system "
            "that is conditioned on them"
        )
    return replace(asked, pdg=np.where(asked.pdg == NOT_KNOWN, usual.pdg, asked.pdg))


def outside_trained(system: System, asked: Particles, *, strict: bool = False) -> NDArray[np.bool_]:
    """Which particles are unlike all that a system was trained on, as far as that is known.

    Args:
        system: the system.
        asked: the particles.
        strict: refuse those that are.

    Returns:
        Which are of another kind or lie outside the trained range, shape (n,).

    Raises:
        ValueError: see `strict`.

    Warns:
        ExtrapolationWarning: if there are some.
    """
    found = system.usual.check(system.name, asked, strict=strict)
    if system.trained is not None:
        found = found | system.trained.check(
            system.name, asked.energy, asked.direction, strict=strict
        )
    return found
