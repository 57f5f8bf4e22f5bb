"""The contract of a metric, and the subsamples of showers that every metric is taken on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.observables import ShowerSource
from caloforge.evaluation.projection import PointSource
from caloforge.evaluation.sample import Sample
from caloforge.geometry import Geometry, preset_of

__all__ = [
    "Columns",
    "Comparison",
    "EvaluationWarning",
    "Metric",
    "Outputs",
    "SharedShowersWarning",
    "SmallSampleWarning",
    "Subsample",
    "Value",
    "subsamples",
]

Columns = Mapping[str, Any]
"""What a metric needs of each shower, by name: arrays or `VoxelShowers`, which give the rows whose
numbers are asked for."""

Value = NDArray[np.float64] | float


class EvaluationWarning(UserWarning):
    """A comparison that means less than it seems to."""


class SharedShowersWarning(EvaluationWarning):
    """Showers that samples share, or that one holds more than once."""


class SmallSampleWarning(EvaluationWarning):
    """Too few showers: only gross differences exceed the floor."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """A classifier's calibrated outputs on showers it has not seen: probabilities of Geant4.

    Args:
        reference: outputs on Geant4 showers, shape (n,).
        candidate: outputs on generated showers, shape (m,).
        reference_rows: which showers of the sample those are, by number, shape (n,).
        candidate_rows: likewise, shape (m,).
    """

    reference: NDArray[np.float64]
    candidate: NDArray[np.float64]
    reference_rows: NDArray[np.int64]
    candidate_rows: NDArray[np.int64]

    def within(self, reference: NDArray[np.int64], candidate: NDArray[np.int64]) -> Outputs:
        """The same, numbered as in the samples that the compared showers are these rows of."""
        return replace(
            self,
            reference_rows=reference[self.reference_rows],
            candidate_rows=candidate[self.candidate_rows],
        )


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a metric finds between two sets of showers.

    Args:
        values: by observable: a number, or one a layer.
        errors: of those values whose error the metric gives itself; the error of the others is
            taken from the spread between subsamples.
        outputs: a classifier's outputs, by protocol.
        remarks: remarks on values in words, by observable.
    """

    values: Mapping[str, Value]
    errors: Mapping[str, float] = field(default_factory=dict)
    outputs: Mapping[str, Outputs] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)


class Metric(ABC):
    """A distance between two samples of showers, fitted to a reference.

    A metric turns a sample into columns, one row a shower, and compares rows of two samples. What
    it needs of the reference as a whole (borders of bins, means, scales) it takes when it is made.
    """

    name: str
    repeats: int  # how many subsamples it is taken on
    max_size: int | None = None  # largest number of showers of a subsample, None: no limit
    is_random: ClassVar[bool] = False  # whether the same showers give another value another time
    has_floor: ClassVar[bool] = (
        True  # whether a value is compared with that of other Geant4 showers
    )
    training: ShowerSource | PointSource | None = None  # where the values depend on these as well
    published_for: tuple[str, ...] = ()  # geometry presets that values were published for
    published_size: float = math.inf  # showers of each sample, at the least, that those are of

    @abstractmethod
    def __init__(self, reference: Sample, threshold: float) -> None: ...

    @abstractmethod
    def columns(self, sample: Sample) -> Columns:
        """What the metric needs of each shower: as many rows as the sample has showers."""

    @abstractmethod
    def compare(self, reference: Columns, candidate: Columns, seed: int) -> Comparison:
        """Compare equally many showers of the two."""

    def is_comparable(self, size: int, geometry: Geometry) -> bool:
        """Whether values of so many showers of each sample may be compared with published ones."""
        return size >= self.published_size and preset_of(geometry) in self.published_for


@dataclass(frozen=True, eq=False)
class Subsample:
    """Rows of equally many showers: of the reference, of other Geant4 showers, of a candidate."""

    reference: NDArray[np.int64]
    other: NDArray[np.int64]
    candidate: NDArray[np.int64]
    seed: int


def subsamples(
    n_reference: int,
    n_candidate: int,
    *,
    n_other: int | None = None,
    size: int,
    repeats: int,
    seed: int,
    paired: bool,
) -> Iterator[Subsample]:
    r"""Take equally many showers A of the reference, B of other Geant4 ones, C of a candidate.

    A distance between finite samples is never zero, so a candidate is read against a floor: the
    distance between A and B. C has as many showers as B and is compared with the same A, hence a
    perfect generator's value :math:`D(A, C)` has the distribution of the floor :math:`D(A, B)`. A
    and B do not depend on the candidate, so candidates of one length share one floor.

    Args:
        n_reference: showers of the reference, at least `size`, without `n_other` twice that.
        n_candidate: showers of the candidate, at least `size`.
        n_other: showers of a second Geant4 sample that B is taken from, at least `size`; without
            one, A and B are disjoint halves of the reference.
        size: showers of each set.
        repeats: number of subsamples.
        seed: of the random numbers.
        paired: shower i of the candidate has the incident energy of shower i of the reference;
            where B is taken from the reference, C then takes B's rows, so that it has B's
            incident energies.
    """
    for repeat in range(repeats):
        rows = np.random.default_rng([seed, repeat]).permutation(n_reference)
        candidate = np.random.default_rng([seed, repeat, 1]).permutation(n_candidate)[:size]
        if n_other is None:
            other = rows[size : 2 * size]
            candidate = other if paired else candidate
        else:
            other = np.random.default_rng([seed, repeat, 2]).permutation(n_other)[:size]
        yield Subsample(rows[:size], other, candidate, seed + repeat)
