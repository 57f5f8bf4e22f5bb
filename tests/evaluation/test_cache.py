"""Results are kept under everything that they depend on, and under nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import Sample, evaluate
from caloforge.evaluation.cache import Cache, content_hash
from caloforge.evaluation.sample import pack, unpack

pytestmark = [
    pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning"),
    pytest.mark.filterwarnings("ignore::caloforge.evaluation.SharedShowersWarning"),
]


@pytest.fixture(scope="module")
def electrons(shared_data):
    return cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_test.h5")[:240]


def kept(cache, key, value):
    """What the cache gives for a key, and whether it had to be computed."""
    calls = []

    def compute():
        calls.append(key)
        return np.asarray(value)

    found = cache.fetch(key, compute, lambda x: {"x": x}, lambda arrays: arrays["x"])
    return float(found), bool(calls)


def test_a_result_is_computed_once_for_each_key(tmp_path):
    cache = Cache(tmp_path / "cache")
    assert kept(cache, {"a": 1}, 5.0) == (5.0, True)
    assert kept(cache, {"a": 1}, 6.0) == (5.0, False)
    assert kept(cache, {"a": 2}, 6.0) == (6.0, True)
    assert kept(Cache(tmp_path / "cache"), {"a": 2}, 7.0) == (6.0, False)
    assert kept(Cache(None), {"a": 1}, 8.0) == (8.0, True)


def test_other_code_finds_its_results_anew(tmp_path, monkeypatch):
    cache = Cache(tmp_path)
    kept(cache, {"a": 1}, 5.0)
    monkeypatch.setattr("caloforge.evaluation.cache._code_hash", lambda: "other code")
    assert kept(cache, {"a": 1}, 6.0) == (6.0, True)


def test_a_damaged_result_is_found_anew(tmp_path):
    cache = Cache(tmp_path)
    kept(cache, {"a": 1}, 5.0)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:20])
    assert kept(cache, {"a": 1}, 6.0) == (6.0, True)
    assert kept(cache, {"a": 1}, 7.0) == (6.0, False)


@pytest.mark.parametrize("layout", ["sparse", "calochallenge"])
def test_showers_have_one_hash_wherever_they_are(electrons, layout, tmp_path):
    cf.write(tmp_path / "some name.h5", electrons, layout=layout)
    with cf.open_showers(tmp_path / "some name.h5") as file:
        assert content_hash(file) == content_hash(electrons)


def test_any_change_of_the_showers_changes_their_hash(electrons):
    energy = electrons.energy.copy()
    energy[17] = np.nextafter(energy[17], np.float32(np.inf))
    incident = electrons.energy_inc.copy()
    incident[3] *= 2
    shifted = dataclasses.replace(electrons.geometry, threshold=1.0)
    changed = [
        electrons,
        electrons[:-1],
        electrons[::-1],
        dataclasses.replace(electrons, energy=energy),
        dataclasses.replace(electrons, energy_inc=incident),
        dataclasses.replace(electrons, geometry=shifted),
    ]
    assert len({content_hash(showers) for showers in changed}) == len(changed)


def test_a_sample_comes_back_as_it_was(electrons, tmp_path):
    sample = Sample.of(electrons)
    back = unpack(pack(sample), electrons, sample.threshold)
    for group in ("features", "moments"):
        assert list(getattr(back, group)) == list(getattr(sample, group))
        for name, values in getattr(sample, group).items():
            np.testing.assert_array_equal(getattr(back, group)[name], values)
    np.testing.assert_array_equal(back.spectrum.counts, sample.spectrum.counts)
    np.testing.assert_array_equal(back.profiles["r"].energy, sample.profiles["r"].energy)
    np.testing.assert_array_equal(back.events.energy, sample.events.energy)
    np.testing.assert_array_equal(back.mean_shower, sample.mean_shower)


class Counted:
    """Counts how often metrics compare and samples are described."""

    def __init__(self, monkeypatch):
        from caloforge.evaluation import work

        self.calls: list[str] = []
        self.stop_after = -1
        measure, of = work.measure, Sample.of

        def counted_measure(metric, *args, **kwargs):
            if len(self.calls) == self.stop_after:
                raise KeyboardInterrupt
            self.calls.append(metric.name)
            return measure(metric, *args, **kwargs)

        def counted_of(*args, **kwargs):
            self.calls.append("sample")
            return of(*args, **kwargs)

        monkeypatch.setattr(work, "measure", counted_measure)
        monkeypatch.setattr(Sample, "of", counted_of)

    def since(self):
        calls, self.calls = sorted(self.calls), []
        return calls


def test_one_more_candidate_costs_only_itself(electrons, tmp_path, monkeypatch):
    counted = Counted(monkeypatch)
    hotter = dataclasses.replace(electrons, energy=electrons.energy * np.float32(1.1))
    settings = {"metrics": ["separation", "wasserstein"], "cache": tmp_path}
    first = evaluate(electrons, {"one": hotter}, **settings)
    # the floor and the candidate, for both metrics; the reference's and the candidate's sample
    assert counted.since() == ["sample"] * 2 + ["separation"] * 2 + ["wasserstein"] * 2
    again = evaluate(electrons, {"renamed": hotter}, **settings)
    assert counted.since() == []
    third = evaluate(electrons, {"one": hotter, "two": electrons}, **settings)
    assert counted.since() == ["sample", "separation", "wasserstein"]
    evaluate(electrons, {"one": hotter}, **settings, seed=1)
    assert counted.since() == ["separation"] * 2 + ["wasserstein"] * 2
    fresh = evaluate(electrons, {"one": hotter}, metrics=settings["metrics"])
    for one, other in zip(first.values, fresh.values, strict=True):
        assert one == other
    for one, other in zip(first.values, again.values, strict=True):
        assert dataclasses.replace(other, candidate="one") == one
    assert [v for v in third.values if v.candidate == "one"] == list(first.values)


def test_candidates_of_one_length_share_a_floor_that_is_taken_once(electrons, monkeypatch):
    counted = Counted(monkeypatch)
    candidates = {"one": electrons, "two": electrons[::-1], "shorter": electrons[:60]}
    evaluate(electrons, candidates, metrics=["separation"])
    # three candidates, the floor of 120 showers and that of 60
    assert counted.since() == ["sample"] * 4 + ["separation"] * 5


def test_an_interrupted_classifier_test_goes_on_with_the_next_run(electrons, tmp_path, monkeypatch):
    counted = Counted(monkeypatch)
    counted.stop_after = 2 + 7  # two samples, five runs of the floor and two of the candidate
    settings = {"metrics": ["small-shower"], "cache": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        evaluate(electrons, {"one": electrons[::-1]}, **settings)
    counted.since()
    counted.stop_after = -1
    resumed = evaluate(electrons, {"one": electrons[::-1]}, **settings)
    assert counted.since() == ["small-shower"] * 3
    fresh = evaluate(electrons, {"one": electrons[::-1]}, metrics=["small-shower"])
    assert resumed.values == fresh.values


def test_outputs_of_classifiers_are_kept_as_well(electrons, tmp_path):
    settings = {"metrics": ["small-shower"], "cache": tmp_path}
    first = evaluate(electrons, {"one": electrons[::-1]}, **settings)
    again = evaluate(electrons, {"one": electrons[::-1]}, **settings)
    for side in ("reference", "candidate"):
        np.testing.assert_array_equal(
            *(getattr(scores.outputs["small-shower", "one"], side) for scores in (first, again))
        )
