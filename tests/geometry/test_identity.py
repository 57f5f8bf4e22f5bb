"""A detector is known by its layers, not by its name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from caloforge.evaluation import DEFAULT_METRICS, Sample, default_metrics
from caloforge.evaluation.leaderboard import DATASETS, published_table
from caloforge.evaluation.metrics.separation import Separation
from caloforge.evaluation.observables import is_ild
from caloforge.evaluation.scores import Score
from caloforge.geometry import (
    Coarsening,
    Geometry,
    geometry_preset,
    geometry_presets,
    ild_ecal,
    impact_of,
    preset_of,
)
from caloforge.showers import VoxelShowers


def deeper(geometry: Geometry) -> Geometry:
    """The same bins behind twice as much material."""
    return dataclasses.replace(geometry, z=tuple(2 * depth for depth in geometry.z))


@pytest.mark.parametrize("name", geometry_presets())
def test_a_preset_is_known_under_any_name_and_nothing_else_under_its_own(name: str) -> None:
    known = geometry_preset(name)
    assert preset_of(dataclasses.replace(known, name="mine", threshold=0.0)) == name
    assert preset_of(deeper(known)) is None


@pytest.mark.parametrize("name", ["calochallenge-2", "calochallenge-3"])
def test_coarse_voxels_are_not_the_official_ones_whatever_their_name(
    name: str, bundled: VoxelShowers
) -> None:
    coarse = Coarsening(geometry_preset(name), (5, 2, 1)).geometry
    for geometry in (coarse, dataclasses.replace(coarse, name=name)):
        assert preset_of(geometry) is None
        score = Score("separation", "voxel", "mine", 0.1, 0.01, 0.1, 0.01, 100_000)
        assert published_table(geometry, [score], ["mine"]) is None
        assert not is_ild(geometry)


def test_only_official_voxels_have_the_official_bins_and_published_values(
    bundled: VoxelShowers,
) -> None:
    showers = bundled[:40]
    mine = dataclasses.replace(showers, geometry=dataclasses.replace(showers.geometry, name="mine"))
    other = dataclasses.replace(showers, geometry=deeper(showers.geometry))
    for known, is_official in ((mine, True), (other, False)):
        sample = Sample.of(known)
        metric = Separation(sample, sample.threshold)
        ends = metric.edges["E_tot"][0][[0, -1]]
        assert np.allclose(ends, [0.5, 1.5]) is is_official
        assert metric.is_comparable(100_000, known.geometry) is is_official
        assert not metric.is_comparable(99_999, known.geometry)


def test_layers_of_the_ild_are_known_by_their_depths() -> None:
    cells = geometry_preset("ild-30")
    for same in (
        *(geometry_preset(name) for name in ("ild-core", "ild-ecal")),
        ild_ecal((37.5, -36.1)),
        dataclasses.replace(cells, name="mine"),
        Coarsening(cells, (1, 2, 2)).geometry,
    ):
        assert is_ild(same)
        assert "caloclouds" in default_metrics(same)
    for another in (deeper(cells), Coarsening(cells, (5, 2, 2)).geometry):
        assert not is_ild(another)
        assert default_metrics(another) == DEFAULT_METRICS


def test_the_impact_point_is_found_in_the_cells() -> None:
    there = ild_ecal((37.5, -36.1))
    assert impact_of(dataclasses.replace(there, name="mine")) == (37.5, -36.1)
    assert impact_of(ild_ecal()) == (0.0, 40.0)
    assert impact_of(geometry_preset("ild-30")) is None
    moved = dataclasses.replace(there, layers=(*there.layers[1:], there.layers[0]))
    assert impact_of(moved) is None


def test_every_published_table_is_of_a_preset() -> None:
    assert set(DATASETS) <= set(geometry_presets())
