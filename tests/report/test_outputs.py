"""Classifier outputs and weights: known probabilities give known weights and bins."""

from __future__ import annotations

import numpy as np
import pytest

from caloforge.evaluation.comparison import Outputs
from caloforge.report.outputs import output_panels
from caloforge.report.studies import draw_outputs


def outputs_of(reference, candidate):
    """Of the first showers of each sample."""
    return Outputs(reference, candidate, np.arange(len(reference)), np.arange(len(candidate)))


def panels_of(outputs):
    names = list(dict.fromkeys(name for _, name in outputs))
    return {panel.name: panel for panel in output_panels(outputs, names)}


def test_odds_of_ten_are_a_weight_of_ten():
    generated = np.array([1 / 11] * 3 + [0.5])
    outputs = {("dnn", "mine"): outputs_of(np.array([10 / 11, 0.5]), generated)}
    below, above = panels_of(outputs)["weights_dnn"].shares["mine"]
    assert below.x[[0, -1]] == pytest.approx([1 / 10, 10])  # the range ends where the weights do
    assert (below.share[0], below.share[-1]) == (3 / 4, 1)
    assert (above.share[0], above.share[-1]) == (1, 1 / 2)
    np.testing.assert_allclose(below.error, np.sqrt(below.share * (1 - below.share) / 4))


def test_few_different_outputs_make_steps_and_no_comb():
    """What isotonic calibration gives: three numbers, each of many showers."""
    few = np.repeat([0.2, 0.5, 0.8], 40)
    outputs = {("dnn", "mine"): outputs_of(few, few)}
    below, above = panels_of(outputs)["outputs_dnn"].shares["mine"]
    assert (np.diff(below.share) >= 0).all()
    assert (np.diff(above.share) <= 0).all()
    assert sorted(set(below.share.round(9))) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    x = below.x
    assert below.share[(x > 0.21) & (x < 0.49)] == pytest.approx(1 / 3)
    assert above.share[(x > 0.21) & (x < 0.49)] == pytest.approx(2 / 3)


def test_weights_of_a_blind_classifier_are_all_one():
    half = np.full(100, 0.5)
    panel = panels_of({("dnn", "mine"): outputs_of(half, half)})["weights_dnn"]
    below, above = panel.shares["mine"]
    x = below.x
    assert not below.share[x < 0.99].any()
    assert not above.share[x > 1.01].any()
    assert (below.share[x > 1.01] == 1).all()
    assert (above.share[x < 0.99] == 1).all()
    assert x[0] * x[-1] == pytest.approx(1)


def test_no_weight_is_left_out_however_sure_the_classifier():
    sure = outputs_of(np.array([1 - 1e-6, 1.0]), np.array([1e-6, 0.0]))
    below, above = panels_of({("dnn", "mine"): sure})["weights_dnn"].shares["mine"]
    assert below.share[-1] == above.share[0] == 1
    assert below.share[0] > 0
    assert above.share[-1] > 0


def test_many_candidates_are_shown_a_few_at_a_time_each_in_its_colour():
    rng = np.random.default_rng(0)
    outputs = {
        ("dnn", f"c{i}"): outputs_of(rng.uniform(size=50), rng.uniform(size=50)) for i in range(8)
    }
    panels = panels_of(outputs)
    assert list(panels) == ["outputs_dnn_1", "weights_dnn_1", "outputs_dnn_2", "weights_dnn_2"]
    shown = [name for key in ("outputs_dnn_1", "outputs_dnn_2") for name in panels[key].shares]
    assert shown == [f"c{i}" for i in range(8)]
    assert panels["weights_dnn_2"].numbers == {"c6": 6, "c7": 7}


def test_a_figure_of_outputs_names_every_candidate_and_what_is_dotted():
    outputs = {("dnn", "mine"): outputs_of(np.linspace(0, 1, 30), np.linspace(0, 1, 20))}
    (legend,) = draw_outputs(panels_of(outputs)["outputs_dnn"]).legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["mine", "Geant4, same colour"]
