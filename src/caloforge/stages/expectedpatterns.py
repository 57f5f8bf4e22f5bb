"""What is expected of the pattern of a layer, given the layers before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from caloforge.stages.layermoments import Moments, Upstream

__all__ = ["ExpectedPatterns", "Past"]

NARROW = 0.3  # of the mean radius of showers: below it, radii count as equal
FAINT = 0.05  # energy beside which others count as equal [MeV]
LITTLE = 1e-3  # distance that counts as none [mm]
RIDGE = 10.0  # showers that say that nothing is known,
SHARE = 1e-3  # and beside them this share of those there are
MEAN_LOG = 1.06  # exp(mean log r) of the distance r of two standard normal numbers from 0
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Past:
    """What the pattern of a layer is expected from, in n showers.

    Attributes:
        numbers: what does not turn with the shower: incident energy, age, energies of the layer and
            of its two neighbours; hits, mean radius and width of the layer before; hits and mean
            radius of all layers before; shape (10, n).
        x: centre of gravity of the layer before, and of all before [mm], shape (2, n).
        y: the same across.
    """

    numbers: Floats
    x: Floats
    y: Floats

    @classmethod
    def of(
        cls,
        layer: int,
        energies: Floats,
        energy_inc: NDArray[Any],
        before: Moments,
        run: Upstream,
        unit: float,
    ) -> Self:
        """That of a layer, not the first.

        Args:
            layer: its number.
            energies: of all layers [MeV], shape (n, n_layers).
            energy_inc: incident energies [MeV], shape (n,).
            before: of the layer before it.
            run: of all layers before it.
            unit: of radii [mm].
        """
        total = energies.sum(1)
        after = min(layer + 1, energies.shape[1] - 1)
        numbers = [
            np.log(energy_inc),
            energies[:, :layer].sum(1) / np.where(total > 0, total, 1),
            *(np.log(energies[:, i] + FAINT) for i in (layer, layer - 1, after)),
            np.log(before.hits + 0.5),
            np.log((before.radius / unit).clip(NARROW)),
            before.width / unit,
            np.log(run.hits + 0.5),
            np.log(run.mean(run.moment_r) / unit + NARROW),
        ]
        return cls(
            np.stack(numbers),
            np.stack([before.x, run.mean(run.moment_x)]),
            np.stack([before.y, run.mean(run.moment_y)]),
        )

    def __getitem__(self, rows: Any) -> Past:
        return Past(self.numbers[:, rows], self.x[:, rows], self.y[:, rows])

    @property
    def energy(self) -> Floats:
        """Logarithm of the layer's energy, shape (n,)."""
        return np.asarray(self.numbers[2])

    def along(self, centres: Floats) -> Floats:
        """Terms of a centre of gravity: `x` or `y` times 1, energy, age and hits, shape (8, n)."""
        one = np.ones_like(self.energy)
        factors = np.stack([one, self.energy, self.numbers[1], self.numbers[5]])
        return np.asarray((centres[:, None] * factors).reshape(8, -1))


@dataclass(frozen=True)
class ExpectedPatterns:
    """Means of a layer's pattern by least squares, in units of what remains.

    Logarithms of radius and hits, and the width, are polynomials of second order in
    `Past.numbers`; the centre of gravity is linear in those before. Showers near to each other in
    these means are alike in all that the past says of the layer (predictive mean matching: Little,
    J. Business and Economic Statistics 6, 1988, 287).

    Attributes:
        middle: of the numbers, shape (10,).
        spread: of the numbers, shape (10,).
        shape: coefficients of radius, hits and width, shape (3, 66).
        centre: coefficients of the centre, shape (8,).
        remains: logarithm of the spread of the centre [mm]: at energy 1 MeV, and its slope in the
            logarithm of the energy, shape (2,).
    """

    middle: Floats
    spread: Floats
    shape: Floats
    centre: Floats
    remains: Floats

    @classmethod
    def fit(cls, past: Past, layer: Moments, unit: float) -> Self:
        """Those of training showers.

        Args:
            past: of n showers.
            layer: their patterns, none of which is empty.
            unit: of radii [mm].
        """
        middle, spread = past.numbers.mean(1), past.numbers.std(1) + 1e-9
        terms = _terms((past.numbers - middle[:, None]) / spread[:, None])
        wanted = np.stack(
            [
                np.log((layer.radius / unit).clip(NARROW)),
                np.log(layer.hits + 0.5),
                layer.width / unit,
            ]
        )
        shape = _least_squares(terms, wanted)
        off = (wanted - _sum(shape, terms)).std(1, keepdims=True)
        centre, remains = cls._fit_centre(past, layer)
        return cls(middle, spread, shape / (off + 1e-9), centre, remains)

    @staticmethod
    def _fit_centre(past: Past, layer: Moments) -> tuple[Floats, Floats]:
        """Of both directions alike: means weighted by the energy, and what remains of them."""
        terms = np.hstack([past.along(past.x), past.along(past.y)])
        wanted = np.concatenate([layer.x, layer.y])[None]
        weights = np.sqrt(np.tile(layer.energy, 2) / layer.energy.mean())
        size = np.sqrt(np.mean((terms * weights) ** 2, 1, keepdims=True)) + 1e-9
        centre = _least_squares(terms * weights / size, wanted * weights) / size.T
        off_x, off_y = np.split((wanted - _sum(centre, terms))[0], 2)
        line = np.stack([np.ones_like(past.energy), past.energy])
        spread = (np.hypot(off_x, off_y) + LITTLE) / MEAN_LOG
        remains = _least_squares(line, np.log(spread)[None])
        return centre[0], remains[0]

    def shapes(self, past: Past) -> Floats:
        """Expected radius, hits and width, shape (3, n)."""
        numbers = (past.numbers - self.middle[:, None]) / self.spread[:, None]
        return _sum(self.shape, _terms(numbers))

    def centres(self, past: Past) -> tuple[Floats, Floats]:
        """Expected centre of gravity, shape (n,) each."""
        spread = np.exp(self.remains[0] + self.remains[1] * past.energy)
        x, y = (_sum(self.centre[None], past.along(at))[0] for at in (past.x, past.y))
        return x / spread, y / spread


def _terms(numbers: Floats) -> Floats:
    """Polynomial terms of second order, shape (1 + k + k (k + 1) / 2, n)."""
    first, second = np.triu_indices(len(numbers))
    one = np.ones_like(numbers[:1])
    return np.concatenate([one, numbers, numbers[first] * numbers[second]])


def _sum(coefficients: Floats, terms: Floats) -> Floats:
    """Sums of terms, shape (k, n): term after term, for a batch must not change the rounding."""
    return np.stack([np.cumsum(row[:, None] * terms, axis=0)[-1] for row in coefficients])


def _least_squares(terms: Floats, wanted: Floats) -> Floats:
    """Coefficients, shrunk a little towards 0, shape (k, terms)."""
    weight = SHARE * terms.shape[1] + RIDGE
    squares = terms @ terms.T + weight * np.eye(len(terms))
    return np.asarray(np.linalg.solve(squares, terms @ wanted.T).T)
