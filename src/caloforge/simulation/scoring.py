"""From the steps of a simulation to the energies of the voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caloforge.geometry import Geometry, Layer, SensorLayer
from caloforge.showers import VoxelShowers
from caloforge.simulation.detectors import Detector
from caloforge.simulation.gun import Gun

__all__ = ["Steps", "score"]


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

    Steps outside all voxels are lost.

    Args:
        steps: the steps of all events.
        energy_inc: incident energy of each event [MeV], shape (n,).
        detector: read-out, sampling fraction and threshold.
        gun: position and direction of the particles.
    """
    readout = detector.readout
    if detector.axis == "detector":
        x, y = steps.position[:, 0], steps.position[:, 1]
    else:
        x, y = steps.around(gun)
    voxel = _find_voxels(readout, steps.layer, x, y)
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


def _find_voxels(
    readout: Geometry,
    layer: NDArray[np.int64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> NDArray[np.int64]:
    """As `Geometry.find_voxels`, but -1 for steps beyond the sensors that are known as well.

    The silicon of a simulation reaches farther than any map of its sensors.
    """
    x_low, x_high, y_low, y_high = np.array([_borders(bins) for bins in readout.layers])[layer].T
    known = (x_low <= x) & (x < x_high) & (y_low <= y) & (y < y_high)
    voxel = np.full(len(x), -1, dtype=np.int64)
    voxel[known] = readout.find_voxels(layer[known], x[known], y[known])
    return voxel


def _borders(bins: Layer) -> tuple[float, float, float, float]:
    if isinstance(bins, SensorLayer):
        return bins.x_edges[0], bins.x_edges[-1], bins.y_edges[0], bins.y_edges[-1]
    return -np.inf, np.inf, -np.inf, np.inf
