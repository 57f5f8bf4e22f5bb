"""Wasserstein-1 distances of CaloClouds' observables: of cells, and of points."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.clouds import Clouds
from caloforge.evaluation.comparison import Columns, Comparison, Metric
from caloforge.evaluation.metrics.wasserstein import (
    PUBLISHED_SIZE,
    SpectrumDistance,
    distance,
    has_spread,
    mean_std,
)
from caloforge.evaluation.observables import Floats, fixed_energy
from caloforge.evaluation.sample import Sample
from caloforge.evaluation.spectrum import Spectrum
from caloforge.units import GeV

__all__ = ["CaloCloudsDistance", "PointDistance"]

FEWEST = 20  # showers of the reference around an energy, without which it is left out


class _Distances(Metric):
    r"""Distances of each shower's numbers, of lists of such, and of the spectrum.

    All are in standard deviations of the whole reference; of a list, such as the energies of ten
    rings, the mean over those entries that have a spread. A subsample has up to 10,000 showers.
    """

    repeats = 10
    max_size = PUBLISHED_SIZE

    def __init__(self, reference: Sample, threshold: float) -> None:
        features = self.features(reference)
        self.spectrum = SpectrumDistance(self.spectrum_of(reference))
        self.scales = {
            name: np.array([mean_std(column) for column in _columns(values)])
            for name, values in features.items()
            if np.isfinite(values).sum() >= FEWEST
        }

    @abstractmethod
    def features(self, sample: Sample) -> Mapping[str, NDArray[Any]]:
        """Numbers of each shower, shape (n,) or (n, k)."""

    @abstractmethod
    def spectrum_of(self, sample: Sample) -> Spectrum:
        """The spectrum of energies."""

    def columns(self, sample: Sample) -> Columns:
        """Numbers and spectrum of each shower."""
        return {**self.features(sample), **SpectrumDistance.columns(self.spectrum_of(sample))}

    def compare(self, reference: Columns, candidate: Columns, seed: int) -> Comparison:
        """Distance of each observable."""
        values = {
            name: _mean_distance(name, reference[name], candidate[name], scales)
            for name, scales in self.scales.items()
        }
        return Comparison({**values, "spectrum": self.spectrum(reference, candidate)})


def _columns(values: NDArray[Any]) -> NDArray[Any]:
    """The columns of a list, one of a number."""
    return values.reshape(len(values), -1).T


def _mean_distance(name: str, first: NDArray[Any], second: NDArray[Any], scales: Floats) -> float:
    """Mean over the columns that have a spread; of the first where none has."""
    columns = list(zip(_columns(first), _columns(second), scales, strict=True))
    found = [distance(name, x, y, *scale) for x, y, scale in columns if has_spread(*scale)]
    return float(np.mean(found)) if found else distance(name, *columns[0][:2], *scales[0])


class CaloCloudsDistance(_Distances):
    """Wasserstein-1 distances of CaloClouds' observables of cells.

    Those of CaloClouds II's table: sampling fraction, number of hits, centres of gravity, energies
    of ten groups of layers and of ten rings, see `features`, and the cell energies. Besides,
    visible energy and number of hits at 10, 50 and 90 GeV, see `fixed_energy`, where the reference
    has twenty showers there.

    Sources: CaloClouds (arXiv:2305.04847), section 4.1; CaloClouds II (arXiv:2309.05704), table 1.
    """

    name = "caloclouds"

    def features(self, sample: Sample) -> Mapping[str, NDArray[Any]]:
        """CaloClouds' observables, and those at fixed energies."""
        found = fixed_energy(sample.caloclouds, sample.energy_inc)
        at_fixed = {f"{name}_{energy / GeV:g}": values for (name, energy), values in found.items()}
        return {**sample.caloclouds, **at_fixed}

    def spectrum_of(self, sample: Sample) -> Spectrum:
        """Cell energies above the threshold."""
        return sample.spectrum


class PointDistance(_Distances):
    """Wasserstein-1 distances of point clouds before their projection, see `point_features`.

    Raises:
        ValueError: if the showers are given in voxels.
    """

    name = "points"

    def features(self, sample: Sample) -> Mapping[str, NDArray[Any]]:
        """The observables of the clouds; visible energy as fraction of the incident energy."""
        found = _clouds(sample).features
        share = found["visible_energy"] / sample.energy_inc
        return {**found, "visible_energy": share}

    def spectrum_of(self, sample: Sample) -> Spectrum:
        """Energies of the points."""
        return _clouds(sample).spectrum


def _clouds(sample: Sample) -> Clouds:
    if sample.clouds is None:
        raise ValueError(
            "the metric 'points' compares point clouds, got showers in voxels of "
            f"{sample.geometry.name}: give files of points, or leave it out"
        )
    return sample.clouds
