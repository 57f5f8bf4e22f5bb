"""Two-sample tests: their level is that of the permutations, and they see what they should."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy.stats import binom

import caloforge as cf
from caloforge.evaluation import (
    at_like_energy,
    frechet_test,
    kolmogorov_smirnov_test,
    nplm_test,
    sliced_wasserstein_test,
)
from caloforge.evaluation.metrics.high_level import TrimmedFrechetDistance
from caloforge.evaluation.metrics.nplm import Nplm
from caloforge.evaluation.metrics.permutation import PermutationTests, p_value
from caloforge.evaluation.metrics.physics_distance import fpd_of_subsets

NAMES = ("a", "b", "c")


def learned(reference, candidate, **settings):
    found = nplm_test(reference, candidate, NAMES, **settings)
    return found.p, found.error


TESTS = [sliced_wasserstein_test, kolmogorov_smirnov_test, frechet_test, learned]
every_test = pytest.mark.parametrize("test", TESTS)


@every_test
def test_one_in_twenty_of_equal_samples_is_rejected_at_five_per_cent(test):
    """Unequal sizes and ties make no difference: the level is exact."""
    trials, rejected = 150, 0
    for seed in range(trials):
        rng = np.random.default_rng([seed, 1])
        first, second = rng.normal(size=(40, 3)).round(1), rng.normal(size=(30, 3)).round(1)
        rejected += test(first, second, permutations=19, seed=seed)[0] <= 0.05
    assert binom.cdf(rejected, trials, 0.05) > 1e-3
    assert binom.sf(rejected - 1, trials, 0.05) > 1e-3


@every_test
def test_a_shift_of_half_a_width_is_seen_with_four_hundred(test, rng):
    first, second = rng.normal(size=(2, 400, 3))
    p, error = test(first, second + np.array([0, 0.5, 0]), permutations=99)
    assert p == 0.01
    assert error == pytest.approx(0.01, rel=0.01)


@every_test
def test_samples_that_do_not_fit_together_are_refused(test, rng):
    first = rng.normal(size=(40, 3))
    with pytest.raises(ValueError, match=r"the same columns, got \(40, 3\) and \(40, 2\)"):
        test(first, first[:, :2])
    with pytest.raises(ValueError, match="must be finite"):
        test(first, np.where(first > 1, np.nan, first))


def test_a_correlation_is_seen_by_all_but_what_sees_one_observable_at_a_time(rng):
    first, second = rng.normal(size=(2, 400, 3))
    second[:, 1] = 0.8 * second[:, 0] + 0.6 * second[:, 1]
    found = {test: test(first, second, permutations=99)[0] for test in TESTS}
    assert found.pop(kolmogorov_smirnov_test) > 0.05
    assert set(found.values()) == {0.01}


def test_the_region_of_an_excess_is_named(rng):
    """A tenth of the candidate has b between 1.3 and 3 besides what Geant4 has there."""
    first, second = rng.normal(size=(2, 1000, 3))
    second[:100, 1] = rng.uniform(1.3, 3, 100)
    found = nplm_test(first, second, NAMES, permutations=99)
    (region,) = (region for region in found.regions if region.observable == "b")
    assert found.regions[0] is region
    assert (region.low, region.high) in {(0.9, 1.0), (0.8, 1.0)}
    assert region.ratio > 1.3
    assert region.text.startswith("too many showers with b above its")
    assert not nplm_test(first, rng.normal(size=(1000, 3)), NAMES, permutations=99).regions


def test_a_p_value_counts_the_sample_itself_among_its_mixtures():
    assert p_value(2.0, np.array([1.0, 2.0, 3.0])) == (0.75, pytest.approx(0.2165, abs=1e-4))


def test_showers_are_compared_at_like_energy_in_any_units(rng):
    """What grows with energy is taken out; ranks have no units; equal values of all are 0."""
    energy = rng.uniform(1, 5, 2000)
    size = energy**2 * np.exp(0.1 * rng.normal(size=2000))
    table = np.stack([energy, size, np.full(2000, 3.0)], axis=1)
    first, second = at_like_energy(table[:1200], table[1200:])
    assert (len(first), len(second)) == (1200, 800)
    pooled = np.concatenate([first, second])
    assert abs(np.corrcoef(pooled[:, 0], pooled[:, 1])[0, 1]) < 0.1
    np.testing.assert_array_equal(pooled[:, 2], 0)
    other = np.stack([np.exp(table[:, 0]), np.log(table[:, 1]), table[:, 2]], axis=1)
    np.testing.assert_allclose(at_like_energy(other[:1200], other[1200:])[0], first)
    swapped = at_like_energy(table[1200:], table[:1200])
    np.testing.assert_allclose(swapped[1], first)


def test_a_few_outliers_do_not_decide_the_trimmed_distance(rng):
    first, second = rng.normal(size=(2, 600, 4))
    outliers = second.copy()
    outliers[:10] = 100.0
    assert fpd_of_subsets(first, outliers).value > 10
    trimmed = fpd_of_subsets(first, outliers, trim=0.01).value
    assert trimmed < 0.01
    metric = object.__new__(TrimmedFrechetDistance)  # it is fitted to nothing
    found = metric.compare({"features": first}, {"features": outliers}, seed=1)
    assert "a few showers decide that" in found.remarks["fpd"]
    assert not metric.compare({"features": first}, {"features": second}, seed=1).remarks


@pytest.mark.filterwarnings("ignore::caloforge.evaluation.EvaluationWarning")
def test_a_p_value_is_a_score_without_a_floor_that_says_what_it_objects_to(
    bundled, tmp_path, monkeypatch
):
    for metric in (PermutationTests, Nplm):
        monkeypatch.setattr(metric, "permutations", 49)
    more = bundled[300:600]
    more = dataclasses.replace(more, energy=np.float32(1.1) * more.energy)
    candidates = {"good": bundled[600:900], "more": more}
    arguments = {"metrics": ["permutation", "nplm"], "cache": tmp_path}
    scores = cf.evaluate(bundled[:300], candidates, **arguments)
    assert {score.n_showers for score in scores.values} == {300}  # none is kept for a floor
    assert {scores["permutation", "mean_ks", name].verdict for name in candidates} == {
        "no difference seen",
        "different",
    }
    found = scores["nplm", "nplm", "more"]
    assert found.value == 0.02
    assert found.mark == "seen"
    assert found.remark.startswith(
        "it finds too few showers with deposited / incident energy below its"
    )
    entries = json.loads(scores.to_json())["scores"]
    assert {entry["floor"] for entry in entries} == {None}
    assert any(entry["remark"] == found.remark for entry in entries)
    assert "it finds too few" in scores.to_markdown()
    again = cf.evaluate(bundled[:300], candidates, **arguments)
    assert again["nplm", "nplm", "more"] == dataclasses.replace(found, floor=again.values[0].floor)
