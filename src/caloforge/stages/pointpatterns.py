"""Patterns of layers of training showers in points."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from caloforge.showers import Particles, PointShowers, ShowerSource, entries_of
from caloforge.showers.ragged import sums
from caloforge.stages.layermoments import Moments
from caloforge.stages.patterns import PatternStage
from caloforge.stages.turning import TURN, Rotations

__all__ = ["PointHits", "PointPatternStage", "PointPatterns"]

SECTORS = 16  # of each ring in which points are compared
RING = 5.0  # rings are narrower than this below it, and wider beyond [mm]
RINGS_PER_DOUBLING = 2
FLATTEST = 0.1  # z of the direction of a particle
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class PointHits(NamedTuple):
    """Points of one layer in some showers.

    Attributes:
        event: number of the shower, shape (points,).
        radius: distance from the axis in units of the pitch, shape (points,).
        azimuth: in units of 1 / 65,536 of a turn, from - 1/2 to below 1/2, shape (points,).
        energy: [MeV], shape (points,).
    """

    event: Integers
    radius: NDArray[np.int16]
    azimuth: NDArray[np.int16]
    energy: NDArray[Any]


class PointPatterns:
    """Layers of training showers, turned by any angle, mirrored and scaled.

    Points are kept in polar coordinates of 16 bits, so that a rotation is a sum of whole numbers,
    about the line on which the particle flies.
    Two layers are compared in rings that become wider with the radius r [mm], 2 log2(1 + r / 5),
    in 16 sectors each.

    Args:
        rows: what a `PointPatternStage` keeps, by name.
        symmetric: whether patterns are turned.

    Attributes:
        turning: the rotations.
        layer_energies: of the showers [MeV], shape (n, n_layers).
    """

    def __init__(self, rows: dict[str, NDArray[Any]], *, symmetric: bool) -> None:
        self.turning = Rotations(symmetric)
        self.layer_energies: NDArray[Any] = rows["layer_energies"]
        self.pitch = float(rows["pitch"][0])
        self._offset, self._radius, self._azimuth = (
            rows[name] for name in ("offset", "radius", "azimuth")
        )
        self._roots = rows["root"]
        place = np.arange(int(self._radius.max(initial=0)) + 1) * self.pitch
        ring = (RINGS_PER_DOUBLING * np.log2(1 + place / RING)).astype(np.int64)
        self._ring = ring * SECTORS
        self.places = int(self._ring[-1]) + SECTORS

    @staticmethod
    def rows(showers: PointShowers) -> dict[str, NDArray[Any]]:
        """What is kept of the points of training showers, by name."""
        order = np.argsort(showers.plane(), kind="stable")
        plane = showers.plane()[order]
        x, y, energy = (
            values[order].astype(float) for values in (showers.x, showers.y, showers.energy)
        )
        slope, depth = _slope(showers.particles), np.asarray(showers.geometry.z)
        line = slope[plane // len(depth)] * depth[plane % len(depth), None]
        x, y = x - line[:, 0], y - line[:, 1]
        radius = np.hypot(x, y)
        pitch = np.float32(max(radius.max(initial=0), 1e-3) / np.iinfo(np.int16).max)
        steps = np.rint(np.arctan2(y, x) * (TURN / (2 * math.pi))).astype(np.int64)
        counts = showers.layer_counts().ravel()
        share = energy / showers.layer_energies().ravel()[plane]
        return {
            "offset": np.concatenate([[0], np.cumsum(counts)]),
            "pitch": np.array([pitch]),
            "radius": np.minimum(radius / pitch + 0.5, np.iinfo(np.int16).max).astype(np.int16),
            "azimuth": steps.astype(np.int16),  # half a turn wraps around
            "root": np.sqrt(share).astype(np.float16).clip(np.finfo(np.float16).tiny),
        }

    def layer(self, layer: int, showers: Integers) -> PointHits:
        """Points of a layer as the training showers have them, see `LayerPatterns`."""
        own = self.layer_energies[showers, layer].astype(float)
        return self._scaled(layer, showers, own)

    def turned(self, layer: int, showers: Integers, element: Integers, wanted: Floats) -> PointHits:
        """Points of a layer, turned and with other energies, see `LayerPatterns`."""
        points = self._scaled(layer, showers, wanted)
        azimuth = _moved(points.azimuth, element[points.event])
        return points._replace(azimuth=azimuth, energy=points.energy.astype(np.float32))

    def moments(self, layer: int, n: int, hits: PointHits) -> Moments:
        """Of n showers with these points in a layer."""
        r = np.asarray(hits.radius * self.pitch, dtype=np.float64)
        x, y = self.positions(hits)
        return Moments.of(n, hits.event, hits.energy.astype(float), x, y, r)

    def positions(self, hits: PointHits) -> tuple[Floats, Floats]:
        """x and y [mm] of points, shape (points,) each."""
        r = hits.radius * self.pitch
        return r * _COSINES[hits.azimuth], r * _COSINES[hits.azimuth - TURN // 4]

    def seam(self, layer: int, n: int, hits: PointHits) -> NDArray[np.float32]:
        """Roots of the shares of rings and sectors in n showers, shape (n, places)."""
        cell = hits.event * self.places + self._place(hits.radius, hits.azimuth)
        energy = sums(cell, hits.energy.astype(float), n * self.places).reshape(n, -1)
        total = energy.sum(1, keepdims=True)
        share = np.divide(energy, total, out=np.zeros_like(energy), where=total > 0)
        return np.asarray(np.sqrt(share), dtype=np.float32)

    def overlap(
        self, layer: int, candidates: Integers, element: Integers, seam: NDArray[np.float32]
    ) -> Floats:
        """sum_v sqrt(p_v q_v) over rings and sectors, see `LayerPatterns`."""
        n, k = candidates.shape
        offset, hits = self._points(candidates.ravel(), layer)
        pair = np.repeat(np.arange(n * k), np.diff(offset))
        place = self._place(self._radius[hits], _moved(self._azimuth[hits], element.ravel()[pair]))
        share = self._roots[hits].astype(np.float32) ** 2
        own = sums(pair * self.places + place, share, n * k * self.places).reshape(n, k, -1)
        return np.asarray(np.einsum("nkp,np->nk", np.sqrt(own), seam))

    def _scaled(self, layer: int, showers: Integers, wanted: Floats) -> PointHits:
        """Points with the wanted sum in each shower."""
        offset, points = self._points(showers, layer)
        event = np.repeat(np.arange(len(showers)), np.diff(offset))
        share = self._roots[points].astype(float) ** 2
        total = sums(event, share, len(wanted))
        factor = np.divide(wanted, total, out=np.zeros_like(wanted), where=total > 0)
        energy = share * factor[event]
        return PointHits(event, self._radius[points], self._azimuth[points], energy)

    def _points(self, showers: Integers, layer: int) -> tuple[Integers, Integers]:
        return entries_of(self._offset, showers * self.layer_energies.shape[1] + layer)

    def _place(self, radius: NDArray[np.int16], azimuth: NDArray[np.int16]) -> Integers:
        """Number of the ring and sector."""
        sector = (azimuth.astype(np.int64) * SECTORS // TURN) % SECTORS
        return np.asarray(self._ring[radius] + sector)


class PointPatternStage(PatternStage):
    """Points of all layers, see `PatternStage`.

    Attributes:
        pitch: unit of the radii [mm], shape (1,).
        radius: distance of each point from the axis, shape (points,).
        azimuth: of each in units of 1 / 65,536 of a turn, shape (points,).
    """

    entries = ("radius", "azimuth", "root")
    kept = (
        *("energy_inc", "direction", "pdg", "layer_energies", "offset"),
        *("pitch", "radius", "azimuth", "root", "preferred"),
    )
    writes = ("n_points", "points")
    pitch: Tensor
    radius: Tensor
    azimuth: Tensor

    def rows(self, showers: PointShowers) -> dict[str, NDArray[Any]]:
        return PointPatterns.rows(showers)

    def is_outside(self, counts: Tensor) -> bool:
        known = self.pitch.shape == (1,) and bool((self.pitch > 0).all())
        return not known or bool((self.radius < 0).any())

    def patterns(self, rows: dict[str, NDArray[Any]]) -> PointPatterns:
        return PointPatterns(rows, symmetric=self.config.images)

    def check(self, sample: ShowerSource[Any]) -> None:
        """Refuse particles that fly along the layers, or back."""
        super().check(sample)
        _slope(sample.particles)

    def made(self, layers: Iterable[PointHits], particles: Particles) -> dict[str, NDArray[Any]]:
        n, slope = len(particles), _slope(particles)
        events, rows = [], []
        for layer, points in enumerate(layers):
            x, y = self._prepared.patterns.positions(points)
            line = (slope * self.geometry.z[layer])[points.event]
            columns = (x + line[:, 0], y + line[:, 1], np.full_like(x, layer), points.energy)
            events.append(points.event)
            rows.append(np.stack(columns, 1, dtype=np.float32))
        event = np.concatenate(events)
        order = np.argsort(event, kind="stable")
        return {
            "n_points": np.bincount(event, minlength=n),
            "points": np.concatenate(rows)[order],
        }


def _slope(particles: Particles) -> Floats:
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


def _moved(azimuth: NDArray[np.int16], element: Integers) -> NDArray[np.int16]:
    """Azimuths moved by an element of `Rotations` each."""
    mirrored = np.where(element >= TURN, -1, 1)
    return (mirrored * azimuth + element).astype(np.int16)  # which wraps around


_COSINES = np.cos(np.arange(TURN) * (2 * math.pi / TURN))
