"""How many Geant4 showers a sample replaces: known answers, and real showers."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import energy_distance, mean_difference, worth
from caloforge.evaluation.worth import worth_of_shift
from caloforge.evaluation.worth.energy_distance import compare
from caloforge.evaluation.worth.estimate import Fluctuations
from caloforge.evaluation.worth.residuals import residuals, slices

N = 300  # values of each sample
SEEDS = 120
ONE = np.ones((1, 1))


def estimate(x, y, rng):
    """Of one observable in one cell."""
    found = compare(x, y, rng.standard_normal((200, len(x) + len(y)), dtype=np.float32))
    inverse, linear = np.array([[found.inverse]]), np.array([[[found.linear @ found.linear]]])
    return Fluctuations(inverse, linear, found.null[None, None]).mean(ONE)


def of_all_pairs(x, y):
    def mean(a, b, n_pairs):
        return np.abs(a[:, None] - b).sum() / n_pairs

    n, m = len(x), len(y)
    between, first, second = mean(x, y, n * m), mean(x, x, n * n - n), mean(y, y, m * m - m)
    return first, 2 * between - first - second


def test_by_sorting_it_is_the_mean_over_all_pairs(rng):
    x, y = rng.normal(size=40), rng.normal(0.3, 2, 31).round(1)  # with ties
    scale, distance = of_all_pairs(x, y)
    assert mean_difference(x) == pytest.approx(scale, rel=1e-12)
    assert energy_distance(x, y) == pytest.approx(distance, rel=1e-10)
    assert estimate(x, y, rng).inverse == pytest.approx(distance / scale, rel=1e-10)


def test_a_value_s_share_is_what_it_adds(rng):
    """The derivative by weight, against one more copy of a value among many."""
    x, y = rng.normal(size=4000), rng.normal(0.5, 1, 4000)
    found = compare(x, y, np.ones((1, 8000), np.float32))
    for shift, number in ((0, 17), (4000, 23)):
        more = [x, y]
        more[shift > 0] = np.append(more[shift > 0], np.repeat(more[shift > 0][number], 5))
        gained = compare(*more, np.ones((1, 8005), np.float32)).inverse - found.inverse
        assert gained == pytest.approx(5 * found.linear[shift + number], rel=0.05, abs=2e-6)


@pytest.mark.parametrize("size", [10, 100])
def test_a_library_is_worth_its_size_on_average(rng, size):
    """Sampled with replacement, far more often than it has showers."""
    found = np.array(
        [
            estimate(rng.normal(size=N), rng.choice(rng.normal(size=size), 4 * N), rng).inverse
            for _ in range(SEEDS)
        ]
    )
    error = found.std(ddof=1) / math.sqrt(SEEDS)
    assert abs(found.mean() - 1 / size) < 4 * error
    assert error < 0.25 / size


@pytest.mark.parametrize("shift", [0.2, 0.5, 2.0])
def test_a_shift_has_its_worth_and_its_error_covers_it(rng, shift):
    true = worth_of_shift(shift)
    found = [estimate(rng.normal(size=N), rng.normal(shift, 1, N), rng) for _ in range(SEEDS)]
    inverse = np.array([one.inverse for one in found])
    assert abs(inverse.mean() - 1 / true) < 4 * inverse.std(ddof=1) / math.sqrt(SEEDS)
    errors = np.sqrt(np.mean([one.error**2 for one in found]))
    assert errors == pytest.approx(inverse.std(ddof=1), rel=0.3)  # 4 / sqrt(2 · 120)
    covered = np.mean([one.low < true < one.high for one in found])
    assert covered > 0.68 - 4 * math.sqrt(0.68 * 0.32 / SEEDS)


def test_small_shifts_are_worth_two_over_their_square():
    assert worth_of_shift(0.01) == pytest.approx(2 / 0.01**2, rel=1e-3)


def test_a_perfect_sample_is_out_of_sight(rng):
    found = [estimate(rng.normal(size=N), rng.normal(size=2 * N), rng) for _ in range(SEEDS)]
    seen = np.mean([one.is_seen for one in found])
    assert seen < 0.05 + 4 * math.sqrt(0.05 * 0.95 / SEEDS)
    inverse = np.array([one.inverse for one in found])
    assert abs(inverse.mean()) < 4 * inverse.std(ddof=1) / math.sqrt(SEEDS)
    unseen = next(one for one in found if not one.is_seen)
    assert unseen.value == unseen.high == math.inf
    assert unseen.text.startswith("> ")
    assert 20 < unseen.low < N  # so many showers cannot say more


def test_what_the_lower_limit_promises_is_kept(rng):
    """Of candidates in which no difference is seen, or is, 95 % are worth more."""
    true = worth_of_shift(0.15)
    found = [estimate(rng.normal(size=N), rng.normal(0.15, 1, N), rng) for _ in range(SEEDS)]
    limits = np.array([one.low for one in found if not one.is_seen])
    assert len(limits) > SEEDS / 4
    assert np.sum(limits > true) < 0.05 * SEEDS + 4 * math.sqrt(0.05 * 0.95 * SEEDS)


def test_a_constant_observable_has_no_worth(rng):
    found = estimate(np.full(50, 3.0), np.full(60, 3.0), rng)
    assert math.isnan(found.value)
    assert found.text == "–"


def test_observables_of_one_shower_fluctuate_together(rng):
    """Twice the same observable is no more certain than once; two different ones are."""
    x, y, z, w = rng.normal(size=(4, N))
    random = rng.standard_normal((400, 2 * N), dtype=np.float32)

    def error(*pairs):
        found = [compare(*pair, random) for pair in pairs]
        shares = np.array([one.linear for one in found])
        inverse = np.array([[one.inverse for one in found]])
        null = np.array([[one.null for one in found]])
        return Fluctuations(inverse, (shares @ shares.T)[None], null).mean(np.ones((1, 2))).error

    twice = error((x, y), (x, y))
    assert twice == pytest.approx(estimate(x, y, rng).error, rel=0.25)
    assert error((x, y), (z, w)) < 0.9 * twice


def test_energy_and_angle_are_taken_out(rng):
    """What depends on them alone, mean and spread, leaves standard residuals in both samples."""
    sides = []
    for n in (4000, 3000):
        energy, angle = np.exp(rng.uniform(7, 9, n)), rng.uniform(0, 0.5, n)
        direction = np.stack([np.sin(angle), np.zeros(n), np.cos(angle)], axis=1)
        spread = 0.5 + 0.2 * np.log(energy)
        observed = np.log(energy) ** 2 + 3 * angle + spread * rng.normal(size=n)
        sides.append(({"o": observed}, cf.Particles(energy, direction)))
    (first, particles), (second, others) = sides
    found = residuals(first, second, particles, others)
    for (mine,), side in zip(found, (particles, others), strict=True):
        position = np.stack([np.log(side.energy), side.direction[:, 0]])
        error = 4 / math.sqrt(len(mine))
        assert np.abs(np.corrcoef(np.vstack([mine, position]))[0, 1:]).max() < error
        assert np.abs(np.corrcoef(np.abs(mine), position[0])[0, 1]) < error
        assert np.abs(mine).mean() == pytest.approx(1, abs=error)  # in units of the mean |o - m|


def test_what_is_constant_or_missing_does_not_spoil_the_rest(rng):
    """An observable that never differs, one that no shower has, one that a few lack."""
    sides = []
    for _ in range(2):
        some = rng.normal(size=200)
        some[:5] = np.nan
        observed = {"all": rng.normal(size=200), "constant": np.full(200, 1 / 3), "some": some}
        observed["none"] = np.full(200, np.nan)
        sides.append((observed, cf.Particles(np.exp(rng.uniform(7, 9, 200)))))
    (first, particles), (second, others) = sides
    for mine in (found := residuals(first, second, particles, others)):
        assert np.isfinite(mine).sum(axis=1).tolist() == [200, 0, 195, 0]
    for mine in slices(*found, np.eye(4)):
        assert np.isfinite(mine).sum(axis=1).tolist() == [195] * 4
    for mine in slices(found[0][3:], found[1][3:], np.ones((2, 1))):
        assert np.isnan(mine).all()
        assert mine.shape == (2, 200)


@pytest.fixture(scope="module")
def showers(shared_data):
    return cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_test.h5")


@pytest.fixture(scope="module")
def few(shared_data):
    """50 showers, as a library that is sampled 1,500 times, and with 3 % more energy."""
    train = cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_train.h5")
    library = train[np.random.default_rng(2).integers(0, 50, 1500)]
    return library, dataclasses.replace(library, energy=1.03 * library.energy)


def test_a_library_of_real_showers_is_worth_what_it_holds(showers, few):
    library, shifted = (worth(showers, side, training=50) for side in few)
    assert len(library.cells) == 8
    assert library.n_training.sum() == pytest.approx(50)
    # Over eight cells and five observables the inverse of a library fluctuates by a third or so.
    assert 0.4 < library.amplification.value < 2.5
    assert shifted.of("response").value < library.of("response").value
    assert shifted.worst[2].value <= shifted.all.value
    table = library.to_markdown().splitlines()
    assert len(table) == 8 + 3
    assert all(line.count("|") == 9 for line in table)
    record = json.loads(json.dumps(library.to_dict(), allow_nan=False))
    assert record["all"]["worth"] == pytest.approx(library.all.value)
    assert repr(library).startswith(f"Worth({library.all.text} Geant4 showers in 8 cells, ampl")
    with pytest.raises(KeyError, match="observable must be among response, depth"):
        library.of("spin")


def test_more_geant4_showers_are_out_of_sight(showers):
    found = worth(showers[::2], showers[1::2])
    assert not found.all.is_seen
    assert found.all.low > 50
    assert found.amplification is None


def test_an_evaluation_has_the_worth_among_its_scores(showers, few):
    with pytest.warns(cf.evaluation.EvaluationWarning):
        scores = cf.evaluate(
            showers, {"library": few[0]}, training=few[0][:50], metrics=["worth"], seed=4
        )
    found = scores.worths["library"]
    score = scores["worth", "all", "library"]
    assert (score.value, score.low, score.high) == (found.all.value, found.all.low, found.all.high)
    assert score.text() == found.all.text
    assert score.mark == "far"
    assert scores["worth", "amplification", "library"].value == found.amplification.value
    assert found.n_training.sum() == 50
    assert found.all.text in scores.to_markdown()
    assert json.loads(scores.to_json())["worths"]["library"] == found.to_dict()


def test_other_voxels_are_refused(showers):
    coarse = showers[:30].coarsen(cf.geometry.Coarsening(showers.geometry, (5, 2, 1)))
    with pytest.raises(ValueError, match="compare samples of the same voxels"):
        worth(showers, coarse)


def test_point_clouds_have_their_number_of_points_as_well(bundled_points):
    half = len(bundled_points) // 2
    found = worth(bundled_points[:half], bundled_points[half:])
    assert found.observables == ("response", "depth", "width", "radius", "hits", "points")
    assert all(math.isfinite(found.of(name).low) for name in found.observables)
