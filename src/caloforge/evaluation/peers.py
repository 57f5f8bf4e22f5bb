"""The distance of a shower's value from those of similar showers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.neighbors import NearestNeighbors

from caloforge.evaluation.observables import Floats
from caloforge.rounding import is_rounding

__all__ = ["deviation_from_peers"]


def deviation_from_peers(
    value: ArrayLike,
    like: ArrayLike,
    others: ArrayLike,
    others_like: ArrayLike,
    *,
    n_peers: int = 100,
    least_width: float = 0.0,
) -> Floats:
    """Distance from the median of the nearest others, in units of half their central 68 %.

    Args:
        value: shape (n,).
        like: what makes others alike, in which distances are taken after division by the standard
            deviation over the others, shape (n, k).
        others: values that are known, shape (m,).
        others_like: shape (m, k).
        n_peers: how many of the others count as alike, or all if there are fewer.
        least_width: smallest width that is divided by; where that is 0, so may the width be.

    Returns:
        Shape (n,); infinite or NaN where the width is 0.
    """
    values, known, place = (np.asarray(x, np.float64) for x in (value, others, others_like))
    spread = place.std(0)
    scale = np.where(is_rounding(spread, np.abs(place).max(0)), 1.0, spread)
    search = NearestNeighbors(n_neighbors=min(n_peers, len(known))).fit(place / scale)
    peers = known[search.kneighbors(np.asarray(like) / scale, return_distance=False)]
    low, median, high = np.percentile(peers, [16, 50, 84], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((values - median) / np.maximum((high - low) / 2, least_width))
