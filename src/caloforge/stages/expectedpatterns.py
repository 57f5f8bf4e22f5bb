"""What is expected of the pattern of a layer, given the layers before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from caloforge.stages.patternarrays import Array, Expected
from caloforge.stages.quilting import NARROW

__all__ = ["SIZE", "ExpectedPatterns", "Past", "tables"]

LITTLE = 1e-3  # distance that counts as none [mm]
RIDGE = 10.0  # showers that say that nothing is known,
SHARE = 1e-3  # and beside them this share of those there are
MEAN_LOG = 1.06  # exp(mean log r) of the distance r of two standard normal numbers from 0
SHAPES = ((10,), (10,), (3, 66), (8,), (2,))  # of what is expected of a layer
SIZE = sum(int(np.prod(shape)) for shape in SHAPES)
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
    def of(cls, rows: Array) -> Self:
        """That in rows of `quilting.write_past`, shape (n, 14)."""
        return cls(*np.split(rows.T, [10, 12]))

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
    J. Business and Economic Statistics 6, 1988, 287). They are evaluated in
    `quilting.expected_shape` and `quilting.expected_centre`.

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
    def fit(cls, past: Past, layer: Array, unit: float) -> Self:
        """Those of training showers.

        Args:
            past: of n showers.
            layer: moments of their patterns, none of which is empty, in the order of
                `patternarrays.Moments`, shape (n, 6).
            unit: of radii [mm].
        """
        energy, hits, x, y, radius, width = layer.T
        middle, spread = past.numbers.mean(1), past.numbers.std(1) + 1e-9
        terms = _terms((past.numbers - middle[:, None]) / spread[:, None])
        logarithms = np.log((radius / unit).clip(NARROW)), np.log(hits + 0.5)
        wanted = np.stack([*logarithms, width / unit])
        shape = _least_squares(terms, wanted)
        off = (wanted - shape @ terms).std(1, keepdims=True)
        centre, remains = cls._fit_centre(past, energy, x, y)
        return cls(middle, spread, shape / (off + 1e-9), centre, remains)

    @staticmethod
    def _fit_centre(past: Past, energy: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Of both directions alike: means weighted by the energy, and what remains of them."""
        terms = np.hstack([past.along(past.x), past.along(past.y)])
        wanted = np.concatenate([x, y])[None]
        weights = np.sqrt(np.tile(energy, 2) / energy.mean())
        size = np.sqrt(np.mean((terms * weights) ** 2, 1, keepdims=True)) + 1e-9
        centre = _least_squares(terms * weights / size, wanted * weights) / size.T
        off_x, off_y = np.split((wanted - centre @ terms)[0], 2)
        line = np.stack([np.ones_like(past.energy), past.energy])
        spread = (np.hypot(off_x, off_y) + LITTLE) / MEAN_LOG
        remains = _least_squares(line, np.log(spread)[None])
        return centre[0], remains[0]

    def row(self) -> NDArray[np.float32]:
        """All of them in the order above, shape (228,)."""
        parts = (self.middle, self.spread, self.shape, self.centre, self.remains)
        return np.concatenate([part.ravel() for part in parts]).astype(np.float32)


def tables(rows: NDArray[Any]) -> Expected:
    """Those of all layers.

    Args:
        rows: see `ExpectedPatterns.row`, shape (n_layers, 228).
    """
    ends = np.cumsum([int(np.prod(shape)) for shape in SHAPES])[:-1]
    parts = np.split(rows.astype(float), ends, axis=1)
    return Expected(
        *(
            np.ascontiguousarray(part.reshape(len(rows), *shape))
            for part, shape in zip(parts, SHAPES, strict=True)
        )
    )


def _terms(numbers: Floats) -> Floats:
    """Polynomial terms of second order, shape (1 + k + k (k + 1) / 2, n)."""
    first, second = np.triu_indices(len(numbers))
    one = np.ones_like(numbers[:1])
    return np.concatenate([one, numbers, numbers[first] * numbers[second]])


def _least_squares(terms: Floats, wanted: Floats) -> Floats:
    """Coefficients, shrunk a little towards 0, shape (k, terms)."""
    weight = SHARE * terms.shape[1] + RIDGE
    squares = terms @ terms.T + weight * np.eye(len(terms))
    return np.asarray(np.linalg.solve(squares, terms @ wanted.T).T)
