"""How many showers are compared, and where an error comes from."""

from __future__ import annotations

import numpy as np
import pytest

from caloforge.evaluation.comparison import Comparison, Outputs
from caloforge.evaluation.measurement import Measured, Plan, measure, scored
from caloforge.evaluation.metrics.undetermined import undetermined


class MeanDifference:
    """Difference of the means of one column: its spread is known."""

    name = "difference"
    repeats = 40
    max_size = None
    is_random = False
    has_floor = True

    def compare(self, reference, candidate, seed):
        difference = float(candidate["x"].mean() - reference["x"].mean())
        return Comparison({"x": difference, "layers": np.array([difference, np.nan])})


def plan(metric, n_reference, n_candidate, n_other=None, paired=False):
    return Plan.of(metric, n_reference, n_candidate, n_other=n_other, seed=0, paired=paired)


def test_without_other_geant4_showers_halves_of_the_reference_are_compared():
    metric = MeanDifference()
    assert plan(metric, 101, 1000).size == 50
    assert plan(metric, 1000, 30).size == 30
    metric.max_size = 20
    assert plan(metric, 1000, 1000).size == 20


def test_with_other_geant4_showers_the_whole_reference_is_compared():
    metric = MeanDifference()
    assert plan(metric, 100, 1000, 500).size == 100
    assert plan(metric, 100, 1000, 500).is_whole
    assert plan(metric, 100, 1000, 80).size == 80
    assert not plan(metric, 100, 1000, 80).is_whole
    metric.is_random = True
    assert not plan(metric, 100, 1000, 500).is_whole


def test_the_error_of_a_whole_reference_is_that_of_its_statistics(rng):
    """The mean of n numbers fluctuates by sigma / sqrt(n), that of two samples by sqrt(2) more."""
    metric, n = MeanDifference(), 2000
    reference, candidate = {"x": rng.normal(size=n)}, {"x": rng.normal(3, 1, n)}
    found = measure(metric, reference, candidate, plan(metric, n, n, n), "candidate")
    value, error, layers = found.summary("x")
    assert value == pytest.approx(candidate["x"].mean() - reference["x"].mean(), rel=1e-12)
    assert error == pytest.approx(np.sqrt(2 / n), rel=0.35)
    assert layers == ()


def test_the_value_of_halves_is_the_mean_over_draws_and_its_error_their_spread(rng):
    metric, n = MeanDifference(), 400
    reference, candidate = {"x": rng.normal(size=n)}, {"x": rng.normal(3, 1, n)}
    taken = plan(metric, n, n)
    found = measure(metric, reference, candidate, taken, "candidate")
    by_hand = [
        candidate["x"][rows.candidate].mean() - reference["x"][rows.reference].mean()
        for rows in taken.subsamples()
    ]
    assert found.summary("x")[:2] == pytest.approx((np.mean(by_hand), np.std(by_hand, ddof=1)))
    floor = measure(metric, reference, reference, taken, "other")
    assert abs(floor.summary("x")[0]) < 4 * floor.summary("x")[1]


def test_a_layer_without_a_value_is_left_out_of_the_mean():
    found = Measured({"x": np.array([[1.0, np.nan], [3.0, np.nan]])})
    value, error, layers = found.summary("x")
    assert (value, error) == pytest.approx((2.0, np.sqrt(2)))
    assert layers[0] == 2.0
    assert np.isnan(layers[1])


def test_an_error_that_the_metric_knows_is_kept():
    assert Measured({"x": np.array([2.0])}, {"x": 0.3}).summary("x") == (2.0, 0.3, ())


def test_what_was_measured_comes_back_from_its_arrays(rng):
    found = Measured(
        {"auc": rng.random(3), "E_layer": rng.random((3, 5))},
        {"auc": 0.1},
        {"small-shower": Outputs(rng.random(4), rng.random(6), np.arange(4), np.arange(6)[::-1])},
    )
    back = Measured.unpack(found.pack())
    assert back.errors == found.errors
    for name, values in found.values.items():
        np.testing.assert_array_equal(back.values[name], values)
    for name, column in vars(found.outputs["small-shower"]).items():
        np.testing.assert_array_equal(getattr(back.outputs["small-shower"], name), column)


class Undetermined:
    """A metric that has no value where the candidate is constant, and says so."""

    name = "undetermined"
    repeats = 4
    max_size = None
    is_random = False
    has_floor = True

    def compare(self, reference, candidate, seed):
        values = {"width": float(candidate["x"].std()), "mean": float(candidate["x"].mean())}
        if not values["width"] > 0:
            values["width"] = undetermined("width", "all showers have one energy")
        np.log(candidate["x"] - 2)  # a warning for developers, not for users
        return Comparison(values)


def test_what_a_metric_warns_of_stands_where_its_value_is_missing():
    metric, ones = Undetermined(), {"x": np.full(20, 3.0)}
    found = measure(metric, ones, ones, plan(metric, 20, 20), "candidate")
    assert found.notes == ("width is not determined: all showers have one energy",)
    assert found.reason("width") == "width is not determined: all showers have one energy"
    assert found.reason("mean") == ""
    assert Measured.unpack(found.pack()).notes == found.notes


def test_other_warnings_of_a_metric_reach_who_calls_it():
    metric, numbers = Undetermined(), {"x": np.arange(20) + 0.5}
    with pytest.warns(RuntimeWarning, match="invalid value encountered in log"):
        found = measure(metric, numbers, numbers, plan(metric, 20, 20), "candidate")
    assert found.notes == ()


def test_a_value_that_is_missing_without_a_word_is_explained_by_the_draws():
    found = Measured(
        {"a": np.array([1.0, np.nan, 2.0]), "b": np.array([np.nan] * 3), "c": np.array([1.0])}
    )
    assert found.reason("a") == "only 2 of 3 subsamples gave a value"
    assert found.reason("b") == "it cannot be determined from these showers"
    assert found.reason("c") == "its error is not known, as it was taken once"


def test_a_score_says_in_which_layers_value_and_floor_are_not_both_there(bundled):
    metric, nan = MeanDifference(), np.nan
    metric.is_comparable = lambda size, geometry: False
    found = Measured({"x": np.add.outer([0, 1], [1, 1, 1, nan, nan, nan])})
    floor = Measured({"x": np.add.outer([0, 1], [1, nan, 1, 1, 1, nan])})
    score = scored(metric, "x", "mine", found, floor, 10, bundled.geometry)
    assert score.reason == (
        "no value in layers 3 to 4, which its mean leaves out; "
        "no floor in layer 1, which its mean leaves out"
    )
    assert scored(metric, "x", "mine", found, found, 10, bundled.geometry).reason == ""


class Reading:
    """A classifier that has seen nothing and says which showers it was given."""

    name = "reading"
    repeats = 3
    max_size = None
    is_random = True
    has_floor = True

    def compare(self, reference, candidate, seed):
        last = np.array([4, 2])
        outputs = Outputs(reference["x"][last], candidate["x"][last], last, last)
        return Comparison({"auc": 0.5}, outputs={"reading": outputs})


def test_outputs_know_which_showers_they_are_of(rng):
    """However the subsamples shuffle: output i is what the shower of number row i has."""
    metric = Reading()
    reference, candidate = {"x": rng.random(20)}, {"x": rng.random(31)}
    found = measure(metric, reference, candidate, plan(metric, 20, 31), "candidate")
    outputs = found.outputs["reading"]
    assert outputs.reference_rows.shape == outputs.candidate_rows.shape == (6,)
    np.testing.assert_array_equal(reference["x"][outputs.reference_rows], outputs.reference)
    np.testing.assert_array_equal(candidate["x"][outputs.candidate_rows], outputs.candidate)


def test_the_floor_does_not_depend_on_the_candidate():
    metric = MeanDifference()
    one, other = plan(metric, 100, 70, 500), plan(metric, 100, 70, 500, paired=True)
    assert one.settings("other") == other.settings("other")
    assert one.settings("candidate") != other.settings("candidate")


def test_a_whole_reference_meets_as_many_draws_of_a_larger_sample_as_of_halves(rng):
    metric, n = MeanDifference(), 100
    reference, large = {"x": rng.normal(size=n)}, {"x": rng.normal(size=5 * n)}
    taken = plan(metric, n, 5 * n, n)
    assert len(measure(metric, reference, large, taken, "candidate").values["x"]) == 40
    assert len(measure(metric, reference, reference, taken, "other").values["x"]) == 1
