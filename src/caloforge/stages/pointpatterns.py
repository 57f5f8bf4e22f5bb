"""Patterns of layers of training showers in points: five bytes a point."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.showers import Particles, PointShowers
from caloforge.stages.patternarrays import Detector
from caloforge.stages.patternrows import rows_of
from caloforge.stages.quilting import SECTORS, TURN
from caloforge.stages.turning import any_angle

__all__ = ["HIT_BYTES", "detector", "rows", "slope"]

HIT_BYTES = 5  # of radius, azimuth and share
RING = 5.0  # rings are narrower than this below it, and wider beyond [mm]
RINGS_PER_DOUBLING = 2
FLATTEST = 0.1  # z of the direction of a particle
Rows = dict[str, NDArray[Any]]


def rows(showers: PointShowers) -> Rows:
    """What is kept of training showers, about the lines on which their particles fly.

    Points are kept in polar coordinates of 16 bits, so that a rotation is a sum of whole numbers.

    Returns:
        See `rows_of`; `pitch`, unit of the radii [mm], shape (1,); `radius`, distance of each point
        from the axis, and `azimuth` in units of 1 / 65,536 of a turn, from - 1/2 to below 1/2,
        shape (points,).
    """
    order = np.argsort(showers.plane(), kind="stable")
    plane = showers.plane()[order]
    x, y, energy = (
        values[order].astype(float) for values in (showers.x, showers.y, showers.energy)
    )
    depth = np.asarray(showers.geometry.z)
    line = slope(showers.particles)[plane // len(depth)] * depth[plane % len(depth), None]
    x, y = x - line[:, 0], y - line[:, 1]
    radius, most = np.hypot(x, y), np.iinfo(np.int16).max
    pitch = np.float32(max(radius.max(initial=0), 1e-3) / most)
    steps = np.rint(np.arctan2(y, x) * (TURN / (2 * math.pi))).astype(np.int64)
    return {
        **rows_of(showers, plane, energy),
        "pitch": np.array([pitch]),
        "radius": np.minimum(radius / pitch + 0.5, most).astype(np.int16),
        "azimuth": steps.astype(np.int16),  # half a turn wraps around
    }


def detector(rows: Rows, n_layers: int, *, symmetric: bool) -> Detector:
    """Points that are turned by any angle.

    Two layers are compared in rings that become wider with the radius r [mm], 2 log2(1 + r / 5),
    in 16 sectors each.

    Args:
        rows: see `rows`.
        n_layers: of the detector.
        symmetric: whether showers are turned.
    """
    pitch = float(rows["pitch"][0])
    place = np.arange(int(rows["radius"].max(initial=0)) + 1) * pitch
    ring = (RINGS_PER_DOUBLING * np.log2(1 + place / RING)).astype(np.int64) * SECTORS
    return Detector(
        any_angle(symmetric=symmetric),
        np.zeros(n_layers, np.int64),
        int(ring[-1]) + SECTORS,
        0.0,  # that of the geometry is one of voxels and cuts no points
        np.zeros((0, 3)),
        np.zeros((0, 0), np.int16),
        pitch,
        ring,
        np.cos(np.arange(TURN) * (2 * math.pi / TURN)),
    )


def slope(particles: Particles) -> NDArray[np.float64]:
    """How far a particle flies in x and y over its way in depth, shape (n, 2).

    Raises:
        ValueError: for particles that fly along the layers, or back.
    """
    across, along = np.split(particles.direction.astype(float), [2], axis=1)
    if (along < FLATTEST).any():
        raise ValueError(
            f"patterns of points need particles that fly into the depth, directions of z "
            f"{FLATTEST} or more, got {along.min():.3g}: leave others out"
        )
    return np.asarray(across / along)
