"""Showers that Geant4 rarely makes are showers: every system learns from a sample that has some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_runs import smallest

import caloforge as cf
from caloforge.showers import PointShowers, Showers

# the fixtures of the settings that make a system small, and of the showers
SYSTEMS = {
    "l2lflows": ("small", "slab"),
    "calodream": ("small_calodream", "bundled"),
    "supercalo": ("small_supercalo", "bundled"),
    "caloclouds": ("small_caloclouds", "bundled_points"),
    "quilt": ("small_quilt", "bundled"),
    "quilt/points": ("small_quilt", "bundled_points"),
}


def empty(showers: Showers) -> Showers:
    """The first shower, without what it left in the detector."""
    return _with(showers[:1], np.zeros(0, np.int64))


def one_hit(showers: Showers) -> Showers:
    """The first shower with the first of its hits alone."""
    return _with(showers[:1], np.zeros(1, np.int64))


def one_layer(showers: Showers) -> Showers:
    """The first shower with the hits of its last layer alone."""
    first = showers[:1]
    layer = (
        first.layer if isinstance(first, PointShowers) else first.geometry.voxel_layer[first.index]
    )
    return _with(first, np.flatnonzero(layer == layer.max()))


def _with(shower: Showers, entries: Any) -> Showers:
    chosen = {name: getattr(shower, name)[entries] for name in shower.columns}
    along = {"direction": shower.direction} if isinstance(shower, PointShowers) else {}
    return type(shower)(
        shower.energy_inc, [0, len(entries)], geometry=shower.geometry, **chosen, **along
    )


@pytest.mark.parametrize("name", SYSTEMS)
def test_odd_showers_are_learned_from_even_alone_in_a_batch(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    small, showers = map(request.getfixturevalue, SYSTEMS[name])
    sample = type(showers).concatenate(
        [showers[:12], *(make(showers) for make in (empty, empty, empty, one_hit, one_layer))]
    )
    assert np.diff(sample.offset)[12:15].tolist() == [0, 0, 0]
    kept = {k: v for k, v in small.items() if not k.startswith(tuple(FITTED_ON_DRAWN[name]))}
    settings = {**kept, **_alone(name), **FITTED_ON_DRAWN[name]}
    system = cf.build(smallest(name), sample.geometry, overrides=settings)
    cf.train(system, sample, run=tmp_path / "run", seed=1)
    sampled = system.generate(showers.energy_inc[:3], seed=1)
    assert np.isfinite(sampled.total_energy()).all()


# left out, as sampling from a system that is hardly trained takes long
FITTED_ON_DRAWN: dict[str, dict[str, Any]] = {
    "l2lflows": {},
    "calodream": {"spectrum": None, "distillation": None, "solvers": []},
    "supercalo": {},
    "caloclouds": {"calibration": None},
    "quilt": {},
    "quilt/points": {},
}
STAGES = {
    "l2lflows": ("energies", "layers"),
    "calodream": ("energies", "shape"),
    "supercalo": ("energies", "coarse", "upsample"),
    "caloclouds": ("shower", "latent", "points", "distillation"),
    "quilt": ("scores",),
    "quilt/points": ("scores",),
}


def _alone(name: str) -> dict[str, Any]:
    """Settings by which every batch is one shower, and the sample is gone through once."""
    recipe = {"batch_size": 1, "epochs": 1, "validation": 0.2}
    if name == "l2lflows":
        recipe["batch_size"] = 4  # its stages are many, and all see layers that may be empty
    return {f"{stage}.recipe.{key}": recipe[key] for stage in STAGES[name] for key in recipe}
