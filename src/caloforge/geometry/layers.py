"""One layer of a read-out, cut into polar bins or cartesian cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


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


Layer = PolarLayer | CartesianLayer
LAYER_KINDS: dict[str, type[PolarLayer] | type[CartesianLayer]] = {
    "polar": PolarLayer,
    "cartesian": CartesianLayer,
}
