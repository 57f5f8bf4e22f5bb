"""Which official sample a detector has, whatever its read-out is called and cut into."""

from __future__ import annotations

import dataclasses

import pytest

from caloforge.geometry import (
    Coarsening,
    Geometry,
    geometry_preset,
    geometry_presets,
    ild_ecal,
    official_sample,
)

PARTICLES = {
    "calochallenge-1-photons": "gamma",
    "calochallenge-1-pions": "pi+",
    "calochallenge-2": "e-",
    "calochallenge-3": "e-",
    "ild-30": "gamma",
    "ild-core": "gamma",
    "ild-ecal": "gamma",
}


@pytest.mark.parametrize("name", geometry_presets())
def test_a_preset_has_the_sample_of_its_detector_under_any_name(name):
    geometry = geometry_preset(name)
    official = official_sample(geometry)
    assert official.particle == PARTICLES[name]
    low, high = official.energy_range
    assert 0 < low < high
    mine = dataclasses.replace(geometry, name="mine", threshold=0.0)
    assert official_sample(mine) == official
    deeper = dataclasses.replace(geometry, z=tuple(1.1 * depth + 1 for depth in geometry.z))
    assert official_sample(deeper) is None


def test_other_voxels_of_a_detector_have_its_sample():
    whole = geometry_preset("calochallenge-2")
    coarse = Coarsening(whole, (5, 2, 1)).geometry
    layers = dataclasses.replace(
        whole, layers=whole.layers[9:13], z=whole.z[9:13], layer_ids=whole.layer_ids[9:13]
    )
    for geometry in (coarse, Coarsening(whole, (45, 1, 1)).geometry, layers):
        assert official_sample(geometry) == official_sample(whole)
    moved = official_sample(ild_ecal((37.5, -36.1)))
    assert moved == official_sample(geometry_preset("ild-30"))


def test_a_geometry_of_a_former_version_is_read_without_its_particle():
    geometry = geometry_preset("ild-30")
    former = {**geometry.to_dict(), "particle": "gamma", "energy_range": [1e4, 1e5]}
    assert Geometry.from_dict(former) == geometry
    with pytest.raises(ValueError, match="not a geometry"):
        Geometry.from_dict({**former, "magnet": 3.5})
