"""What is said of the pattern of one layer, and of all layers before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.showers.ragged import sums

__all__ = ["Moments", "Upstream"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Of one layer in n showers, shape (n,) each; 0 where it is empty.

    Attributes:
        energy: [MeV].
        hits: voxels with energy.
        x: centre of gravity [mm].
        y: the same across.
        radius: mean distance from the axis [mm].
        width: standard deviation of that [mm].
    """

    energy: Floats
    hits: Floats
    x: Floats
    y: Floats
    radius: Floats
    width: Floats

    @classmethod
    def of(
        cls, n: int, event: NDArray[Any], energy: Floats, x: Floats, y: Floats, r: Floats
    ) -> Moments:
        """Those of hits.

        Args:
            n: showers.
            event: shower of each hit, shape (hits,).
            energy: of the hits [MeV], shape (hits,).
            x: where they lie [mm], shape (hits,).
            y: the same across.
            r: distance from the axis [mm].
        """
        total = sums(event, energy, n)
        per = np.divide(1, total, out=np.zeros(n), where=total > 0)
        mean_x, mean_y, mean, square = (
            sums(event, energy * values, n) * per for values in (x, y, r, r * r)
        )
        hits = np.bincount(event, minlength=n).astype(float)
        width = np.sqrt(np.maximum(square - mean * mean, 0))
        return cls(total, hits, mean_x, mean_y, mean, width)

    def __getitem__(self, rows: Any) -> Moments:
        return Moments(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Upstream:
    """Of all layers before one, in n showers, shape (n,) each.

    Attributes:
        energy: their energy [MeV].
        hits: voxels with energy.
        moment_x: energy times centre of gravity [MeV mm].
        moment_y: the same across.
        moment_r: energy times distance from the axis [MeV mm].
    """

    energy: Floats
    hits: Floats
    moment_x: Floats
    moment_y: Floats
    moment_r: Floats

    @classmethod
    def none(cls, n: int) -> Upstream:
        """Before the first layer."""
        return cls(*np.zeros((5, n)))

    def then(self, layer: Moments) -> Upstream:
        """With one layer more."""
        e = layer.energy
        added = (e, layer.hits, e * layer.x, e * layer.y, e * layer.radius)
        names = self.__dataclass_fields__
        return Upstream(*(getattr(self, n) + a for n, a in zip(names, added, strict=True)))

    def mean(self, moment: Floats) -> Floats:
        """A moment over the energy, 0 where there is none."""
        return np.divide(moment, self.energy, out=np.zeros_like(moment), where=self.energy > 0)
