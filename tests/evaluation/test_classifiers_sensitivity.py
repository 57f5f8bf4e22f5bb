"""The CPU-sized classifier tests on real showers: nothing where nothing is, and each its own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import Sample
from caloforge.evaluation.classifiers import classifier_metric

SMALL = ("small-shower", "small-layers", "small-voxels", "small-ratios")


@pytest.fixture(scope="module")
def electrons(shared_data):
    return cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_train.h5")[:1600]


@pytest.fixture(scope="module")
def reference(electrons):
    return Sample.of(electrons[:800])


@pytest.fixture(scope="module")
def others(electrons):
    return electrons[800:]


@pytest.fixture(scope="module")
def auc_of(reference):
    """Mean over three networks of the AUC of showers against the reference."""

    def auc(showers, *names):
        candidate = Sample.of(showers, edges=reference.spectrum.edges)
        found = []
        for name in names:
            metric = classifier_metric(name, reference, reference.threshold)
            columns = [metric.columns(sample) for sample in (reference, candidate)]
            runs = [metric.compare(*columns, seed).values["auc"] for seed in range(3)]
            found.append(np.mean(runs))
        return found

    return auc


def test_showers_of_one_distribution_are_indistinguishable(others, auc_of):
    assert auc_of(others, *SMALL) == pytest.approx([0.5] * 4, abs=0.06)


def test_a_third_more_energy_is_seen_by_all(others, auc_of):
    brighter = dataclasses.replace(others, energy=np.float32(1.3) * others.energy)
    assert min(auc_of(brighter, *SMALL)) > 0.9


def test_one_wrong_layer_is_seen_by_the_features_of_all_layers(others, auc_of):
    in_layer = others.geometry.voxel_layer[others.index] == 8
    energy = np.where(in_layer, np.float32(0.5) * others.energy, others.energy)
    (found,) = auc_of(dataclasses.replace(others, energy=energy), "small-layers")
    assert found > 0.7


def test_layers_turned_on_their_own_are_seen_by_the_correlations_of_voxels(others, auc_of, rng):
    turn = rng.integers(16, size=(800, 45, 1)) + np.arange(16)
    turned = np.take_along_axis(others.dense(), turn[..., None] % 16, axis=2)
    showers = cf.VoxelShowers.from_dense(others.energy_inc, turned, others.geometry)
    voxels, layers = auc_of(showers, "small-voxels", "small-layers")
    assert voxels > 0.65
    assert layers == pytest.approx(0.5, abs=0.06)
