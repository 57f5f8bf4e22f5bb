"""How many Geant4 showers a sample replaces, in each cell of condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.conditions import AXES, ENOUGH, Cell, find_cells
from caloforge.evaluation.observables import Floats, ShowerSource
from caloforge.evaluation.projection import PointSource, in_voxels
from caloforge.evaluation.sample import Sample
from caloforge.evaluation.worth.energy_distance import compare
from caloforge.evaluation.worth.estimate import Estimate, Fluctuations
from caloforge.evaluation.worth.residuals import residuals, shower_observables, slices
from caloforge.evaluation.worth.tables import html_table, markdown_table
from caloforge.showers import Particles

__all__ = ["Worth", "worth", "worth_of_samples"]

FEWEST_GENERATED = 20  # showers of the candidate in a cell
REPLICATES = 200
LINES = 8  # onto which all observables are projected together


@dataclass(frozen=True, eq=False)
class Worth:
    """How many Geant4 showers a sample replaces.

    Args:
        observables: their names.
        cells: the cells of condition.
        n_reference: showers of the reference in each cell, shape (cells,).
        n_candidate: showers of the candidate, shape (cells,).
        n_training: showers that it was trained on, shape (cells,); None where that is not known.
        fluctuations: inverse worths, those of lines through all observables after the others'.
    """

    observables: tuple[str, ...]
    cells: tuple[Cell, ...]
    n_reference: NDArray[np.int64]
    n_candidate: NDArray[np.int64]
    n_training: Floats | None
    fluctuations: Fluctuations = field(repr=False)

    @property
    def all(self) -> Estimate:
        """The harmonic mean over cells and observables."""
        return self.of()

    @property
    def together(self) -> Estimate:
        """The harmonic mean over cells and lines through all observables: what they have jointly.

        The energy distance of lines of random direction (sliced), through the observables made
        uncorrelated and of unit variance. It sees correlations, which no single observable has.
        """
        weights = np.ones(self.fluctuations.inverse.shape)
        weights[:, : len(self.observables)] = 0
        return self.fluctuations.mean(weights)

    @property
    def amplification(self) -> Estimate | None:
        """Worth over training showers, cell by cell: the harmonic mean over cells and observables.

        None where the number of training showers is not known.
        """
        if self.n_training is None:
            return None
        return self.fluctuations.mean(self._weights() * self.n_training[:, None])

    @property
    def median(self) -> float:
        """The median over cells and observables; infinite where more than half are out of sight."""
        inverse = self.fluctuations.inverse[:, : len(self.observables)]
        values = [
            1 / found if found > 0 else np.inf for found in inverse[np.isfinite(inverse)].tolist()
        ]
        return float(np.median(values)) if values else float("nan")

    @property
    def worst(self) -> tuple[str, Cell, Estimate] | None:
        """Observable and cell of the smallest worth: that of the lowest upper limit.

        None where no difference is seen in any.
        """
        found = [
            (name, cell, self.of(name, number))
            for name in self.observables
            for number, cell in enumerate(self.cells)
        ]
        seen = [entry for entry in found if entry[2].is_seen]
        return min(seen, key=lambda entry: entry[2].high, default=None)

    def of(self, observable: str | None = None, cell: int | None = None) -> Estimate:
        """Of one observable, of one cell by its number, of both; the harmonic mean over the rest.

        Raises:
            KeyError: for an observable that does not exist.
        """
        if observable is not None and observable not in self.observables:
            raise KeyError(
                f"observable must be among {', '.join(self.observables)}, got {observable!r}"
            )
        weights = self._weights()
        if observable is not None:
            weights[:, np.arange(weights.shape[1]) != self.observables.index(observable)] = 0
        if cell is not None:
            weights[np.arange(len(self.cells)) != cell] = 0
        return self.fluctuations.mean(weights)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; what is out of sight is null, with a lower limit."""
        amplification = self.amplification
        cells = [
            {
                "cell": cell.label,
                "n_reference": int(self.n_reference[number]),
                "n_candidate": int(self.n_candidate[number]),
                "n_training": None if self.n_training is None else self.n_training[number].item(),
                "all": self.of(cell=number).to_dict(),
                **{name: self.of(name, number).to_dict() for name in self.observables},
            }
            for number, cell in enumerate(self.cells)
        ]
        worst = self.worst
        return {
            "all": self.all.to_dict(),
            "together": self.together.to_dict(),
            "amplification": amplification and amplification.to_dict(),
            "median": self.median if np.isfinite(self.median) else None,
            "worst": worst
            and {"observable": worst[0], "cell": worst[1].label, **worst[2].to_dict()},
            "observables": {name: self.of(name).to_dict() for name in self.observables},
            "cells": cells,
        }

    def rows(self) -> list[list[str]]:
        """The table: a heading, a row for each cell, and one of all; a column each observable."""
        places: list[tuple[str, int | None]] = [
            (cell.label or "all", number) for number, cell in enumerate(self.cells)
        ]
        if len(places) > 1:
            places.append(("all", None))
        lines = [["incident", *self.observables, "all"]]
        for label, place in places:
            found = [self.of(name, place).text for name in self.observables]
            lines.append([label, *found, self.of(cell=place).text])
        if self.n_training is not None:
            counts = [*self.n_training, self.n_training.sum()][: len(places)]
            column = ["training showers", *(f"{n:,.0f}" for n in counts)]
            lines = [[*line, text] for line, text in zip(lines, column, strict=True)]
        return lines

    def to_markdown(self) -> str:
        """The table, for reading."""
        return markdown_table(self.rows())

    def __repr__(self) -> str:
        gain = self.amplification
        words = f", amplification {gain.text}" if gain else ""
        cells = f"{len(self.cells)} cell{'s' * (len(self.cells) > 1)}"
        return f"Worth({self.all.text} Geant4 showers in {cells}{words})"

    def _repr_html_(self) -> str:
        return html_table(self.rows())

    def _weights(self) -> Floats:
        """1 for every cell and observable, 0 for lines through all of them."""
        weights = np.ones(self.fluctuations.inverse.shape)
        weights[:, len(self.observables) :] = 0
        return weights


def worth(
    reference: ShowerSource | PointSource,
    candidate: ShowerSource | PointSource,
    *,
    training: ShowerSource | PointSource | int | None = None,
    threshold: float | None = None,
    bins: int = AXES["energy"],
    seed: int = 0,
) -> Worth:
    r"""How many Geant4 showers a sample replaces, by the energy distance of its observables.

    N independent Geant4 showers, sampled again and again, have on average a squared energy distance
    :math:`D^2 = E|X - X'| / N` from the truth. A sample with a :math:`D^2` of its own is therefore
    **worth**

    .. math:: N = \frac{E|X - X'|}{D^2}, \qquad
        D^2 = 2 E|X - Y| - E|X - X'| - E|Y - Y'|

    Geant4 showers, X the reference and Y the candidate. All means are without bias (U-statistics):
    the number of generated showers changes the error of the worth, not its value, and a library of
    N showers is worth N on average, however often it is sampled.

    It is taken in cells of equally many showers of the reference: within each kind of particle and
    range of direction, eight ranges of log E; fewer where a cell would hold less than 200. In
    each, what energy and angle explain is taken out, see `residuals`. Over cells and observables
    the inverse worths are averaged, since those add up.

    Its error is the bootstrap's, over both samples, see `Fluctuations` and `Estimate`.

    Example:
        >>> from caloforge.evaluation import worth
        >>> worth(showers[::2], showers[1::2])  # doctest: +ELLIPSIS
        Worth(... Geant4 showers in 1 cell)

    Args:
        reference: Geant4 showers: the truth.
        candidate: generated showers of the same geometry.
        training: the showers that it was trained on, or their number, which then lie in the cells
            in the proportions of the reference: for the amplification.
        threshold: read-out threshold [MeV], by default the geometry's.
        bins: ranges of incident energy.
        seed: of the bootstrap.

    Raises:
        ValueError: for different geometries, or no ranges.
    """
    goal = reference.geometry
    if candidate.geometry != goal:
        raise ValueError(
            f"the candidate has showers of {candidate.geometry.name}, the reference of "
            f"{goal.name}: compare samples of the same voxels"
        )
    limit = goal.threshold if threshold is None else threshold
    first = Sample.of(in_voxels(reference, goal), threshold=limit)
    second = Sample.of(in_voxels(candidate, goal), threshold=limit, edges=first.spectrum.edges)
    known = training if training is None or isinstance(training, int) else training.particles
    return worth_of_samples(first, second, training=known, bins=bins, seed=seed)


def worth_of_samples(
    reference: Sample,
    candidate: Sample,
    *,
    training: Particles | int | None = None,
    bins: int = AXES["energy"],
    seed: int = 0,
) -> Worth:
    """The same of samples whose observables are known, see `worth`."""
    if bins < 1:
        raise ValueError(f"bins must be 1 or more, got {bins}")
    of_points = reference.clouds is not None and candidate.clouds is not None
    sides = [_Side.of(sample, of_points=of_points) for sample in (reference, candidate)]
    names = tuple(sides[0].observed)
    rng = np.random.default_rng(seed)
    lines = rng.standard_normal((LINES, len(names)))
    lines /= np.linalg.norm(lines, axis=1, keepdims=True)
    cells = find_cells(sides[0].particles, {**AXES, "energy": bins}, fewest=ENOUGH)
    rows = [[cell.rows(side.particles) for side in sides] for cell in cells]
    found = [
        _in_cell(sides[0].at(first), sides[1].at(second), lines, rng) for first, second in rows
    ]
    counts = np.array([[len(side) for side in both] for both in rows])
    return Worth(
        names,
        cells,
        counts[:, 0],
        counts[:, 1],
        _trained_on(training, cells, counts[:, 0]),
        Fluctuations(*(np.array(part) for part in zip(*found, strict=True))),
    )


@dataclass(frozen=True, eq=False)
class _Side:
    """One of the two samples.

    Args:
        observed: observables by name, arrays (n,).
        particles: the incident particles, n.
    """

    observed: Mapping[str, Floats]
    particles: Particles

    @classmethod
    def of(cls, sample: Sample, *, of_points: bool) -> _Side:
        return cls(shower_observables(sample, of_points=of_points), sample.source.particles)

    def at(self, rows: NDArray[np.int64]) -> _Side:
        observed = {name: values[rows] for name, values in self.observed.items()}
        return _Side(observed, self.particles[rows])


def _in_cell(
    reference: _Side, candidate: _Side, lines: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Inverse worth of each observable and line in a cell, and how they fluctuate."""
    k = len(reference.observed) + len(lines)
    counts = len(reference.particles), len(candidate.particles)
    if min(counts) < FEWEST_GENERATED:
        return np.full(k, np.nan), np.zeros((k, k)), np.zeros((k, REPLICATES))
    first, second = residuals(
        reference.observed, candidate.observed, reference.particles, candidate.particles
    )
    of_lines = slices(first, second, lines)
    random = rng.standard_normal((REPLICATES, sum(counts)), dtype=np.float32)
    pairs = zip([*first, *of_lines[0]], [*second, *of_lines[1]], strict=True)
    found = [compare(x, y, random) for x, y in pairs]
    shares = np.array([one.linear for one in found])
    return (
        np.array([one.inverse for one in found]),
        shares @ shares.T,
        np.array([one.null for one in found]),
    )


def _trained_on(
    training: Particles | int | None, cells: tuple[Cell, ...], n_reference: NDArray[np.int64]
) -> Floats | None:
    """Training showers in each cell."""
    if training is None:
        return None
    if isinstance(training, int):
        return np.asarray(training * n_reference / n_reference.sum())
    return np.array([len(cell.rows(training)) for cell in cells], np.float64)
