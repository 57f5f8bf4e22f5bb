"""The direction and kind that the particles of a training sample have in common."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.cascade.trained import ExtrapolationWarning
from caloforge.pdg import NOT_KNOWN, kinds_of
from caloforge.showers import ALONG_DEPTH, Particles

__all__ = ["PARALLEL", "UsualParticle"]

PARALLEL = 1e-3  # angle between directions that are the same [radian]


@dataclass(frozen=True)
class UsualParticle:
    """What all particles of a sample have in common.

    Args:
        direction: unit vector along which all fly, with z along the depth; along z where they have
            no common direction.
        pdg: code of their kind, 0 where it is not known or where there are several.
    """

    direction: tuple[float, float, float] = ALONG_DEPTH
    pdg: int = NOT_KNOWN

    @classmethod
    def of(cls, particles: Particles) -> UsualParticle:
        """What these particles have in common."""
        kinds = np.unique(particles.pdg).tolist()
        pdg = kinds[0] if len(kinds) == 1 else NOT_KNOWN
        if len(particles):
            x, y, z = (float(component) for component in particles.direction[0])
            first = cls((x, y, z), pdg)
            if first.angles_to(particles).max() <= PARALLEL:
                return first
        return cls(pdg=pdg)

    def angles_to(self, particles: Particles) -> NDArray[np.float64]:
        """Angle between the direction and that of each particle [radian], shape (n,)."""
        chord = particles.direction.astype(np.float64) - np.asarray(self.direction)
        return np.asarray(2 * np.arcsin((np.linalg.norm(chord, axis=1) / 2).clip(max=1)))

    def check(self, name: str, asked: Particles, *, strict: bool = False) -> NDArray[np.bool_]:
        """Which particles are of another kind, said in one warning, shape (n,).

        Args:
            name: of the system.
            asked: the particles.
            strict: refuse them.

        Raises:
            ValueError: if some are and `strict` is set.

        Warns:
            ExtrapolationWarning: if some are.
        """
        others = (asked.pdg != self.pdg) & (asked.pdg != NOT_KNOWN) & (self.pdg != NOT_KNOWN)
        if others.any():
            kinds = kinds_of(asked[others].kinds)
            text = (
                f"{others.sum()} of {len(asked)} showers are asked of {kinds}, "
                f"and {name} was trained on {kinds_of([self.pdg])}"
            )
            if strict:
                raise ValueError(f"{text}; ask for others, or train on a sample that has such")
            warnings.warn(
                f"{text}, of which it samples showers still", ExtrapolationWarning, stacklevel=3
            )
        return np.asarray(others)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML, read back by `from_dict`."""
        return {"direction": list(self.direction), "pdg": self.pdg}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> UsualParticle:
        """Inverse of `to_dict`.

        Raises:
            ValueError: for missing values or ones of another kind.
        """
        try:
            x, y, z = map(float, values["direction"])
            return cls((x, y, z), int(values["pdg"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a direction and a kind: {values!r} ({error})") from error
