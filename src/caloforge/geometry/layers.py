"""One layer of a read-out, cut into polar bins or cartesian cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_MOST_CELLS = 2**16  # of a layer, along x or y: their borders are kept in memory


def _checked_edges(name: str, edges: Iterable[float]) -> tuple[float, ...]:
    plain = tuple(float(edge) for edge in edges)
    if len(plain) < 2 or not np.isfinite(plain).all() or not np.all(np.diff(plain) > 0):
        raise ValueError(
            f"{name} must be at least two increasing numbers [mm], got {plain!r}: "
            "list the borders of the bins from low to high"
        )
    return plain


def _midpoints(edges: tuple[float, ...]) -> Floats:
    borders = np.array(edges, dtype=np.float64)
    return borders[:-1] + (borders[1:] - borders[:-1]) / 2


def _find_bins(edges: tuple[float, ...], values: Floats) -> Integers:
    """Bin of each value in half-open bins [low, high), -1 outside."""
    found = np.searchsorted(np.asarray(edges), values, side="right") - 1
    return np.where((found < 0) | (found >= len(edges) - 1), -1, found).astype(np.int64)


@dataclass(frozen=True)
class PolarLayer:
    """A layer cut into bins of azimuth alpha and radius r, r fastest.

    The alpha bins are equal and begin at -pi, as in the CaloChallenge.

    Args:
        r_edges: borders of the radial bins [mm].
        n_alpha: number of bins in alpha.
    """

    r_edges: tuple[float, ...]
    n_alpha: int
    kind: ClassVar[str] = "polar"

    def __post_init__(self) -> None:
        object.__setattr__(self, "r_edges", _checked_edges("r_edges", self.r_edges))
        if self.r_edges[0] < 0:
            raise ValueError(f"r_edges must not be negative [mm], got {self.r_edges!r}")
        if self.n_alpha != int(self.n_alpha) or self.n_alpha < 1:
            raise ValueError(f"n_alpha must be a whole number, 1 or more, got {self.n_alpha}")
        object.__setattr__(self, "n_alpha", int(self.n_alpha))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of bins (alpha, r)."""
        return self.n_alpha, len(self.r_edges) - 1

    def centres(self) -> tuple[Floats, Floats]:
        """Centres x = r cos(alpha), y = r sin(alpha) [mm] of the bins, shape (n_voxels,) each."""
        edges = np.linspace(-np.pi, np.pi, self.n_alpha + 1)
        alpha = edges[:-1] + (edges[1:] - edges[:-1]) / 2
        r = _midpoints(self.r_edges)
        return np.outer(np.cos(alpha), r).ravel(), np.outer(np.sin(alpha), r).ravel()

    def radii(self) -> Floats:
        """Radius [mm] of the centre of each bin, shape (n_voxels,)."""
        return np.tile(_midpoints(self.r_edges), self.n_alpha)

    def find(self, x: Floats, y: Floats) -> Integers:
        """Index within the layer of the bin that holds each point (x, y) [mm], -1 outside."""
        i_r = _find_bins(self.r_edges, np.hypot(x, y))
        turn = (np.arctan2(y, x) + np.pi) / (2 * np.pi)
        turn = np.where(i_r < 0, 0.0, turn)  # a point at NaN has no alpha
        i_alpha = np.floor(turn * self.n_alpha).astype(np.int64) % self.n_alpha  # pi is -pi
        return np.where(i_r < 0, -1, i_alpha * self.shape[1] + i_r)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, read back by `Geometry.from_dict`."""
        return {"kind": self.kind, "r_edges": list(self.r_edges), "n_alpha": self.n_alpha}


@dataclass(frozen=True)
class CartesianLayer:
    """A layer cut into cells of x and y, y fastest.

    Args:
        x_edges: borders of the cells in x [mm].
        y_edges: borders of the cells in y [mm].
    """

    x_edges: tuple[float, ...]
    y_edges: tuple[float, ...]
    kind: ClassVar[str] = "cartesian"

    def __post_init__(self) -> None:
        for name in ("x_edges", "y_edges"):
            object.__setattr__(self, name, _checked_edges(name, getattr(self, name)))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells (x, y)."""
        return len(self.x_edges) - 1, len(self.y_edges) - 1

    def centres(self) -> tuple[Floats, Floats]:
        """Centres x and y [mm] of the cells, each of shape (n_voxels,)."""
        x, y = np.meshgrid(_midpoints(self.x_edges), _midpoints(self.y_edges), indexing="ij")
        return x.ravel(), y.ravel()

    def radii(self) -> Floats:
        """Distance [mm] of the centre of each cell from (0, 0), shape (n_voxels,)."""
        return np.hypot(*self.centres())

    def crop(self, n_x: int, n_y: int) -> CartesianLayer:
        """The middle n_x x n_y cells.

        Raises:
            ValueError: if so many cells cannot lie in the middle.
        """
        wanted = (n_x, n_y)
        margins = [size - kept for size, kept in zip(self.shape, wanted, strict=True)]
        if min(wanted) < 1 or any(margin < 0 or margin % 2 for margin in margins):
            raise ValueError(
                f"{n_x} x {n_y} cells have no place in the middle of {self.shape[0]} x "
                f"{self.shape[1]}: choose numbers that are no larger, and even or odd as those are"
            )
        x, y = (margin // 2 for margin in margins)
        return CartesianLayer(self.x_edges[x : x + n_x + 1], self.y_edges[y : y + n_y + 1])

    def find(self, x: Floats, y: Floats) -> Integers:
        """Index within the layer of the cell that holds each point (x, y) [mm], -1 outside."""
        i_x, i_y = _find_bins(self.x_edges, x), _find_bins(self.y_edges, y)
        return np.where((i_x < 0) | (i_y < 0), -1, i_x * self.shape[1] + i_y)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, read back by `Geometry.from_dict`."""
        return {"kind": self.kind, "x_edges": list(self.x_edges), "y_edges": list(self.y_edges)}


@dataclass(frozen=True)
class SensorLayer(CartesianLayer):
    """A layer of square cells on sensors in rows and columns, with dead gaps between, y fastest.

    `x_edges` and `y_edges` are the borders that the cells are drawn with: where a gap separates two
    cells, its middle. `find` and `centres` respect the gaps. Beyond the outermost sensors the
    detector is not known.

    Args:
        x_sensors: lower border of the cells of each sensor along x [mm].
        y_sensors: lower border of the cells of each sensor along y [mm].
        n_cells: cells of a sensor along x and along y.
        pitch: width of a cell [mm].

    Raises:
        ValueError: for borders that do not rise, sensors that overlap, or impossible cells.
    """

    x_edges: tuple[float, ...] = field(init=False, repr=False, compare=False)
    y_edges: tuple[float, ...] = field(init=False, repr=False, compare=False)
    x_sensors: tuple[float, ...]
    y_sensors: tuple[float, ...]
    n_cells: int
    pitch: float
    kind: ClassVar[str] = "sensors"

    def __post_init__(self) -> None:
        if self.n_cells != int(self.n_cells) or self.n_cells < 1:
            raise ValueError(f"n_cells must be a whole number, 1 or more, got {self.n_cells}")
        most = max(len(self.x_sensors), len(self.y_sensors)) * self.n_cells
        if most > _MOST_CELLS:
            raise ValueError(f"a row may have {_MOST_CELLS} cells at most, got {most}")
        if not 0 < self.pitch < np.inf:
            raise ValueError(f"pitch must be a width above 0 [mm], got {self.pitch}")
        object.__setattr__(self, "n_cells", int(self.n_cells))
        object.__setattr__(self, "pitch", float(self.pitch))
        for axis in "xy":
            borders = tuple(float(border) for border in getattr(self, f"{axis}_sensors"))
            object.__setattr__(self, f"{axis}_sensors", borders)
            object.__setattr__(self, f"{axis}_edges", self._drawn_edges(f"{axis}_sensors", borders))
        super().__post_init__()

    @property
    def width(self) -> float:
        """Width of the cells of one sensor [mm]."""
        return self.n_cells * self.pitch

    def centres(self) -> tuple[Floats, Floats]:
        """Centres x and y [mm] of the cells, each of shape (n_voxels,)."""
        inside = (np.arange(self.n_cells) + 0.5) * self.pitch
        rows = [np.add.outer(sensors, inside).ravel() for sensors in self._sensors()]
        x, y = np.meshgrid(*rows, indexing="ij")
        return x.ravel(), y.ravel()

    def crop(self, n_x: int, n_y: int) -> CartesianLayer:
        """Refused: cells that are staggered from layer to layer have no common middle.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"{n_x} x {n_y} cells have no place in the middle of staggered sensors: project the "
            "points into a geometry of that size"
        )

    def find(self, x: Floats, y: Floats) -> Integers:
        """Index within the layer of the cell that holds each point (x, y) [mm], -1 in a gap.

        Raises:
            ValueError: if a point lies beyond the outermost sensors.
        """
        i_x, i_y = (
            self._find_cells(axis, sensors, values)
            for axis, sensors, values in zip("xy", self._sensors(), (x, y), strict=True)
        )
        return np.where((i_x < 0) | (i_y < 0), -1, i_x * self.shape[1] + i_y)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, read back by `Geometry.from_dict`."""
        return {
            "kind": self.kind,
            "x_sensors": list(self.x_sensors),
            "y_sensors": list(self.y_sensors),
            "n_cells": self.n_cells,
            "pitch": self.pitch,
        }

    def _sensors(self) -> tuple[Floats, Floats]:
        return np.array(self.x_sensors), np.array(self.y_sensors)

    def _drawn_edges(self, name: str, sensors: tuple[float, ...]) -> tuple[float, ...]:
        low = np.array(sensors)
        gaps = low[1:] - low[:-1] - self.width
        if not len(low) or not np.isfinite(low).all() or (gaps < 0).any():
            raise ValueError(
                f"{name} must be borders [mm] that rise by {self.width} or more, the width of a "
                f"sensor, got {sensors!r}"
            )
        edges = np.add.outer(low, np.arange(self.n_cells + 1) * self.pitch)
        edges[1:, 0] -= gaps / 2
        return (*edges[:, :-1].ravel().tolist(), float(edges[-1, -1]))

    def _find_cells(self, axis: str, sensors: Floats, values: Floats) -> Integers:
        """Cell along an axis, -1 in a gap."""
        low, high = float(sensors[0]), float(sensors[-1]) + self.width
        if values.size and (values.min() < low or values.max() >= high):
            raise ValueError(
                f"the sensors are known from {axis} = {low:.1f} to {high:.1f} mm, got points from "
                f"{values.min():.1f} to {values.max():.1f} mm: shift the showers less, or cut off "
                "the points far from their axis with points.within(half_width)"
            )
        sensor = np.searchsorted(sensors, values, side="right") - 1
        cell = np.floor((values - sensors[sensor]) / self.pitch)
        on_sensor = (cell >= 0) & (cell < self.n_cells)  # false for NaN
        return np.where(on_sensor, sensor * self.n_cells + np.where(on_sensor, cell, 0), -1).astype(
            np.int64
        )


Layer = PolarLayer | CartesianLayer | SensorLayer
LAYER_KINDS: dict[str, type[Layer]] = {
    layer.kind: layer for layer in (PolarLayer, CartesianLayer, SensorLayer)
}
