"""The classifier test sees what is there and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import caloforge as cf
from caloforge.evaluation import Sample
from caloforge.evaluation.classifier import SHOWER, HighLevelClassifier, classify, score
from caloforge.evaluation.sample import spectrum_edges


@pytest.fixture(scope="module")
def electrons(shared_data):
    return cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_train.h5")[:1600]


def scores_of(first, second):
    """Mean over three networks."""
    threshold = first.geometry.threshold
    one, two = (
        Sample.of(
            showers,
            threshold=threshold,
            edges=spectrum_edges(threshold, 1e4),
            event_energies=np.array([1e4]),
        )
        for showers in (first, second)
    )
    metric = HighLevelClassifier(one, threshold)
    runs = [metric.compare(metric.columns(one), metric.columns(two), seed) for seed in range(3)]
    return {name: np.mean([run[name] for run in runs]) for name in runs[0]}


def test_separated_outputs_score_1_and_1():
    labels = np.repeat([0, 1], 500)
    found = score(labels, labels, labels, labels)
    assert found["auc"] == 1
    assert found["jsd"] == pytest.approx(1, abs=0.01)


def test_outputs_without_knowledge_score_one_half_and_0():
    labels = np.tile([0, 1], 500)
    found = score(np.ones(1000), labels, np.ones(1000), labels)
    assert found == pytest.approx({"auc": 0.5, "jsd": 0})


def test_the_jsd_of_known_probabilities_is_one_minus_their_entropy():
    # Outputs 0 and 1, right in three of four cases: calibrated to 1/4 and 3/4.
    output, labels = np.repeat([0, 1], 400), np.tile([0, 0, 0, 1], 200)
    labels[400:] = 1 - labels[400:]
    found = score(output, labels, output, labels)
    entropy = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert found["jsd"] == pytest.approx(1 - entropy)
    assert found["auc"] == pytest.approx(0.75)


def test_calibration_turns_wrong_sided_outputs_into_no_knowledge():
    labels = np.tile([0, 1], 500)
    assert score(-labels, labels, -labels, labels)["auc"] == pytest.approx(0.5)


def test_the_auc_of_shifted_gaussians_is_the_known_one(rng):
    # AUC = Phi(d / sqrt 2) of two Gaussians d apart: 0.760 for d = 1
    x = rng.normal(size=(2, 4000, 1))
    assert classify(x[0], x[1] + 1, seed=1)["auc"] == pytest.approx(0.760, abs=0.03)


def test_showers_of_one_distribution_cannot_be_told_apart(electrons):
    found = scores_of(electrons[:800], electrons[800:])
    assert found["auc"] == pytest.approx(0.5, abs=0.06)
    assert found["auc_layers"] == pytest.approx(0.5, abs=0.06)
    assert abs(found["jsd"]) < 0.1


def test_a_third_more_energy_is_seen(electrons):
    other = electrons[800:]
    found = scores_of(electrons[:800], dataclasses.replace(other, energy=1.3 * other.energy))
    assert found["auc"] > 0.97
    assert found["auc_layers"] > 0.9
    assert found["jsd"] > 0.7


def test_one_wrong_layer_is_seen(electrons):
    other = electrons[800:]
    in_layer = electrons.geometry.voxel_layer[other.index] == 8
    energy = np.where(in_layer, 0.5 * other.energy, other.energy)
    found = scores_of(electrons[:800], dataclasses.replace(other, energy=energy))
    assert found["auc_layers"] > 0.7


def test_a_seed_gives_one_score_and_leaves_torch_alone(rng):
    x = rng.normal(size=(2, 100, 3))
    before = torch.get_rng_state()
    one, same, other = (classify(x[0], x[1], seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert one == same
    assert one != other


def test_inputs_of_empty_showers_and_constant_inputs_are_no_obstacle(rng):
    x = rng.normal(size=(2, 100, 3))
    x[0, :5, 1] = np.nan
    x[:, :, 2] = 7
    assert 0 <= classify(x[0], x[1], SHOWER, seed=0)["auc"] <= 1


def test_too_few_showers_are_refused(rng):
    x = rng.normal(size=(2, 9, 3))
    with pytest.raises(ValueError, match="at least 10 showers"):
        classify(x[0], x[1], seed=0)
