"""From the steps of a simulation to the energies of the voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    x, y = _transverse(steps.position, detector, gun)
    voxel = readout.find_voxels(steps.layer, x, y)
    inside = voxel >= 0
    key = steps.event[inside] * readout.n_voxels + voxel[inside]
    cells, cell_of_step = np.unique(key, return_inverse=True)
    deposited = np.bincount(cell_of_step, steps.energy[inside], len(cells))
    energy = deposited / detector.sampling_fraction
    kept = (energy >= detector.voxel_threshold) & (energy > 0)
    event, index = np.divmod(cells[kept], readout.n_voxels)
    offset = np.zeros(len(energy_inc) + 1, dtype=np.int64)
    np.cumsum(np.bincount(event, minlength=len(energy_inc)), out=offset[1:])
    return VoxelShowers(energy_inc, offset, index, energy[kept].astype(np.float32), readout)


def _transverse(
    position: NDArray[np.float64], detector: Detector, gun: Gun
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates x, y [mm] of each point in the frame of the voxels."""
    if detector.axis == "detector":
        return position[:, 0], position[:, 1]
    across, upward = gun.transverse_axes()
    from_gun = position - np.asarray(gun.position)
    return from_gun @ across, from_gun @ upward
