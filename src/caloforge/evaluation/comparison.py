"""The contract of a metric, and the draws of showers that every metric is taken on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.sample import Sample

__all__ = ["Columns", "Draw", "EvaluationWarning", "Metric", "SmallSampleWarning", "draws"]

Columns = Mapping[str, NDArray[Any]]


class EvaluationWarning(UserWarning):
    """A comparison that means less than it seems to."""


class SmallSampleWarning(EvaluationWarning):
    """Too few showers: only gross differences stand out from the floor."""


class Metric(ABC):
    """A distance between two samples of showers, fitted to a reference.

    A metric turns a sample into columns, one row a shower, and compares rows of two samples. What
    it needs of the reference as a whole (borders of bins, means, scales) it takes when it is made.
    """

    name: ClassVar[str]
    repeats: ClassVar[int]  # how many draws it is taken on
    max_size: ClassVar[int | None] = None  # largest number of showers of a draw, None: no limit

    @abstractmethod
    def __init__(self, reference: Sample, threshold: float) -> None: ...

    @abstractmethod
    def columns(self, sample: Sample) -> Columns:
        """What the metric needs of each shower: arrays of shape (n, ...)."""

    @abstractmethod
    def compare(
        self, reference: Columns, candidate: Columns, seed: int
    ) -> dict[str, NDArray[np.float64] | float]:
        """Values by observable: a number, or one a layer."""


@dataclass(frozen=True, eq=False)
class Draw:
    """Rows of equally many showers: of the reference, of the rest of it, and of a candidate."""

    reference: NDArray[np.int64]
    rest: NDArray[np.int64]
    candidate: NDArray[np.int64]
    seed: int


def draws(
    n_reference: int, n_candidate: int, *, size: int, repeats: int, seed: int, paired: bool
) -> Iterator[Draw]:
    r"""Draw disjoint halves of the reference and as many showers of a candidate, several times.

    A distance between finite samples is never zero, so a candidate is read against a floor: the
    distance between two disjoint sets A and B of `size` reference showers. The candidate's showers
    C are as many as B's and are compared with the same A, hence a perfect generator's value
    :math:`D(A, C)` has the distribution of the floor :math:`D(A, B)`. A and B do not depend on
    the candidate, so candidates of one length share one floor.

    Args:
        n_reference: showers of the reference, at least 2 `size`.
        n_candidate: showers of the candidate, at least `size`.
        size: showers of each set.
        repeats: number of draws.
        seed: of the random numbers.
        paired: shower i of the candidate has the incident energy of shower i of the reference;
            C then takes B's rows, so that it has B's incident energies.
    """
    for repeat in range(repeats):
        rows = np.random.default_rng([seed, repeat]).permutation(n_reference)
        first, rest = rows[:size], rows[size : 2 * size]
        others = np.random.default_rng([seed, repeat, 1]).permutation(n_candidate)[:size]
        yield Draw(first, rest, rest if paired else others, seed + repeat)
