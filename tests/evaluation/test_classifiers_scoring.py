"""Calibration, AUC, JSD and weights of outputs whose scores are known."""

from __future__ import annotations

import numpy as np
import pytest

from caloforge.evaluation.classifiers import calibrate, classifier_weights, score


def test_separated_outputs_score_1_and_1():
    labels = np.repeat([0, 1], 500)
    found = score(calibrate(labels, labels, labels), labels)
    assert found["auc"] == 1
    assert found["jsd"] == pytest.approx(1, abs=1e-5)


def test_outputs_without_knowledge_score_one_half_and_0():
    labels = np.tile([0, 1], 500)
    found = score(calibrate(np.ones(1000), labels, np.ones(1000)), labels)
    assert found == pytest.approx({"auc": 0.5, "jsd": 0})


def test_the_jsd_of_known_probabilities_is_one_minus_their_entropy():
    # Outputs 0 and 1, right in three of four cases: calibrated to 1/4 and 3/4.
    output, labels = np.repeat([0, 1], 400), np.tile([0, 0, 0, 1], 200)
    labels[400:] = 1 - labels[400:]
    probability = calibrate(output, labels, output)
    np.testing.assert_allclose(probability, np.where(output == 1, 0.75, 0.25))
    entropy = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert score(probability, labels) == pytest.approx({"auc": 0.75, "jsd": 1 - entropy})


def test_calibration_turns_wrong_sided_outputs_into_no_knowledge():
    labels = np.tile([0, 1], 500)
    assert score(calibrate(-labels, labels, -labels), labels)["auc"] == pytest.approx(0.5)


@pytest.mark.parametrize(("margin", "expected"), [(1e-6, 1e-6), (1e-3, 1e-3), (None, 1 / 102)])
def test_calibrated_probabilities_keep_the_margin(margin, expected):
    labels = np.repeat([0, 1], 50)
    found = calibrate(labels, labels, [-5, 5], margin)
    np.testing.assert_allclose(found, [expected, 1 - expected])


def test_outputs_beyond_the_known_ones_are_taken_as_the_nearest():
    output, labels = np.array([0.4, 0.4, 0.6, 0.6]), np.array([0, 0, 0, 1])
    np.testing.assert_allclose(calibrate(output, labels, [0, 0.5, 1]), [1e-6, 0.25, 0.5], atol=1e-6)


def test_the_weight_is_the_ratio_of_the_densities(rng):
    # Geant4 N(1, 1), model N(0, 1): w(x) = exp(x - 1/2), C(x) = 1 / (1 + exp(1/2 - x)).
    x = rng.normal(size=200_000)
    weight = classifier_weights(1 / (1 + np.exp(0.5 - x)))
    np.testing.assert_allclose(weight, np.exp(x - 0.5))
    assert np.average(x, weights=weight) == pytest.approx(1, abs=0.02)  # the model becomes Geant4


def test_weights_stay_finite():
    found = classifier_weights([0, 0.5, 1], margin=0.01)
    np.testing.assert_allclose(found, [0.01 / 0.99, 1, 99])
