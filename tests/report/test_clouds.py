"""The page of point clouds in the real cells has CaloClouds' figures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import point_features
from caloforge.geometry import ild_ecal
from caloforge.report.command import command_of
from caloforge.report.histograms import content, count_edges
from caloforge.report.page import _summary
from caloforge.report.panels import sections
from caloforge.report.tables import groups

pytestmark = [
    pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning"),
    pytest.mark.filterwarnings("ignore::caloforge.evaluation.SharedShowersWarning"),
]


@pytest.fixture(scope="module")
def scores(bundled_points):
    """Of clouds around 50 GeV, so that this energy has its panels."""
    near = np.argsort(np.abs(bundled_points.energy_inc - 50e3))[:40]
    points = bundled_points[near]
    return cf.evaluate(points, {"fake": points[::-1]}, metrics=["caloclouds", "points"])


@pytest.fixture(scope="module")
def found(scores):
    """Panels by name, of each section by its title."""
    samples = {"Geant4": scores.reference, **scores.candidates}
    return {s.title: {panel.name: panel for panel in s.panels} for s in sections(samples)}


def test_clouds_have_a_section_of_their_own_and_cells_those_of_the_paper(found):
    assert {"Points", "Hits", "Profiles", "Voxels", "Centre"} <= set(found)
    assert "Sparsity" not in found
    assert {"cog_x", "cog_y", "cog_z"} <= set(found["Centre"])
    assert {"profile_longitudinal", "profile_r"} <= set(found["Profiles"])


def test_points_of_layers_are_those_of_the_clouds(found, scores):
    value, _ = content(found["Points"]["points_layer_counts"].histograms["fake"])
    source = scores.candidates["fake"].source
    expected = point_features(source.points)["layer_counts"].mean(axis=0)
    np.testing.assert_allclose(value, expected)
    hits, _ = content(found["Hits"]["hits_by_layer"].histograms["Geant4"])
    cells = scores.reference.voxels()
    layers = np.bincount(cells.geometry.voxel_layer[cells.index], minlength=30) / len(cells)
    np.testing.assert_allclose(hits, layers)


def test_the_spectrum_is_grey_below_half_a_mip_and_shows_what_is_there(found, scores):
    panel = found["Voxels"]["voxel_spectrum"]
    assert panel.cut == pytest.approx(0.1)
    histogram = panel.histograms["Geant4"]
    value, _ = content(histogram)
    grey = histogram.axes[0].edges[1:] < 0.1 * (1 + 1e-9)
    energy = scores.reference.source[:].energy
    lowest = histogram.axes[0].edges[0]
    soft = np.count_nonzero((energy >= lowest) & (energy < np.float32(0.1)))
    assert value[grey].sum() == pytest.approx(soft / 40)
    assert soft > 100


def test_whole_numbers_lie_in_the_middle_of_their_bins():
    edges = count_edges(np.arange(12.0, 20.0), bins=30)
    np.testing.assert_allclose(edges, np.arange(11.5, 20.0))
    wide = count_edges(np.arange(1000.0), bins=30)
    assert len(wide) <= 31
    assert np.ptp(np.diff(wide)) == 0
    assert np.diff(wide)[0] == round(np.diff(wide)[0])


def test_the_page_says_what_was_lost_and_has_tables_of_cells_and_of_points(scores):
    lost = scores.reference.clouds.features["lost"].mean()
    assert f"projected from points, {lost:.2%} of the energy lost" in _summary(scores)
    tables = {group.title: group.rows for group in groups(scores)}
    assert "Classifiers" not in tables
    assert len(tables["Wasserstein distance of the points"]) == 10
    assert len(tables["Wasserstein distance, CaloClouds' observables"]) >= 8


@pytest.mark.parametrize(
    ("cells", "options"),
    [
        (cf.geometry_preset("ild-30"), "--geometry ild-30 "),
        (ild_ecal((37.5, -36.1)), "--impact 37.5,-36.1 "),
        (dataclasses.replace(ild_ecal((37.5, -36.1)), name="mine"), "--impact 37.5,-36.1 "),
    ],
)
def test_the_command_of_the_page_names_the_cells(scores, cells, options):
    origin = {"file": "points.h5", "projected_into": cells.name}
    provenance = {**scores.provenance, "reference": origin, "candidates": {"fake": origin}}
    source = dataclasses.replace(scores.reference.source, geometry=cells)
    reference = dataclasses.replace(scores.reference, source=source)
    found = dataclasses.replace(scores, provenance=provenance, reference=reference)
    assert options in command_of(found)
