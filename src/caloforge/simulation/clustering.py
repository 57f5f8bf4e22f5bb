"""From the steps of a simulation to clouds of points."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caloforge.showers import PointShowers
from caloforge.simulation.detectors import Detector
from caloforge.simulation.gun import Gun
from caloforge.simulation.scoring import Steps
from caloforge.units import mm

__all__ = ["Clustering", "cluster", "points_of"]


@dataclass(frozen=True)
class Clustering:
    """How steps become the points of a cloud (CaloClouds, section 2).

    Args:
        pitch: width of the cells of the grid on which they are clustered, see `cluster` [mm];
            None keeps every step as a point of its own. By default 5/6 mm: 36 times finer than
            cells of 5 mm.
        box: half the width of the box around the impact point; points with |x| or |y| above it
            are discarded [mm].
        random_grid: move the grid by a random part of its pitch, shower by shower. A grid with a
            corner at the impact point, as that of the paper, parts the core of every shower at the
            same place, which spoils cells that are read out next to it.

    Raises:
        ValueError: unless pitch and box are positive, or for a random grid where there is none.
    """

    pitch: float | None = 5 / 6 * mm
    box: float = 200 * mm
    random_grid: bool = False

    def __post_init__(self) -> None:
        if self.pitch is not None:
            _check_pitch(self.pitch)
        if not self.box > 0:
            raise ValueError(f"box must be half a width above 0 [mm], got {self.box:g}")
        if self.random_grid and self.pitch is None:
            raise ValueError("steps that are not clustered have no grid: give its pitch [mm]")

    def request(self) -> dict[str, float | bool]:
        """What is asked, in JSON's types; a pitch of 0 keeps every step."""
        pitch = self.pitch or 0.0
        return {"pitch_mm": pitch, "box_mm": self.box, "random_grid": self.random_grid}

    def corners(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """A corner of the grid of each of n showers [mm], shape (n, 2)."""
        if not self.random_grid:
            return np.zeros((n, 2))
        return rng.uniform(0, self.pitch or 0.0, (n, 2))

    def apply(
        self, steps: PointShowers, corners: NDArray[np.float64]
    ) -> tuple[PointShowers, NDArray[np.float64]]:
        """Cluster the steps, then discard what lies outside the box.

        Args:
            steps: points that are not clustered.
            corners: of the grid of each shower [mm], shape (n, 2).

        Returns:
            The points, and the fraction of each shower's energy that was discarded, shape (n,), 0
            for an empty shower.
        """
        every = steps if self.pitch is None else cluster(steps, self.pitch, corners)
        points = every.within(self.box)
        whole = every.total_energy()
        outside = whole - points.total_energy()
        return points, np.divide(outside, whole, out=np.zeros(len(whole)), where=whole > 0)


def points_of(
    steps: Steps, energy_inc: NDArray[np.float32], detector: Detector, gun: Gun
) -> PointShowers:
    """Every step with energy as a point, shower by shower and layer by layer.

    x and y count from the impact point along the layers or, for a detector whose voxels follow the
    particle, from its line of flight perpendicular to it. Energies are divided by the sampling
    fraction. The threshold is one of voxels: it cuts what points are projected into, not them.

    Args:
        steps: the steps of all events.
        energy_inc: incident energy of each event [MeV], shape (n,).
        detector: read-out and sampling fraction.
        gun: position and direction of the particles.
    """
    if detector.axis == "detector":
        x, y = (steps.position[:, :2] - gun.impact).T
    else:
        x, y = steps.around(gun)
    order = np.lexsort((steps.layer, steps.event))
    order = order[steps.energy[order] > 0]
    return PointShowers(
        energy_inc,
        np.searchsorted(steps.event[order], np.arange(len(energy_inc) + 1)),
        x[order].astype(np.float32),
        y[order].astype(np.float32),
        steps.layer[order].astype(np.uint8),
        (steps.energy[order] / detector.sampling_fraction).astype(np.float32),
        geometry=detector.readout,
        direction=gun.direction_in(detector.axis),
        pdg=gun.pdg,
    )


def cluster(points: PointShowers, pitch: float, corner: ArrayLike = (0.0, 0.0)) -> PointShowers:
    """Sum the points of each layer on a square grid: each cell with energy becomes a point.

    The grid belongs to the shower and not to the cells of the detector, so that the points can be
    projected anywhere. They lie in the middle of its cells.

    Args:
        points: steps, or points of a finer grid.
        pitch: width of the cells of the grid [mm].
        corner: where four of its cells meet (x, y) [mm], shape (2,), or (n, 2) for one of each
            shower.

    Raises:
        ValueError: unless the pitch is positive, or for corners of another shape.
    """
    _check_pitch(pitch)
    corners = np.broadcast_to(np.asarray(corner, dtype=np.float64), (len(points), 2))
    origin = np.repeat(corners, np.diff(points.offset), axis=0).T
    place = np.stack([points.x, points.y])
    number = np.floor((place - origin) / pitch)
    keys = np.stack([points.event(), points.layer, *number])
    order = np.lexsort(keys[::-1])
    begins = np.diff(keys[:, order], axis=1, prepend=-1).any(axis=0)
    first = order[begins]
    energy = np.add.reduceat(np.float64(points.energy[order]), np.flatnonzero(begins))
    x, y = ((number + 0.5) * pitch + origin)[:, first].astype(place.dtype)
    return dataclasses.replace(
        points,
        offset=np.concatenate([[0], np.cumsum(begins)])[points.offset],
        x=x,
        y=y,
        layer=points.layer[first],
        energy=energy.astype(points.energy.dtype),
    )


def _check_pitch(pitch: float) -> None:
    if not 0 < pitch < np.inf:
        raise ValueError(
            f"pitch must be the width of a cell, above 0 [mm], got {pitch:g}: to keep every step, "
            "leave it out"
        )
