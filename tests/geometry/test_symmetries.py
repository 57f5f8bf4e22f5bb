"""The symmetries of voxels are found from the voxels."""

from __future__ import annotations

import numpy as np
import pytest

from caloforge.geometry import CartesianLayer, Geometry, geometry_preset
from caloforge.geometry.symmetries import voxel_images
from caloforge.showers import VoxelShowers


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("calochallenge-1-photons", 20),
        ("calochallenge-1-pions", 20),
        ("calochallenge-2", 32),
        ("calochallenge-3", 100),
        ("ild-30", 8),
        ("ild-ecal", 1),
    ],
)
def test_every_geometry_has_its_group(name: str, number: int) -> None:
    geometry = geometry_preset(name)
    images = voxel_images(geometry)
    assert images.shape == (number, geometry.n_voxels)
    assert np.array_equal(images[0], np.arange(geometry.n_voxels))
    assert len({row.tobytes() for row in images}) == number
    for image in images:
        assert np.array_equal(geometry.voxel_layer[image], geometry.voxel_layer)
    # a group: what follows two of them is another
    found = {row.tobytes() for row in images}
    some = images[:: max(1, number // 5)]
    assert all(first[second].tobytes() in found for first in some for second in some)


def test_images_keep_radii_and_energies(bundled: VoxelShowers) -> None:
    geometry = bundled.geometry
    radius = np.hypot(geometry.voxel_x, geometry.voxel_y)
    for image in voxel_images(geometry):
        np.testing.assert_allclose(radius[image], radius, rtol=1e-12)


def test_cells_beside_the_axis_have_fewer(slanted: Geometry) -> None:
    images = voxel_images(slanted)
    assert len(images) == 2  # the identity, and y to -y
    assert np.array_equal(images[1].reshape(3, 4), np.arange(12).reshape(3, 4)[:, ::-1])


@pytest.fixture
def slanted() -> Geometry:
    import dataclasses

    whole = geometry_preset("ild-30")
    layer = CartesianLayer((-5.0, 0.0, 5.0, 10.0), (-10.0, -5.0, 0.0, 5.0, 10.0))
    return dataclasses.replace(
        whole, name="beside", layers=(layer,), z=whole.z[:1], layer_ids=whole.layer_ids[:1]
    )
