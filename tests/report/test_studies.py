"""Boxes of rings, correlations of adjacent layers, and classifiers that see a few of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from caloforge.evaluation import Score
from caloforge.report.histograms import content
from caloforge.report.interlayer import adjacent_panels, rho_panels
from caloforge.report.rings import ring_panels
from caloforge.report.studies import draw_adjacent, draw_rings

NAN = float("nan")


@pytest.fixture(scope="module")
def panels(samples):
    return list(ring_panels(samples))


def test_the_boxes_drawn_are_the_quantiles_of_the_layer(samples, panels):
    panel = panels[1]
    layer = int(panel.name.removeprefix("rings_"))
    energies = samples["Geant4"].rings.quantiles()[layer]
    whiskers, boxes, *others = draw_rings(panel).axes[0].containers
    assert [bar.get_y() for bar in whiskers] == pytest.approx(energies[:, 0].tolist())
    assert [bar.get_height() for bar in boxes] == pytest.approx(
        (energies[:, 3] - energies[:, 1]).tolist()
    )
    assert len(others) == len(samples) - 1
    for bars, sample in zip(others, list(samples.values())[1:], strict=True):
        low, high = sample.rings.quantiles()[layer, :, [1, 3]]
        assert [bar.get_y() for bar in bars] == pytest.approx(low.tolist())
        assert [bar.get_y() + bar.get_height() for bar in bars] == pytest.approx(high.tolist())


def test_boxes_of_candidates_stand_side_by_side_within_their_ring(panels):
    _, _, *others = draw_rings(panels[0]).axes[0].containers
    for ring, bars in enumerate(zip(*others, strict=True)):
        borders = [x for bar in bars for x in (bar.get_x(), bar.get_x() + bar.get_width())]
        assert borders == sorted(borders)
        assert ring < borders[0] < borders[-1] < ring + 1


def test_the_layers_shown_begin_at_the_front_and_fall_behind_the_maximum(samples, panels):
    layers = [int(panel.name.removeprefix("rings_")) for panel in panels]
    mean = samples["Geant4"].features["E_layer"].mean(axis=0)
    assert len(layers) == 4
    assert layers[0] == 0
    assert mean[: layers[-1] + 1].sum() > 0.98 * mean.sum()


def test_twenty_candidates_are_shown_six_at_a_time_in_their_colours(twenty):
    samples = {"Geant4": twenty.reference, **twenty.candidates}
    panels = [panel for panel in ring_panels(samples) if panel.name.startswith("rings_00")]
    assert [panel.name for panel in panels] == [f"rings_00_{number}" for number in (1, 2, 3, 4)]
    shown = [name for panel in panels for name in panel.numbers]
    assert shown == list(twenty.candidates)
    assert panels[3].numbers == {"candidate 18": 18, "candidate 19": 19}
    assert all(next(iter(panel.boxes)) == "Geant4" for panel in panels)


def test_the_correlations_of_adjacent_layers_are_shares_of_all_pairs(samples):
    for panel in rho_panels(samples):
        for histogram in panel.histograms.values():
            assert content(histogram)[0].sum() == pytest.approx(1)


def test_more_energy_in_all_voxels_leaves_the_correlations_as_they_are(samples):
    """The candidate with a tenth more energy, but for voxels that it lifts above the threshold."""
    for panel in rho_panels(samples):
        reference, _, more = (content(histogram) for histogram in panel.histograms.values())
        error = np.hypot(reference[1], more[1])
        known = reference[1] < 0.2 * reference[0]
        assert known.any()
        assert np.abs((more[0] - reference[0]) / error)[known].max() < 5


def test_samples_whose_layers_differ_have_no_such_panels(samples):
    irregular = {name: dataclasses.replace(sample, rho={}) for name, sample in samples.items()}
    assert list(rho_panels(irregular)) == []


@pytest.fixture
def studied(scores):
    """AUC of one and of two layers at both ends of four."""
    common = {
        "metric": "small-adjacent-layers",
        "candidate": "more Geant4",
        "value": 0.6,
        "error": 0.01,
        "floor": 0.5,
        "floor_error": 0.01,
        "n_showers": 100,
        "floor_layers": (0.5, NAN, NAN, 0.51),
        "layer_errors": (0.01, NAN, NAN, 0.02),
        "floor_layer_errors": (0.01, NAN, NAN, 0.02),
    }
    one = Score(**common, observable="auc_1", layers=(0.55, NAN, NAN, 0.6))
    two = Score(**common, observable="auc_2", layers=(0.65, NAN, NAN, 0.7))
    return dataclasses.replace(scores, values=(*scores.values, one, two))


def test_a_study_of_adjacent_layers_is_drawn_where_it_was_taken(studied):
    (panel,) = adjacent_panels(studied)
    one, two = panel.lines
    assert panel.name == "small_adjacent_layers_01"
    assert (one.label, two.label) == ("one layer", "two adjacent layers")
    assert one.first.tolist() == two.first.tolist() == [0, 3]
    assert two.auc.tolist() == [0.65, 0.7]
    assert one.floor_error.tolist() == [0.01, 0.02]
    axes = draw_adjacent(panel).axes[0]
    drawn = [np.asarray(line.get_ydata()).tolist() for line in axes.lines]
    assert [0.55, 0.6] in drawn
    assert [0.65, 0.7] in drawn
    assert drawn.count([0.5, 0.51]) == 2
    assert axes.get_ylim()[1] > 0.7


def test_a_page_without_the_study_has_no_panel_of_it(scores):
    assert list(adjacent_panels(scores)) == []
