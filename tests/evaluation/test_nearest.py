"""Copies of training showers are found whatever symmetry they went through, and counted."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import UndeterminedWarning, copied, nearest_training
from caloforge.evaluation.nearest import SHORTLIST
from caloforge.geometry import voxel_images
from caloforge.showers import PointShowers, VoxelShowers

pytestmark = pytest.mark.filterwarnings("ignore::caloforge.evaluation.EvaluationWarning")


def moved(showers: VoxelShowers, element: int) -> VoxelShowers:
    """Showers after one symmetry, with 1.7 times the energy."""
    index = voxel_images(showers.geometry)[element, showers.index]
    return dataclasses.replace(showers, index=index, energy=np.float32(1.7) * showers.energy)


def copies_among(candidate, reference, training):
    """What `copied` finds; threshold 0 for showers that are given as they are."""
    sides = [
        (np.asarray(s.energy_inc, np.float64), nearest_training(s, training).distance)
        for s in (reference, candidate)
    ]
    return copied(*sides[0], *sides[1])


@pytest.mark.parametrize("name", ["photons-10-100GeV_ild-30", "electrons-1-100GeV_calochallenge-2"])
def test_a_shower_is_found_after_any_symmetry_and_any_scale(shared_data, name):
    training = cf.read(shared_data / f"{name}_train.h5")[:40]
    for element in (1, len(voxel_images(training.geometry)) - 1):
        found = nearest_training(moved(training[10:20], element), training, threshold=0.0)
        np.testing.assert_array_equal(found.row, np.arange(10, 20))
        assert found.distance.max() < 1e-3


def test_the_distance_is_the_smallest_over_all_showers_and_symmetries(bundled):
    showers, training = bundled[100:103], bundled[:SHORTLIST]
    images = voxel_images(bundled.geometry)
    a, b = (s.dense().reshape(len(s), -1).astype(np.float64) for s in (showers, training))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    every = np.stack([np.linalg.norm(a[:, None, image] - b, axis=2) for image in images])
    found = nearest_training(showers, training, threshold=0.0)
    np.testing.assert_allclose(found.distance, every.min(axis=(0, 2)), atol=1e-3)
    np.testing.assert_array_equal(found.row, every.min(axis=0).argmin(axis=1))


def test_a_library_is_all_copies_geant4_none_and_a_mixture_half(bundled, library_run):
    training, reference, other = bundled[:200], bundled[300:500], bundled[500:700]
    library = cf.generate(cf.load(library_run), other.particles, seed=3)
    assert copies_among(library, reference, training)["exact"] == 1
    geant4 = copies_among(other, reference, training)
    assert geant4["exact"] == 0
    assert geant4["near"] <= 0.05  # 1 % is expected, with an error of 0.7 % of either sample
    assert geant4["ratio"] == pytest.approx(1, abs=0.05)
    half = VoxelShowers.concatenate([library[:100], other[:100]])
    found = copies_among(half, reference, training)
    assert found["exact"] == 0.5
    assert 0.5 <= found["near"] <= 0.53


def test_a_library_of_points_is_all_copies(bundled_points: PointShowers, tmp_path):
    training, others = bundled_points[:30], bundled_points[30:]
    system = cf.build("library/points", training.geometry, seed=3)
    cf.train(system, training, run=tmp_path / "run", seed=3)
    library = cf.generate(system, training.particles, seed=3)
    assert copies_among(library, others, training)["exact"] == 1
    assert copies_among(others, others, training)["exact"] == 0


def test_a_shower_of_few_voxels_has_no_neighbour(bundled):
    found = nearest_training(bundled[:2].above(1e9), bundled[2:20])
    np.testing.assert_array_equal(found.row, [-1, -1])
    assert np.isnan(found.distance).all()


def test_training_showers_of_other_voxels_are_refused(bundled, bundled_points):
    with pytest.raises(ValueError, match="kind and geometry of the showers, got points of"):
        nearest_training(bundled, bundled_points)


def test_a_reference_of_training_showers_tells_nothing(bundled):
    showers = bundled[:30]
    with pytest.warns(UndeterminedWarning, match="are training showers"):
        found = copies_among(showers, showers, showers)
    assert np.isnan(list(found.values())).all()


def test_an_evaluation_counts_copies_where_it_has_the_training_showers(bundled):
    copies, others, training = bundled[:100], bundled[400:500], bundled[:200]
    candidates = {"copies": copies, "others": others}
    scores = cf.evaluate(
        bundled[200:400], candidates, training=training, metrics=["copies"], seed=1
    )
    assert scores["copies", "exact", "copies"].value == 1
    assert scores["copies", "exact", "copies"].verdict == "far above"
    assert scores["copies", "exact", "others"].value == 0
    assert scores["copies", "exact", "others"].verdict == "at the floor"
    assert scores["copies", "ratio", "others"].floor == pytest.approx(1, abs=0.1)
    with pytest.raises(ValueError, match="--training"):
        cf.evaluate(bundled[200:400], candidates, metrics=["copies"])


@pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning")
def test_of_a_generator_of_other_training_showers_no_copies_are_told(bundled, tmp_path):
    """As its file says how many there were, worth is taken over those."""
    training, others = bundled[:200], bundled[400:500]
    for n in (200, 300):
        cf.write(tmp_path / f"{n}.h5", others, attributes={"n_training_showers": n})
    candidates = {"own": cf.open_showers(tmp_path / "200.h5")}
    candidates["other"] = cf.open_showers(tmp_path / "300.h5")
    with ExitStack() as stack:
        for file in candidates.values():
            stack.enter_context(file)
        metrics = ["copies", "worth"]
        with pytest.warns(UndeterminedWarning, match="other: it was trained on 300 showers"):
            scores = cf.evaluate(
                bundled[200:400], candidates, training=training, metrics=metrics, seed=1
            )
    assert {score.candidate for score in scores.values if score.metric == "copies"} == {"own"}
    worths = [scores.worths[name].n_training.sum() for name in candidates]
    assert worths == pytest.approx([200, 300])
