"""Showers of every kind of geometry, from a formula, so that files can be tested anywhere."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from caloforge.geometry import CartesianLayer, Geometry, PolarLayer, geometry_preset
from caloforge.showers import VoxelShowers

CUSTOM = Geometry(
    name="wedge",
    layers=(PolarLayer((0, 5, 10), 4), CartesianLayer((-9, 0, 9), (-9, 0, 9, 20))),
    z=(1.5, 4.0),
    threshold=0.2,
    layer_ids=(0, 12),
)
# A preset's name with another read-out: the file must say the read-out itself.
RAISED = dataclasses.replace(geometry_preset("calochallenge-2"), threshold=1.0)


def profile(geometry: Geometry, energy_inc: np.ndarray) -> VoxelShowers:
    """Showers whose energy falls off with radius, and in depth, the deeper the higher E_inc."""
    depth = np.asarray(geometry.z) / max(geometry.z)
    energy = np.exp(-geometry.voxel_r / 10) * (1 - depth / 2)[geometry.voxel_layer]
    dense = energy_inc[:, None] * energy / energy.sum()
    dense[:, ::3] = 0  # as if no particle had come there
    energies = energy_inc.astype(np.float32), dense.astype(np.float32)
    return VoxelShowers.from_dense(*energies, geometry).above(geometry.threshold)


@pytest.fixture(
    params=[
        "calochallenge-1-photons",
        "calochallenge-2",
        "calochallenge-3",
        "ild-30",
        CUSTOM,
        RAISED,
    ],
    ids=lambda g: g if isinstance(g, str) else f"own-{g.name}",
)
def showers(request: pytest.FixtureRequest) -> VoxelShowers:
    """Five showers, the second without energy, of each kind of geometry."""
    geometry = geometry_preset(request.param) if isinstance(request.param, str) else request.param
    made = profile(geometry, np.array([1e5, 1.5e4, 2e3, 5e4, 1e6]))
    dense = made.dense().reshape(len(made), geometry.n_voxels)
    dense[1] = 0
    return VoxelShowers.from_dense(made.energy_inc, dense, geometry)


@pytest.fixture
def few() -> VoxelShowers:
    """Three showers in few voxels."""
    return profile(CUSTOM, np.array([1e3, 2e3, 3e3]))
