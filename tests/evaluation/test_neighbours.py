"""Precision, recall, density and coverage: by hand, and equal to the definition pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist

import caloforge as cf
from caloforge.evaluation import Sample
from caloforge.evaluation.metrics import neighbours
from caloforge.evaluation.metrics.neighbours import NearestNeighbours, prdc, voxel_features


def of_all_pairs(real, fake, k=5):
    """The definition, with matrices of all distances."""
    real_radius, fake_radius = (np.sort(cdist(x, x), axis=1)[:, k] for x in (real, fake))
    distance = cdist(real, fake)
    near_real = distance < real_radius[:, None]
    return {
        "precision": near_real.any(axis=0).mean(),
        "recall": (distance < fake_radius).any(axis=1).mean(),
        "density": near_real.sum() / (k * len(fake)),
        "coverage": (distance.min(axis=1) < real_radius).mean(),
    }


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_numbers_found_by_hand():
    # radii of the real 0, 1, 3, 10 are 1, 1, 2, 7; of the fake 0.5, 1.2, 20: 0.7, 0.7, 18.8
    found = prdc(column(0, 1, 3, 10), column(0.5, 1.2, 20), k=1)
    assert found == {
        "precision": 2 / 3,  # 20 is 10 from 10
        "recall": 1.0,  # 3 and 10 lie within 18.8 of 20
        "density": 4 / 3,  # 0.5 lies near 0 and 1, 1.2 near 1 and 3
        "coverage": 3 / 4,
    }


def test_a_distance_equal_to_the_radius_is_not_inside():
    # radii of the real: 1, 1, 2; the fake 2 is 1 from 1 and from 3, the fake 5 is 2 from 3
    found = prdc(column(0, 1, 3), column(2, 5), k=1)
    assert found["density"] == 1 / 2
    assert found["precision"] == 1 / 2
    assert found["coverage"] == 1 / 3


def test_identical_samples_cover_each_other():
    # Each row has itself and k - 1 others nearer than its k-th neighbour.
    rows = np.random.default_rng(1).normal(size=(60, 400))
    ones = dict.fromkeys(("precision", "recall", "density", "coverage"), 1.0)
    assert prdc(rows, rows) == prdc(rows, rows.copy()) == ones


def test_samples_far_apart_share_nothing(rng):
    first, second = rng.normal(size=(2, 50, 4))
    zeros = dict.fromkeys(("precision", "recall", "density", "coverage"), 0.0)
    assert prdc(first, second + 100) == zeros


def test_a_collapsed_sample_is_dense_and_recalls_nothing(rng):
    """In many dimensions the centre is nearer to most rows than their neighbours are."""
    real = rng.normal(size=(300, 30))
    found = prdc(real, np.zeros((300, 30)))
    assert found["precision"] == 1
    assert found["density"] > 50
    assert found["recall"] == 0


def test_nothing_is_inside_the_radius_0_of_repeated_rows(rng):
    rows = rng.normal(size=(6, 3000)).repeat(6, axis=0)
    zeros = dict.fromkeys(("precision", "recall", "density", "coverage"), 0.0)
    assert prdc(rows, rows) == zeros


def test_differences_below_the_rounding_of_products_count(rng):
    """More rows than are kept as neighbours lie within 1e-10 of the fifth one's distance."""
    steps = 1e-12 * rng.permutation(30)
    real = np.concatenate([column(1000), 1001 + steps[:, None]])
    fake = 999 - steps[:, None]
    found = prdc(real, fake)
    assert found == pytest.approx(of_all_pairs(real, fake), abs=1e-15)
    assert found["precision"] == 4 / 30  # the fifth is as far as the fifth real one


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_ties_are_those_of_the_definition(data):
    """Rows on a coarse grid: equal rows, equal distances, fewer rows than neighbours are kept."""
    k = data.draw(st.integers(1, 4))
    columns = data.draw(st.integers(1, 3))
    grid = st.sampled_from([0.0, 1.0, 2.0, -3.0])
    real, fake = (
        data.draw(arrays(np.float64, (data.draw(st.integers(k + 1, 25)), columns), elements=grid))
        for _ in range(2)
    )
    assert prdc(real, fake, k=k) == pytest.approx(of_all_pairs(real, fake, k), abs=1e-15)


@pytest.mark.parametrize("block", [3, 1000])
def test_blocks_do_not_matter(monkeypatch, rng, block):
    real, fake = rng.normal(size=(40, 30)), rng.normal(0.1, 0.9, size=(33, 30))
    fake[20:] = real[:13]  # pairs that are exactly 0 apart
    real[30:] = real[10:20]
    monkeypatch.setattr(neighbours, "BLOCK_ROWS", block)
    assert prdc(real, fake) == pytest.approx(of_all_pairs(real, fake), abs=1e-15)
    assert prdc(csr_array(real), csr_array(fake)) == prdc(real, fake)


@pytest.fixture(scope="module", params=["calochallenge-2", "calochallenge-3"])
def electrons(request, shared_data):
    showers = cf.read(shared_data / f"electrons-1-100GeV_{request.param}_test.h5")[:100]
    return showers.above(showers.geometry.threshold)


def published_features(showers):
    dense = showers.dense().reshape(len(showers), -1).astype(np.float64)
    dense[dense == 0] = 0.1
    return np.log10(dense)


def test_voxel_features_are_the_calochallenge_s_but_for_a_shift(electrons):
    found = voxel_features(electrons[:3]).toarray()
    assert found == pytest.approx(published_features(electrons[:3]) + 1, abs=1e-15)
    assert found.min() < 0  # a voxel of less than 0.1 MeV counts as less than an empty one


def test_real_showers_have_the_numbers_of_all_pairs(electrons):
    """Also with showers that both samples hold and showers that a sample holds twice."""
    rows = np.r_[:50, :15], np.r_[40:100]
    found = prdc(*(voxel_features(electrons[part]) for part in rows))
    assert found == pytest.approx(
        of_all_pairs(*(published_features(electrons[part]) for part in rows)), abs=1e-15
    )
    assert 0 < found["precision"] < 1


def test_a_distortion_of_30_percent_is_seen(bundled):
    showers = bundled[:1200]
    other = cf.VoxelShowers(
        showers.energy_inc, showers.offset, showers.index, 1.3 * showers.energy, showers.geometry
    )
    sample, distorted = Sample.of(showers), Sample.of(other)
    metric = NearestNeighbours(sample, sample.threshold)
    reference, *candidates = (
        {"voxels": metric.columns(one)["voxels"][start::2]}
        for one, start in ((sample, 0), (sample, 1), (distorted, 1))
    )
    floor, found = (metric.compare(reference, one, seed=0).values for one in candidates)
    assert floor["density"] == pytest.approx(1, abs=0.15)
    assert floor["coverage"] > 0.95
    assert found["density"] < 0.5
    assert found["coverage"] < 0.8


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="more than k = 5 rows"):
        prdc(np.zeros((5, 2)), np.zeros((9, 2)))
    with pytest.raises(ValueError, match="2 in the reference and 3"):
        prdc(np.zeros((9, 2)), np.zeros((9, 3)))
    with pytest.raises(ValueError, match="candidate must be finite"):
        prdc(np.zeros((9, 2)), np.full((9, 2), np.nan))


def test_columns_are_multiplied_dense_or_sparse_to_the_same_result(shared_data, monkeypatch):
    first, second = (
        voxel_features(cf.read(shared_data / f"electrons-1-100GeV_calochallenge-2_{part}.h5")[:60])
        for part in ("test", "train")
    )
    expected = prdc(first, second)
    for share in (-1.0, 1.0):  # all of them, none
        monkeypatch.setattr(neighbours, "DENSE", share)
        assert prdc(first, second) == expected
