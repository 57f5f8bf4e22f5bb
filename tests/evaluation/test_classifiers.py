"""The classifier test sees what is there and nothing else, by every protocol."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.nn import functional

import caloforge as cf
from caloforge.evaluation import Sample
from caloforge.evaluation.classifiers import (
    PROTOCOLS,
    ClassifierTest,
    classifier_metric,
    classifier_weights,
    classify,
    find_protocol,
    take_columns,
)
from caloforge.evaluation.classifiers.inputs import Table
from caloforge.evaluation.classifiers.training import Split, split_showers, train

# The CaloChallenge's network on a few inputs, narrow and quick.
NARROW = dataclasses.replace(
    PROTOCOLS["calochallenge-high"], hidden=(32, 32), learning_rate=3e-3, batch_size=250, epochs=8
)


def quick(name):
    """A protocol with a narrow network, one epoch and few showers a batch."""
    protocol = PROTOCOLS[name]
    return dataclasses.replace(
        protocol, hidden=tuple(8 for _ in protocol.hidden), epochs=1, batch_size=16
    )


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_trains_and_scores_the_same_from_the_same_seed(name, slab):
    protocol = quick(name)
    columns = [take_columns(Sample.of(s), protocol.inputs) for s in (slab[:30], slab[30:60])]
    one, same = (classify(*columns, protocol, seed=1) for _ in range(2))
    assert 0 <= one.auc <= 1
    assert one.jsd <= 1
    n_evaluated = 30 - protocol.cuts(30)[1]
    split = split_showers(30, 30, protocol, 1).evaluation
    for side in ("reference", "candidate"):
        outputs = getattr(one.outputs, side)
        assert outputs.shape == (n_evaluated,)
        assert ((outputs > 0) & (outputs < 1)).all()
        np.testing.assert_array_equal(outputs, getattr(same.outputs, side))
    rows = np.concatenate([one.outputs.reference_rows, 30 + one.outputs.candidate_rows])
    np.testing.assert_array_equal(rows, split)
    assert (one.auc, one.jsd) == (same.auc, same.jsd)


def test_another_seed_splits_and_trains_anew(rng):
    x = rng.normal(size=(2, 500, 1))
    one, other = (classify({"inputs": x[0]}, {"inputs": x[1]}, NARROW, seed=s) for s in (1, 2))
    assert one.jsd != other.jsd


def test_the_convolutions_take_cartesian_cells_too(shared_data):
    photons = cf.read(shared_data / "photons-10-100GeV_ild-30_test.h5")
    columns = [
        take_columns(Sample.of(part), "voxels-MeV") for part in (photons[:12], photons[12:24])
    ]
    protocol = quick("l2lflows-low")
    assert 0 <= classify(*columns, protocol, seed=0).auc <= 1


@pytest.mark.parametrize("distance", [1.0, 2.0])
def test_the_auc_of_shifted_gaussians_is_the_optimal_one(distance, rng):
    # A likelihood ratio separates two Gaussians d apart with AUC = Phi(d / sqrt 2).
    x = rng.normal(size=(2, 5000, 2))
    x[1, :, 0] += distance
    found = classify({"inputs": x[0]}, {"inputs": x[1]}, NARROW, seed=1)
    assert found.auc == pytest.approx(norm.cdf(distance / math.sqrt(2)), abs=0.025)


def test_weights_turn_the_model_into_the_data(rng):
    # Data N(0, 1), model N(1, 1): w(x) = exp(1/2 - x), with mean 1 over the model, and
    # log w of the data ~ N(1/2, 1).
    x = rng.normal(size=(2, 20_000, 1))
    x[1] += 1
    outputs = classify({"inputs": x[0]}, {"inputs": x[1]}, NARROW, seed=0).outputs
    assert classifier_weights(outputs.candidate).mean() == pytest.approx(1, abs=0.06)
    of_data = np.log(classifier_weights(outputs.reference))
    expected = norm(0.5, 1).ppf([0.16, 0.5, 0.84])
    np.testing.assert_allclose(np.quantile(of_data, [0.16, 0.5, 0.84]), expected, atol=0.12)


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("calochallenge-low", 121_000, (80_000, 20_000, 21_000)),
        ("calochallenge-high", 120_800, (80_000, 20_000, 20_800)),
        ("calochallenge-resnet", 100_000, (60_000, 20_000, 20_000)),
        ("calochallenge-low", 500, (300, 100, 100)),
        ("supercalo-low", 100_000, (60_000, 20_000, 20_000)),
        ("calodream-high", 100_000, (70_000, 10_000, 20_000)),
        ("calodream-ratios", 100_000, (70_000, 10_000, 20_000)),
        ("l2lflows-low", 100_000, (60_000, 20_000, 20_000)),
        ("l2lflows-high", 100_000, (80_000, 0, 20_000)),
        ("caloclouds-high", 500_000, (400_000, 50_000, 50_000)),
    ],
)
def test_samples_are_split_as_published(name, size, expected):
    split = split_showers(size, size, PROTOCOLS[name], seed=0)
    parts = (split.training, split.selection, split.evaluation)
    for part, n_showers in zip(parts, expected, strict=True):
        assert np.count_nonzero(part < size) == np.count_nonzero(part >= size) == n_showers
    assert (np.bincount(np.concatenate(parts), minlength=2 * size) == 1).all()


def test_only_the_classifiers_for_weights_drop_out():
    """CaloDREAM, table 3: 20 % for figure 10, none for scores, all else alike."""
    for inputs in ("low", "high"):
        plain, weights = PROTOCOLS[f"calodream-{inputs}"], PROTOCOLS[f"calodream-weights-{inputs}"]
        assert (plain.dropout, weights.dropout) == (0, 0.2)
        assert dataclasses.replace(weights, dropout=0, name=plain.name) == plain


class Looking(torch.nn.Linear):
    """A network of one weight that counts how often it is read outside of training."""

    looks = 0

    def forward(self, x):
        self.looks += not self.training
        return super().forward(x)


def toy(rng, protocol, progress=None):
    """Train the network of one weight on 100 numbers of two overlapping distributions."""
    labels = torch.arange(100, dtype=torch.float64) % 2
    x = torch.as_tensor(rng.normal(size=(100, 1))) + labels[:, None]
    split = Split(np.arange(50), np.arange(50, 60), np.arange(60, 100))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = Looking(1, 1).double()
        train(network, Table(x), labels, split, protocol, progress and progress(network, x, labels))
    return network, x, labels


def selection_loss(network, x, labels):
    with torch.no_grad():
        logit = torch.nn.Linear.forward(network, x[50:60]).squeeze(-1)
    return float(functional.binary_cross_entropy_with_logits(logit, labels[50:60]))


@pytest.mark.parametrize("selection", ["loss", "last"])
def test_the_weights_of_the_best_or_of_the_last_epoch_are_kept(rng, selection):
    losses = []

    def progress(*toys):
        return lambda epoch, epochs: losses.append(selection_loss(*toys))

    # Steps as long as the weights, so that the loss jumps up and down.
    protocol = dataclasses.replace(
        NARROW, selection=selection, learning_rate=2.0, batch_size=10, epochs=6
    )
    found = selection_loss(*toy(rng, protocol, progress))
    assert len(losses) == 6
    assert min(losses) < losses[-1]
    assert found == pytest.approx(min(losses) if selection == "loss" else losses[-1])


@pytest.mark.parametrize(("check_every", "looks"), [(0, 2), (2, 6)])
def test_long_epochs_are_looked_at_within(rng, check_every, looks):
    protocol = dataclasses.replace(
        NARROW, selection="loss", batch_size=10, epochs=2, check_every=check_every
    )
    network, _, _ = toy(rng, protocol)  # five steps an epoch
    assert network.looks == looks


def test_training_stops_when_every_shower_is_distinguished(rng):
    x = rng.normal(size=(2, 200, 1))
    epochs = []
    found = classify(
        {"inputs": x[0] + 20},
        {"inputs": x[1] - 20},
        dataclasses.replace(NARROW, learning_rate=1e-2),
        seed=0,
        progress=lambda epoch, of: epochs.append((epoch, of)),
    )
    assert found.auc == 1
    assert epochs == [(i + 1, NARROW.epochs) for i in range(len(epochs))]
    assert len(epochs) < NARROW.epochs


def test_a_test_leaves_the_random_numbers_of_torch_alone(rng):
    x = rng.normal(size=(2, 40, 3))
    before = torch.get_rng_state()
    classify({"inputs": x[0]}, {"inputs": x[1]}, quick("small-layers"), seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_inputs_of_empty_showers_and_constant_inputs_are_no_obstacle(rng):
    x = rng.normal(size=(2, 100, 3))
    x[0, :5, 1] = np.nan
    x[:, :, 2] = 7
    found = classify({"inputs": x[0]}, {"inputs": x[1]}, PROTOCOLS["small-shower"], seed=0)
    assert 0 <= found.auc <= 1


@pytest.mark.parametrize(("standardise", "far"), [("reference", True), ("training", False)])
def test_inputs_are_scaled_by_the_reference_or_by_both_samples(rng, standardise, far):
    protocol = dataclasses.replace(
        NARROW,
        standardise=standardise,
        calibrated=False,
        margin=None,
        selection="last",
        learning_rate=0.0,
        epochs=1,
    )
    x = rng.normal(size=(2, 100, 1))
    untrained = classify({"inputs": x[0]}, {"inputs": x[1] + 1e5}, protocol, seed=0).outputs
    assert (abs(untrained.candidate - 0.5) > 0.49).all() == far
    assert (abs(untrained.reference - 0.5) < 0.49).all()


def test_uncalibrated_outputs_keep_their_margin(rng):
    protocol = dataclasses.replace(
        NARROW, calibrated=False, margin=0.1, selection="last", batch_size=20
    )
    x = rng.normal(size=(2, 200, 1))
    outputs = classify({"inputs": x[0] + 9}, {"inputs": x[1] - 9}, protocol, seed=0).outputs
    assert outputs.reference.max() == pytest.approx(0.9)
    assert outputs.candidate.min() == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "size", "comparable"),
    [
        ("calochallenge-low", 100_000, True),
        ("calochallenge-low", 99_999, False),
        ("l2lflows-low", 100_000, False),  # no scores were published for dataset 2
        ("small-layers", 100_000, False),
    ],
)
def test_only_published_tests_of_as_many_showers_are_comparable(name, size, comparable, bundled):
    assert bundled.geometry.name == "calochallenge-2"
    metric = classifier_metric(name, Sample.of(bundled[:20]), 0.015)
    assert metric.is_comparable(size, bundled.geometry) is comparable


def test_the_metric_of_a_protocol_has_its_name_and_its_runs(slab):
    reference = Sample.of(slab[:40])
    metric = ClassifierTest(reference, reference.threshold, quick("calochallenge-low"))
    assert (metric.name, metric.repeats, metric.is_random) == ("calochallenge-low", 10, True)
    columns = metric.columns(reference)
    rows = np.arange(40)
    parts = [{name: column[half] for name, column in columns.items()} for half in np.split(rows, 2)]
    found = metric.compare(*parts, seed=0)
    assert set(found.values) == {"auc", "jsd"}
    assert found.outputs["calochallenge-low"].candidate.shape == (4,)


def test_too_few_showers_are_refused(rng):
    x = rng.normal(size=(2, 9, 3))
    with pytest.raises(ValueError, match="at least 10 showers"):
        classify({"inputs": x[0]}, {"inputs": x[1]}, PROTOCOLS["small-shower"], seed=0)


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match=r"no classifier protocol 'alexnet'.*calochallenge-low"):
        find_protocol("alexnet")


def test_a_geometry_that_the_network_cannot_take_in_is_refused_at_once():
    geometry = cf.geometry_preset("calochallenge-1-photons")
    showers = cf.VoxelShowers([1e4] * 2, [0, 1, 2], [0, 3], [5.0, 7.0], geometry)
    with pytest.raises(ValueError, match="irregular layers"):
        classifier_metric("calochallenge-resnet", Sample.of(showers), 1.0)


def test_voxels_are_never_standardised(slab):
    columns = take_columns(Sample.of(slab[:20]), "voxels")
    protocol = dataclasses.replace(quick("calochallenge-low"), standardise="training")
    with pytest.raises(ValueError, match="standardise='none'"):
        classify(columns, columns, protocol, seed=0)
