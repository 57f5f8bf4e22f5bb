"""What a system was trained on, and what is asked of it beyond that."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.showers import Floats, Particles

__all__ = ["ExtrapolationWarning", "TrainedRange"]

# of single precision, which energies and directions may have gone through several times
ROUNDING = 1e-6
Vector = tuple[float, float, float]


class ExtrapolationWarning(UserWarning):
    """Showers are asked of a system for particles unlike all that it was trained on."""


@dataclass(frozen=True)
class TrainedRange:
    """The incident particles of a training split.

    Args:
        n_showers: number of showers that were learned from.
        energy_inc: lowest and highest incident energy [MeV].
        direction: lowest and highest x, y and z of the unit vectors along which they fly; None for
            a system that reads no direction.

    Raises:
        ValueError: for ends that are not finite or in the wrong order.
    """

    n_showers: int
    energy_inc: tuple[float, float]
    direction: tuple[Vector, Vector] | None = None

    def __post_init__(self) -> None:
        pairs = [np.asarray(self.energy_inc)]
        pairs += [] if self.direction is None else [np.asarray(self.direction)]
        for low, high in pairs:
            if not (np.isfinite(low) & np.isfinite(high) & (low <= high)).all():
                raise ValueError(
                    f"a trained range must have a lowest and a highest end, got {self}"
                )

    @classmethod
    def of(cls, particles: Particles, *, directed: bool) -> TrainedRange:
        """The range of the particles whose showers are learned from.

        Args:
            particles: those of the training split.
            directed: whether the system reads the direction.
        """
        direction = None
        if directed:
            unit = particles.direction.astype(np.float64)
            direction = (_vector(unit.min(axis=0)), _vector(unit.max(axis=0)))
        energies = particles.energy
        return cls(len(particles), (float(energies.min()), float(energies.max())), direction)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML, read back by `from_dict`."""
        values = asdict(self) | {"energy_inc": list(self.energy_inc)}
        if self.direction is not None:
            values["direction"] = [list(end) for end in self.direction]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainedRange:
        """Inverse of `to_dict`.

        Raises:
            ValueError: for missing values or ones of another kind.
        """
        try:
            low, high = map(float, values["energy_inc"])
            direction = None
            if values.get("direction") is not None:
                least, most = map(_vector, values["direction"])
                direction = (least, most)
            return cls(int(values["n_showers"]), (low, high), direction)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a trained range: {values!r} ({error})") from error

    def outside(self, energy_inc: Floats, direction: Floats | None = None) -> NDArray[np.bool_]:
        """Which particles lie outside, shape (n,).

        Args:
            energy_inc: incident energies [MeV], shape (n,).
            direction: unit vectors, shape (n, 3); by default along the depth, (0, 0, 1).
        """
        low, high = self.energy_inc
        found = (energy_inc < low * (1 - ROUNDING)) | (energy_inc > high * (1 + ROUNDING))
        if self.direction is not None:
            least, most = np.asarray(self.direction)
            unit = np.array([[0.0, 0.0, 1.0]]) if direction is None else direction
            found = found | ((unit < least - ROUNDING) | (unit > most + ROUNDING)).any(axis=1)
        return np.asarray(found)

    def check(
        self,
        name: str,
        energy_inc: Floats,
        direction: Floats | None = None,
        *,
        strict: bool = False,
    ) -> NDArray[np.bool_]:
        """Which particles lie outside, said in one warning.

        Args:
            name: of the system.
            energy_inc: incident energies [MeV], shape (n,).
            direction: as for `outside`.
            strict: refuse them.

        Raises:
            ValueError: if some lie outside and `strict` is set.

        Warns:
            ExtrapolationWarning: if some lie outside.
        """
        outside = self.outside(energy_inc, direction)
        if outside.any():
            beyond = energy_inc[outside]
            text = (
                f"{outside.sum()} of {len(outside)} showers lie outside what {name} was trained "
                f"on: theirs are {_span(beyond.min(), beyond.max())}, the {self.n_showers} showers "
                f"of the training had {self}"
            )
            if strict:
                raise ValueError(f"{text}; ask for others, or train on a sample that has such")
            warnings.warn(
                f"{text}; what is sampled there is extrapolated", ExtrapolationWarning, stacklevel=3
            )
        return outside

    def __str__(self) -> str:
        text = _span(*self.energy_inc)
        if self.direction is not None:
            axes = zip("xyz", *self.direction, strict=True)
            along = ", ".join(f"{axis} = {low:.4g} to {high:.4g}" for axis, low, high in axes)
            text += f" along {along}"
        return text


def _vector(values: Any) -> Vector:
    x, y, z = map(float, values)
    return x, y, z


def _span(low: float, high: float) -> str:
    """A range of incident energies in words."""
    return f"incident energies of {low:.6g} to {high:.6g} MeV"
