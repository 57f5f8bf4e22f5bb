"""Classifier outputs and weights: known probabilities give known weights and bins."""

from __future__ import annotations

import numpy as np
import pytest

from caloforge.evaluation.comparison import Outputs
from caloforge.report.figures import draw_outputs
from caloforge.report.histograms import content
from caloforge.report.outputs import output_panels


def outputs_of(reference, candidate):
    """Of the first showers of each sample."""
    return Outputs(reference, candidate, np.arange(len(reference)), np.arange(len(candidate)))


def panels_of(outputs):
    names = list(dict.fromkeys(name for _, name in outputs))
    return {panel.name: panel for panel in output_panels(outputs, names)}


def test_odds_of_ten_are_a_weight_of_ten():
    generated = np.array([1 / 11] * 3 + [0.5])
    outputs = {("dnn", "mine"): outputs_of(np.array([10 / 11, 0.5]), generated)}
    pair = panels_of(outputs)["weights_dnn"].histograms["mine"]
    for histogram, lower, upper in ((pair[0], 3 / 4, 0), (pair[1], 0, 1 / 2)):
        density, _ = content(histogram)
        share = density * np.diff(np.log10(histogram.axes[0].edges))
        assert share.sum() == pytest.approx(1)
        assert share[0] == pytest.approx(lower)
        assert share[-1] == pytest.approx(upper)


def test_weights_of_a_blind_classifier_are_all_one():
    half = np.full(100, 0.5)
    generated, _ = panels_of({("dnn", "mine"): outputs_of(half, half)})["weights_dnn"].histograms[
        "mine"
    ]
    density, _ = content(generated)
    edges = generated.axes[0].edges
    (filled,) = np.flatnonzero(density)
    assert edges[filled] <= 1 + 1e-9
    assert edges[filled + 1] >= 1 - 1e-9
    assert edges[0] * edges[-1] == pytest.approx(1)


def test_no_weight_is_left_out_however_sure_the_classifier():
    sure = outputs_of(np.array([1 - 1e-6, 1.0]), np.array([1e-6, 0.0]))
    for histogram in panels_of({("dnn", "mine"): sure})["weights_dnn"].histograms["mine"]:
        share = content(histogram)[0] * np.diff(np.log10(histogram.axes[0].edges))
        assert share.sum() == pytest.approx(1)


def test_many_candidates_are_shown_a_few_at_a_time_each_in_its_colour():
    rng = np.random.default_rng(0)
    outputs = {
        ("dnn", f"c{i}"): outputs_of(rng.uniform(size=50), rng.uniform(size=50)) for i in range(8)
    }
    panels = panels_of(outputs)
    assert list(panels) == ["outputs_dnn_1", "weights_dnn_1", "outputs_dnn_2", "weights_dnn_2"]
    shown = [name for key in ("outputs_dnn_1", "outputs_dnn_2") for name in panels[key].histograms]
    assert shown == [f"c{i}" for i in range(8)]
    assert panels["weights_dnn_2"].numbers == {"c6": 6, "c7": 7}


def test_a_figure_of_outputs_names_every_candidate_and_what_is_dotted():
    outputs = {("dnn", "mine"): outputs_of(np.linspace(0, 1, 30), np.linspace(0, 1, 20))}
    axes = draw_outputs(panels_of(outputs)["outputs_dnn"]).axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["mine", "Geant4, same colour"]
