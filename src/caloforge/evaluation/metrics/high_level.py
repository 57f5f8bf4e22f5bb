"""Fréchet and kernel physics distance of the CaloChallenge's high-level features, as metrics."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from caloforge.evaluation.comparison import Columns, Comparison, Metric
from caloforge.evaluation.digits import format_value
from caloforge.evaluation.leaderboard import DATASETS
from caloforge.evaluation.metrics.physics_distance import (
    Distance,
    fpd,
    fpd_of_subsets,
    kpd,
    kpd_of_blocks,
)
from caloforge.evaluation.observables import Floats, high_level
from caloforge.evaluation.sample import Sample

__all__ = ["FrechetPhysicsDistance", "KernelPhysicsDistance", "TrimmedFrechetDistance"]

# Showers of each sample that JetNet asks for, so that FPD's largest batches are not mostly repeats.
# The floor falls as 1/n still: the published one is for 100,000.
PUBLISHED_SIZE = 50_000
TRIM = 0.01  # fraction of the reference's showers beyond each quantile that bounds a feature


class _HighLevelDistance(Metric):
    """A distance of the CaloChallenge's list of high-level features."""

    repeats = 5
    published_for = DATASETS
    published_size = PUBLISHED_SIZE

    def __init__(self, reference: Sample, threshold: float) -> None:
        """Nothing is fitted to the whole reference."""

    def columns(self, sample: Sample) -> Columns:
        """The CaloChallenge's list of features, shape (n, columns)."""
        return {"features": high_level(sample.energy_inc, sample.features)}

    def compare(self, reference: Columns, candidate: Columns, seed: int) -> Comparison:
        """The distance; with the error of its own where it is the published one."""
        first, second = (np.asarray(side["features"]) for side in (reference, candidate))
        if min(len(first), len(second)) >= PUBLISHED_SIZE:
            found = self.published(first, second)
            return Comparison({self.name: found.value}, {self.name: found.error})
        return Comparison({self.name: self.of_few(first, second, seed)})

    @abstractmethod
    def published(self, reference: Floats, candidate: Floats) -> Distance: ...

    @abstractmethod
    def of_few(self, reference: Floats, candidate: Floats, seed: int) -> float: ...


class FrechetPhysicsDistance(_HighLevelDistance):
    """Fréchet distance of the CaloChallenge's high-level features (FPD).

    From 50,000 showers of each sample on it is taken with the published settings and seed, see
    `fpd`. Fewer are extrapolated to infinitely many with `fpd_of_subsets`: sampled with
    replacement, the 362 features of 800 Geant4 showers of dataset 2 would be 1.2 from those of 800
    others, and of 3,000 0.26, against 0.04 and 0.003 from subsets. It sees shapes: 30 % of the
    voxels a bin further out are 0.2 away, but 30 % more energy only 0.01, as the logarithm of a
    layer's energy is divided by that of an empty layer.
    """

    name = "fpd"

    def published(self, reference: Floats, candidate: Floats) -> Distance:
        return fpd(reference, candidate)

    def of_few(self, reference: Floats, candidate: Floats, seed: int) -> float:
        return fpd_of_subsets(reference, candidate, seed=seed).value


class TrimmedFrechetDistance(Metric):
    """Fréchet distance of the same features without their tails, extrapolated as for few showers.

    Features are kept between the 1 % and 99 % quantiles of the reference, see `fpd_of_subsets`. A
    remark says where the distance with tails is another one: then a few showers decide it.
    """

    name = "fpd-trimmed"
    repeats = 5

    def __init__(self, reference: Sample, threshold: float) -> None:
        """Nothing is fitted to the whole reference."""

    columns = _HighLevelDistance.columns

    def compare(self, reference: Columns, candidate: Columns, seed: int) -> Comparison:
        """The distance, and whether it is another one than that with tails."""
        first, second = (np.asarray(side["features"]) for side in (reference, candidate))
        found = fpd_of_subsets(first, second, trim=TRIM, seed=seed)
        whole = fpd_of_subsets(first, second, seed=seed)
        apart = abs(whole.value - found.value) > np.hypot(whole.error, found.error)
        text = (
            f"with tails it is {format_value(1e3 * whole.value, 1e3 * whole.error)}, as a few "
            "showers decide that"
        )
        return Comparison({"fpd": found.value}, remarks={"fpd": text} if apart else {})


class KernelPhysicsDistance(_HighLevelDistance):
    """Maximum mean discrepancy of the CaloChallenge's high-level features (KPD).

    From 50,000 showers of each sample on it is taken with the published settings and seed, see
    `kpd`. Fewer are compared once without repeats, in blocks of 2,500, see `kpd_of_blocks`.
    """

    name = "kpd"

    def published(self, reference: Floats, candidate: Floats) -> Distance:
        return kpd(reference, candidate)

    def of_few(self, reference: Floats, candidate: Floats, seed: int) -> float:
        return kpd_of_blocks(reference, candidate).value
