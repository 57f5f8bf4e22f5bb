"""Showers that samples share are found by what they are, and do not lower the floor."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy.spatial import KDTree

import caloforge as cf
from caloforge.data import open_points
from caloforge.evaluation import SharedShowersWarning
from caloforge.evaluation.copies import TOLERANCE, fingerprints, same_showers
from caloforge.showers import PointShowers, VoxelShowers

pytestmark = pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning")
METRICS = ("pearson", "wasserstein")


def number_of(*samples: VoxelShowers, threshold: float = 0.0) -> list[np.ndarray]:
    places = {str(i): fingerprints(showers, threshold) for i, showers in enumerate(samples)}
    return list(same_showers(places).values())


def joined(*samples: VoxelShowers) -> VoxelShowers:
    return VoxelShowers.concatenate(list(samples))


def rounded(values: np.ndarray, bits: int) -> np.ndarray:
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(mantissa * 2**bits) / 2**bits, exponent)


def backwards(showers: VoxelShowers) -> VoxelShowers:
    """The same showers, the voxels of each in another order."""
    order = np.lexsort([-np.arange(len(showers.index)), showers.event()])
    return dataclasses.replace(showers, index=showers.index[order], energy=showers.energy[order])


def test_real_showers_lie_a_hundred_times_farther_apart_than_copies_may(bundled):
    place = fingerprints(bundled, bundled.geometry.threshold)
    distance, _ = KDTree(place).query(place, k=[2])
    assert distance.min() > 100 * TOLERANCE


@pytest.mark.parametrize(
    "change",
    [
        lambda showers: showers[::-1],
        backwards,
        lambda s: dataclasses.replace(s, energy=s.energy.astype(np.float64)),
        lambda s: dataclasses.replace(s, energy=np.float32(1e3) * (s.energy * np.float32(1e-3))),
        lambda s: dataclasses.replace(s, energy=rounded(s.energy, 11)),
        lambda showers: showers.above(0.02),
    ],
    ids=["order", "voxels", "double", "GeV", "11 bits", "threshold"],
)
def test_a_copy_is_known_however_it_is_stored(bundled, change):
    showers = bundled[:200]
    first, second = number_of(showers, change(showers), threshold=0.02)
    assert len(set(first)) == 200
    assert set(first) == set(second)


def test_what_only_looks_alike_is_no_copy(bundled):
    """The same shower with 1 % more energy; showers of the same incident energy with no voxel."""
    showers = bundled[:100]
    more = dataclasses.replace(showers, energy=np.float32(1.01) * showers.energy)
    empty = showers.above(1e9)
    first, *others = number_of(showers, more, empty, empty)
    assert len(set(np.concatenate([first, *others]))) == 400


def test_a_shower_that_is_there_many_times_is_one(bundled):
    many = joined(*[bundled[i % 3 : i % 3 + 1] for i in range(300)])
    (numbers,) = number_of(many)
    np.testing.assert_array_equal(numbers, np.arange(300) % 3)


@pytest.fixture(scope="module")
def truth(bundled):
    """The floor of 300 showers against 300 others, and a candidate of yet others."""
    return cf.evaluate(
        bundled[:300], {"mine": bundled[600:900]}, other=bundled[300:600], metrics=METRICS
    )


def test_a_reference_that_holds_its_showers_twice_has_the_floor_of_each_once(bundled):
    once, mine = bundled[:300], {"mine": bundled[600:900]}
    expected = cf.evaluate(once, mine, metrics=METRICS)
    with pytest.warns(SharedShowersWarning, match="Geant4 holds 300 showers again among its 600"):
        found = cf.evaluate(joined(once, backwards(once)), mine, metrics=METRICS)
    assert [score.floor for score in found.values] == [score.floor for score in expected.values]
    assert {score.n_showers for score in found.values} == {150}


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_other_showers_that_are_the_reference_make_no_floor(bundled, order):
    with pytest.raises(ValueError, match="of other Geant4 0 showers remain") as error:
        cf.evaluate(bundled[:300], {"mine": bundled[300:600]}, other=bundled[:300][order])
    assert "other Geant4 holds 300 showers of Geant4 among its 300" in str(error.value)
    assert "halves of the reference" in str(error.value)


def test_other_showers_are_compared_without_those_of_the_reference(bundled, truth):
    mine, more = {"mine": bundled[600:900]}, joined(bundled[100:200], bundled[300:600])
    with pytest.warns(SharedShowersWarning, match=r"holds 100 .* of Geant4 among its 400") as seen:
        found = cf.evaluate(bundled[:300], mine, other=more, metrics=METRICS)
    assert "its no. 0 is no. 100 there" in str(seen[0].message)
    assert [score.floor for score in found.values] == [score.floor for score in truth.values]
    assert found.provenance["other"] == {"n_showers": 300}


def test_a_candidate_that_holds_showers_of_geant4_is_named_beside_its_scores(bundled):
    learned = joined(bundled[:30], bundled[900:1170])
    copied = joined(bundled[900:910], bundled[1200:1490])
    with pytest.warns(SharedShowersWarning) as seen:
        found = cf.evaluate(
            bundled[:600], {"learned": learned, "copied": copied}, metrics=["pearson"]
        )
    texts = [str(w.message) for w in seen if w.category is SharedShowersWarning]
    assert texts == [
        "learned holds 30 showers of Geant4 among its 300 (its no. 0 is no. 0 there): they make "
        "its scores too good",
        "copied holds 10 showers of learned among its 300 (its no. 0 is no. 30 there): their "
        "scores are not independent of each other",
    ]
    assert [shared["text"] for shared in json.loads(found.to_json())["shared"]] == texts
    assert json.loads(found.to_json())["shared"][0]["n"] == 30
    assert all(f"- {text}." in found.to_markdown() for text in texts)


def test_copies_are_found_in_files_of_points_too(bundled_points: PointShowers, tmp_path):
    points = bundled_points
    twice = PointShowers.concatenate([points[:30], points[:30]])
    settings = {"geometry": cf.geometry_preset("ild-30"), "metrics": ["points"]}
    cf.write(tmp_path / "twice.h5", twice)
    with (
        open_points(tmp_path / "twice.h5") as file,
        pytest.warns(SharedShowersWarning, match="Geant4 holds 30 showers again among its 60"),
    ):
        found = cf.evaluate(file, {"fake": points[30:]}, **settings)
    once = cf.evaluate(points[:30], {"fake": points[30:]}, **settings)
    assert [score.floor for score in found.values] == [score.floor for score in once.values]
    assert found.provenance["reference"]["file"] == "twice.h5"


def test_no_candidate_may_have_the_name_of_a_geant4_sample(bundled):
    for name in ("Geant4", "other Geant4"):
        with pytest.raises(ValueError, match=f"{name!r} names"):
            cf.evaluate(bundled[:40], {name: bundled[40:80]})
