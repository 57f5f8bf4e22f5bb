"""From the steps of a simulation to the energies of the voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caloforge.geometry import Layer, SensorLayer
from caloforge.showers import VoxelShowers
from caloforge.simulation.detectors import Detector
from caloforge.simulation.gun import Gun

__all__ = ["Steps", "score", "share_outside"]


@dataclass(frozen=True, eq=False)
class Steps:
    """Energy deposits of simulated particles, one entry a step.

    Args:
        event: number of the primary particle, shape (n,).
        layer: read-out layer, shape (n,).
        position: middle of the step (x, y, z) [mm], shape (n, 3).
        energy: deposited energy [MeV], shape (n,).
    """

    event: NDArray[np.int64]
    layer: NDArray[np.int64]
    position: NDArray[np.float64]
    energy: NDArray[np.float64]

    def around(self, gun: Gun) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coordinates x', y' [mm] of each step from the line of flight, perpendicular to it."""
        across, upward = gun.transverse_axes()
        from_gun = self.position - np.asarray(gun.position)
        return from_gun @ across, from_gun @ upward


def score(
    steps: Steps, energy_inc: NDArray[np.float32], detector: Detector, gun: Gun
) -> VoxelShowers:
    """Sum steps in voxels, divide by the sampling fraction and drop voxels below the threshold.

    Steps outside all voxels are lost, see `share_outside`.

    Args:
        steps: the steps of all events.
        energy_inc: incident energy of each event [MeV], shape (n,).
        detector: read-out, sampling fraction and threshold.
        gun: position and direction of the particles.
    """
    readout = detector.readout
    voxel, _ = _find_voxels(steps, detector, gun)
    inside = voxel >= 0
    key = steps.event[inside] * readout.n_voxels + voxel[inside]
    cells, cell_of_step = np.unique(key, return_inverse=True)
    deposited = np.bincount(cell_of_step, steps.energy[inside], len(cells))
    energy = deposited / detector.sampling_fraction
    kept = (energy >= detector.voxel_threshold) & (energy > 0)
    event, index = np.divmod(cells[kept], readout.n_voxels)
    offset = np.zeros(len(energy_inc) + 1, dtype=np.int64)
    np.cumsum(np.bincount(event, minlength=len(energy_inc)), out=offset[1:])
    return VoxelShowers(
        energy_inc,
        offset,
        index,
        energy[kept].astype(np.float32),
        readout,
        direction=gun.direction_in(detector.axis),
        pdg=gun.pdg,
    )


def share_outside(steps: Steps, n: int, detector: Detector, gun: Gun) -> NDArray[np.float64]:
    """Fraction of each event's deposited energy outside the read-out volume, shape (n,).

    Beside the outermost voxels of its layer, that is; a gap between sensors belongs to the volume.
    An event that deposits nothing has 0.

    Args:
        steps: the steps of all events.
        n: number of events.
        detector: the read-out.
        gun: position and direction of the particles.
    """
    _, outside = _find_voxels(steps, detector, gun)
    whole = np.bincount(steps.event, steps.energy, n)
    beside = np.bincount(steps.event[outside], steps.energy[outside], n)
    return np.divide(beside, whole, out=np.zeros(n), where=whole > 0)


def _find_voxels(
    steps: Steps, detector: Detector, gun: Gun
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The voxel of each step, -1 for none, and whether it lies outside the read-out volume.

    The silicon of a simulation reaches farther than any map of its sensors.
    """
    readout, layer = detector.readout, steps.layer
    if detector.axis == "detector":
        x, y = steps.position[:, 0], steps.position[:, 1]
    else:
        x, y = steps.around(gun)
    x_low, x_high, y_low, y_high = np.array([_borders(bins) for bins in readout.layers])[layer].T
    known = (x_low <= x) & (x < x_high) & (y_low <= y) & (y < y_high)
    voxel = np.full(len(x), -1, dtype=np.int64)
    voxel[known] = readout.find_voxels(layer[known], x[known], y[known])
    has_gaps = np.array([isinstance(bins, SensorLayer) for bins in readout.layers])[layer]
    return voxel, ~known | ((voxel < 0) & ~has_gaps)


def _borders(bins: Layer) -> tuple[float, float, float, float]:
    if isinstance(bins, SensorLayer):
        return bins.x_edges[0], bins.x_edges[-1], bins.y_edges[0], bins.y_edges[-1]
    return -np.inf, np.inf, -np.inf, np.inf
