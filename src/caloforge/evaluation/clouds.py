"""What a comparison keeps of point clouds: everything but the points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.observables import Floats, point_features, put
from caloforge.evaluation.projection import RUN, PointSource, Projected
from caloforge.evaluation.spectrum import (
    Spectrum,
    find_logarithmic_bins,
    logarithmic_edges,
)
from caloforge.units import keV

__all__ = ["Clouds"]

SOFTEST = 1 * keV  # lowest border of the spectrum of points


@dataclass(frozen=True, eq=False)
class Clouds:
    """The observables of a sample of point clouds, before their projection into cells.

    Args:
        features: see `point_features`, and ``lost``, the fraction of each cloud's energy that no
            cell holds, shape (n,).
        spectrum: energies of the points, from 1 keV on.
    """

    features: Mapping[str, NDArray[Any]]
    spectrum: Spectrum

    @classmethod
    def of(cls, showers: Projected, edges: Floats | None = None) -> Clouds:
        """Take the observables of point clouds in a stream.

        Args:
            showers: the clouds, with the cells that they are projected into.
            edges: borders of the spectrum [MeV], by default 490 logarithmic bins from 1 keV to the
                highest energy of a point.

        Raises:
            ValueError: if borders are to be found and no point has more than 1 keV.
        """
        n = len(showers)
        edges = _point_edges(showers.points) if edges is None else edges
        spectrum = Spectrum.empty(n, edges, np.uint32)
        columns: dict[str, NDArray[Any]] = {}
        for start in range(0, n, RUN):
            points = showers.points[start : start + RUN]
            rows = slice(start, start + len(points))
            lost = points.lost(points.project(showers.geometry))
            put(columns, {**point_features(points), "lost": lost}, start, n)
            bins = find_logarithmic_bins(points.energy, edges)
            spectrum.fill(rows, points, bins, points)
        return cls(columns, spectrum)


def _point_edges(points: PointSource) -> Floats:
    runs = (points[start : start + RUN] for start in range(0, len(points), RUN))
    highest = max((float(run.energy.max(initial=0)) for run in runs), default=0.0)
    if not highest > SOFTEST:
        raise ValueError(
            f"the reference has no point above {SOFTEST / keV:g} keV: are its energies in MeV?"
        )
    return logarithmic_edges(SOFTEST, highest)
