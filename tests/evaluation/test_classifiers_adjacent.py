"""Classifiers of a few adjacent layers: they see what is in their layers, and nothing else."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import (
    ADJACENT,
    PROTOCOLS,
    SmallSampleWarning,
    adjacent_layer_auc,
    classify,
)
from caloforge.evaluation.classifiers.adjacent import take_layers
from caloforge.showers import VoxelShowers

SMALL = ADJACENT["small-adjacent-layers"]


def with_strange_layers(showers, rng, size=8):
    """Each layer that of another shower among `size` of similar incident energy, scaled to it."""
    order = np.argsort(showers.energy_inc)
    share = (showers.dense() / showers.energy_inc[:, None, None, None])[order]
    group = np.arange(len(showers)) // size
    for layer in range(share.shape[1]):
        share[:, layer] = share[np.argsort(group + rng.random(len(showers))), layer]
    incident = showers.energy_inc[order]
    return VoxelShowers.from_dense(
        incident, share * incident[:, None, None, None], showers.geometry
    )


def test_layers_of_other_showers_are_seen_by_who_sees_two_of_them(bundled, rng):
    """A layer on its own is one that Geant4 made: only what joins it to the next is wrong."""
    showers = bundled.above(bundled.geometry.threshold)
    front = take_layers(showers, 0, 5)
    strange = with_strange_layers(front[1500:], rng)
    found = adjacent_layer_auc(front[:1500], strange, SMALL, first=[1], seed=1)
    one, two, three = found.auc[:, 0]
    assert one == pytest.approx(0.5, abs=0.06)  # a spread is 0.025
    assert two > 0.57
    assert three > 0.6


def test_a_layer_at_fault_is_seen_by_those_who_begin_there_or_reach_it(slab):
    """In the last layers those before are taken, so that three layers of four reach layer 1."""
    others = slab[200:]
    at_fault = slab.geometry.voxel_layer[others.index] == 1
    energy = np.where(at_fault, 3 * others.energy, others.energy)
    wrong = dataclasses.replace(others, energy=energy)
    found = adjacent_layer_auc(slab[:200], wrong, SMALL, first=[1, 3], numbers=[1, 3], seed=0)
    (begins, beyond), (_, reached) = found.auc
    assert found.first.tolist() == [1, 3]
    assert begins > 0.9
    assert beyond < 0.7
    assert reached > 0.9


def test_layers_taken_out_are_those_of_the_shower(bundled):
    showers = bundled[:30]
    found = take_layers(showers, 9, 12)
    np.testing.assert_array_equal(found.dense(), showers.dense()[:, 9:12])
    assert found.geometry.z == showers.geometry.z[9:12]
    assert found.geometry.layer_ids == (9, 10, 11)


def test_the_published_classifier_sees_what_it_sees_of_whole_showers(slab):
    """Of all layers at once, the list of voxels is SuperCalo's own."""
    quick = dataclasses.replace(
        ADJACENT["adjacent-layers"], hidden=(8,), epochs=1, precision="float32"
    )
    first, second = slab[:200], slab[200:]
    found = adjacent_layer_auc(first, second, quick, first=[0], numbers=[4], seed=3)
    expected = classify({"voxels": first}, {"voxels": second}, quick, seed=3)
    assert found.auc.tolist() == [[expected.auc]]
    assert quick.inputs == PROTOCOLS["supercalo-low"].inputs == "voxels-percent"


@pytest.fixture(scope="module")
def scores(slab):
    """The study within an evaluation, with networks too small to be sure of anything."""
    quick = dataclasses.replace(SMALL, epochs=2, runs=2, hidden=(4,))
    steps = []
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", SmallSampleWarning)
        patch.setitem(ADJACENT, SMALL.name, quick)
        found = cf.evaluate(
            slab[:200], {"more": slab[200:]}, metrics=[SMALL.name], progress=steps.append
        )
    return found, steps


def test_the_study_stands_among_the_scores_layer_by_layer(scores):
    found, _ = scores
    assert [value.observable for value in found.values] == ["auc_1", "auc_2", "auc_3"]
    for value in found.values:
        assert len(value.layers) == len(value.floor_layers) == len(value.layer_errors) == 4
        assert value.value == pytest.approx(np.mean(value.layers))
        assert not value.comparable
    assert "AUC of two adjacent layers" in found.to_markdown()


def test_where_windows_are_the_same_the_auc_is_the_same(scores):
    """Three of four layers: those that begin with layers 1, 2 and 3 are all layers 1 to 3."""
    three = scores[0][SMALL.name, "auc_3", "more"]
    assert three.layers[1] == three.layers[2] == three.layers[3]


def test_progress_counts_the_epochs_of_all_networks(scores):
    done = [step.done for step in scores[1]]
    assert done == sorted(done)
    # Four windows of one layer, three of two, two of three; two epochs each.
    assert scores[1][-1].task.endswith("run 4 of 4, epoch 18 of 18")


def test_what_cannot_be_asked_is_refused(slab):
    ask = {"reference": slab, "candidate": slab, "seed": 0}
    with pytest.raises(ValueError, match=r"first must be layers of 0 … 3, got \[4\]"):
        adjacent_layer_auc(**ask, first=[4])
    with pytest.raises(ValueError, match=r"lie in 1 … 4, got \[1, 5\]"):
        adjacent_layer_auc(**ask, numbers=[1, 5])
    with pytest.raises(
        ValueError, match=r"supercalo-high takes features-226.*use inputs among vox"
    ):
        adjacent_layer_auc(**ask, protocol=PROTOCOLS["supercalo-high"])
