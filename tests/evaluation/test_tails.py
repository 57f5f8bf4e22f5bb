"""Tails of the weights: the right showers, of the right classifier, set apart by what differs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import (
    Outputs,
    Sample,
    evaluate,
    find_tails,
    shower_quantities,
    shower_weights,
)

N = 200


@pytest.fixture(scope="module")
def electrons(shared_data):
    return cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_test.h5")[: 3 * N]


@pytest.fixture(scope="module")
def halves(electrons):
    reference = Sample.of(electrons[:N])
    return reference, Sample.of(electrons[N : 2 * N], edges=reference.spectrum.edges)


def outputs_of(reference, candidate):
    rows = np.arange(len(reference)), np.arange(len(candidate))
    return Outputs(np.asarray(reference), np.asarray(candidate), *rows)


def ranked(*values):
    """A classifier that takes showers of a large value for Geant4's, in order."""
    ranks = [of_sample.argsort().argsort() for of_sample in values]
    return outputs_of(*(0.5 + 0.4 * (2 * rank / N - 1) for rank in ranks))


def by_depth(halves):
    return ranked(*(sample.moments["z_mean"] for sample in halves))


def test_the_weight_of_a_shower_is_the_geometric_mean_over_the_trainings():
    odds = np.array([2.0, 8.0, 1 / 4, 3.0])
    rows, weights = shower_weights(odds / (1 + odds), [7, 7, 2, 5])
    assert rows.tolist() == [2, 5, 7]
    np.testing.assert_allclose(weights, [1 / 4, 3, 4])


def test_tails_are_the_generated_showers_of_smallest_and_geant4_showers_of_largest_weight(halves):
    tails = find_tails({"dnn": by_depth(halves)}, *halves)
    depths = [sample.moments["z_mean"] for sample in halves]
    assert tails.reference.rows.tolist() == np.argsort(-depths[0])[: N // 20].tolist()
    assert tails.candidate.rows.tolist() == np.argsort(depths[1])[: N // 20].tolist()
    assert np.all(np.diff(tails.candidate.weights) >= 0)
    assert np.all(np.diff(tails.reference.weights) <= 0)
    assert tails.candidate.weights[0] == pytest.approx(0.1 / 0.9)


def test_the_showers_of_a_tail_are_those_of_its_numbers(halves):
    tails = find_tails({"dnn": by_depth(halves)}, *halves)
    for tail, sample in ((tails.candidate, halves[1]), (tails.reference, halves[0])):
        expected = sample.voxels()[tail.rows[:4]]
        np.testing.assert_array_equal(tail.showers.index, expected.index)
        np.testing.assert_array_equal(tail.showers.energy, expected.energy)
        np.testing.assert_array_equal(tail.showers.energy_inc, expected.energy_inc)


def test_what_differs_in_a_tail_stands_out(halves):
    """Ranked by the depth that the energy does not explain, the last twentieth is 2 widths up."""

    def unexplained(sample):
        depth, energy = sample.moments["z_mean"], np.log(sample.energy_inc)
        return depth - np.polyval(np.polyfit(energy, depth, 1), energy)

    tails = find_tails({"dnn": ranked(*map(unexplained, halves))}, *halves)
    shift = {name: contrast.shift for name, contrast in tails.reference.contrasts.items()}
    assert shift["depth [layers]"] == max(shift.values())
    assert 1.4 < shift["depth [layers]"] < 3
    assert abs(shift["incident energy [GeV]"]) < 1
    assert tails.candidate.contrasts["depth [layers]"].shift < -1
    contrast = find_tails({"dnn": by_depth(halves)}, *halves).reference.contrasts["depth [layers]"]
    depth = halves[0].moments["z_mean"]
    assert contrast.every == pytest.approx(np.median(depth))
    assert contrast.tail == pytest.approx(np.quantile(depth, 0.975), rel=0.02)


def test_the_classifier_that_tells_best_is_asked(halves):
    blind = outputs_of(np.full(N, 0.5), np.full(N, 0.5))
    sure = outputs_of(np.linspace(0.5, 0.9, N), np.linspace(0.1, 0.5, N))
    assert find_tails({"blind": blind, "sure": sure}, *halves).protocol == "sure"


def test_only_showers_with_a_weight_are_in_a_tail_or_compared_with_it(halves):
    """Half of the showers alone were evaluated, one of them by three trainings."""
    rows = np.array([*range(0, N, 2), 0, 0])
    output = np.linspace(0.2, 0.8, len(rows))
    found = find_tails({"dnn": Outputs(output, output, rows, rows)}, *halves).reference
    assert len(found.rows) == round(0.05 * N / 2)
    assert not (found.rows % 2).any()
    energies = halves[0].energy_inc[::2] / 1e3
    contrast = found.contrasts["incident energy [GeV]"]
    assert contrast.every == pytest.approx(np.median(energies))


def test_quantities_are_those_of_the_showers(halves):
    sample = halves[0]
    showers = sample.voxels()
    dense = showers.dense().reshape(N, -1).astype(np.float64)
    layer, radius = sample.geometry.voxel_layer, sample.geometry.voxel_r
    found, total = shower_quantities(sample), dense.sum(1)
    np.testing.assert_allclose(found["incident energy [GeV]"], showers.energy_inc / 1e3)
    np.testing.assert_allclose(found["voxels with energy"], (dense > 0).sum(1))
    ratio = total / showers.energy_inc
    np.testing.assert_allclose(found["visible / incident energy"], ratio, rtol=1e-6)
    np.testing.assert_allclose(found["depth [layers]"], dense @ layer / total, rtol=1e-6)
    np.testing.assert_allclose(found["mean radius [mm]"], dense @ radius / total, rtol=1e-5)
    # the borders of the spectrum need not have one at a hundred thresholds
    share = ((dense > 0) & (dense < 100 * sample.threshold)).sum(1) / (dense > 0).sum(1)
    assert 0.02 < share.mean() < 0.5
    np.testing.assert_allclose(found["fraction of voxels below 1.5 MeV"], share, atol=0.03)


def test_empty_showers_have_their_tail(halves):
    """As a generator that fails altogether makes them: what is not known is left out."""
    n = 30
    nothing, geometry = np.zeros(n + 1, int), halves[0].geometry
    inc = halves[0].energy_inc[:n]
    empty = cf.VoxelShowers(inc, nothing, nothing[:0], inc[:0], geometry)
    sample = Sample.of(empty, edges=halves[0].spectrum.edges)
    outputs = outputs_of(np.full(N, 0.9), np.full(n, 0.1))
    found = find_tails({"dnn": outputs}, halves[0], sample).candidate
    assert np.isnan(found.contrasts["depth [layers]"].shift)
    assert found.contrasts["voxels with energy"].tail == 0
    assert len(found.showers) == 4


@pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning")
def test_an_evaluation_finds_the_showers_that_a_generator_spoiled(electrons, tmp_path):
    """Every tenth generated shower has three times the energy: those are the tail."""
    spoiled = np.arange(N) % 10 == 0
    generated = electrons[N : 2 * N]
    factor = np.where(spoiled, np.float32(3), np.float32(1))[generated.event()]
    generated = dataclasses.replace(generated, energy=generated.energy * factor)
    ask = {"metrics": ["small-shower"], "other": electrons[2 * N :], "cache": tmp_path}
    first, again = (evaluate(electrons[:N], {"mine": generated}, **ask) for _ in range(2))
    tail = first.tails["mine"].candidate
    assert first.tails["mine"].protocol == "small-shower"
    assert spoiled[tail.rows].mean() > 0.7
    assert tail.contrasts["visible / incident energy"].shift > 3
    np.testing.assert_array_equal(tail.rows, again.tails["mine"].candidate.rows)
    assert not evaluate(electrons[:N], {"mine": generated}, metrics=["pearson"]).tails
