"""Every score and its floor: equal samples are at the floor, different ones are not."""

from __future__ import annotations

import dataclasses
import json
import warnings

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import EvaluationWarning, SmallSampleWarning, separation_powers
from caloforge.evaluation.comparison import subsamples
from caloforge.jobs import Serial
from caloforge.showers import UnitsWarning

pytestmark = [
    pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning"),
    pytest.mark.filterwarnings("ignore::caloforge.evaluation.SharedShowersWarning"),
]
DISTANCES = ("separation", "wasserstein")


def with_energy(showers, energy):
    return dataclasses.replace(showers, energy=energy)


@pytest.fixture(scope="module")
def test_file(shared_data):
    return shared_data / "electrons-1-100GeV_calochallenge-2_test.h5"


@pytest.fixture(scope="module")
def reference(test_file):
    return cf.read(test_file)[:1200]


@pytest.fixture(scope="module")
def others(shared_data):
    return cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_train.h5")[:2400]


@pytest.fixture(scope="module")
def scores(reference, others):
    """More Geant4 showers, and three distortions of yet others."""
    first, second = others[:1200], others[1200:]
    geometry = first.geometry
    in_layer = geometry.voxel_layer[second.index] == 8
    at_rim = geometry.voxel_r[second.index] > 5
    return cf.evaluate(
        reference,
        {
            "more Geant4": first,
            "energy": with_energy(second, 1.3 * second.energy),
            "wider": with_energy(second, np.where(at_rim, 1.3, 0.9) * second.energy),
            "layer 8": with_energy(second, np.where(in_layer, 4 * second.energy, second.energy)),
        },
        metrics=DISTANCES,
        seed=3,
    )


def excesses(scores, candidate):
    return np.array([value.excess for value in scores.values if value.candidate == candidate])


def test_other_geant4_showers_stay_at_the_floor(scores):
    found = excesses(scores, "more Geant4")
    assert np.all(np.abs(found) < 4)
    assert abs(found.mean()) < 1


def test_more_energy_leaves_the_floor_where_energy_is_looked_at(scores):
    for observable in (
        ("separation", "E_tot"),
        ("separation", "E_layer"),
        ("separation", "voxel"),
        ("wasserstein", "energy_ratio"),
        ("wasserstein", "spectrum"),
    ):
        assert scores[(*observable, "energy")].excess > 2.5, observable
    assert scores["wasserstein", "z_mean", "energy"].excess < 3


def test_wider_showers_leave_the_floor_where_width_is_looked_at(scores):
    for observable in (
        ("separation", "width_r"),
        ("separation", "EC_r"),
        ("wasserstein", "r_profile"),
        ("wasserstein", "x_std"),
    ):
        assert scores[(*observable, "wider")].excess > 3, observable


def test_the_distorted_layer_is_the_one_that_stands_out(scores):
    found = scores["separation", "E_layer", "layer 8"]
    above = np.array(found.layers) - found.floor_layers
    assert len(found.layers) == 45
    assert above.argmax() == 8


def test_candidates_of_one_length_share_the_floor_and_the_sample_size(scores):
    for _, _, row in scores.rows():
        assert len(row) == 4
        assert len({(value.floor, value.floor_error) for value in row}) == 1
        assert {value.n_showers for value in row} == {600}


def test_a_shorter_candidate_is_compared_with_as_many_geant4_showers(reference, others):
    found = cf.evaluate(
        reference, {"short": others[:200], "long": others[:1500]}, metrics=["separation"]
    )
    short, long = (found["separation", "E_tot", name] for name in ("short", "long"))
    assert (short.n_showers, long.n_showers) == (200, 600)
    assert short.floor > 2 * long.floor


def test_the_floor_of_the_separation_falls_as_one_over_the_number_of_showers(scores, reference):
    few = cf.evaluate(reference[:300], {"few": reference[:300]}, metrics=["separation"])
    ratio = few["separation", "width_r", "few"].floor / scores.rows()[-1][2][0].floor
    assert scores.rows()[-1][:2] == ("separation", "width_r")
    assert 2.5 < ratio < 4.5


def test_the_halves_of_a_draw_are_disjoint_and_independent_of_the_candidate():
    sets = [
        list(subsamples(100, n, size=50, repeats=4, seed=1, paired=paired))
        for n, paired in ((100, True), (80, False))
    ]
    for one, other in zip(*sets, strict=True):
        assert not set(one.reference) & set(one.other)
        assert len(set(one.reference)) == len(set(one.other)) == 50
        np.testing.assert_array_equal(one.reference, other.reference)
        np.testing.assert_array_equal(one.candidate, one.other)
        assert len(set(other.candidate)) == 50
        assert other.candidate.max() < 80
    assert len({rows.reference[0] for rows in sets[0]}) > 1


def test_a_candidate_equal_to_the_reference_scores_exactly_the_floor(reference):
    found = cf.evaluate(reference, {"itself": reference}, metrics=DISTANCES)
    for value in found.values:
        assert value.value == pytest.approx(value.floor, nan_ok=True)


def test_energies_below_the_threshold_change_nothing_and_others_do(reference):
    raised = {"raised": reference.above(5.0)}
    found = cf.evaluate(reference, raised, threshold=5.0, metrics=["wasserstein"])
    seen = cf.evaluate(reference, raised, metrics=["wasserstein"])
    assert found["wasserstein", "occupancy", "raised"].excess == pytest.approx(0)
    assert seen["wasserstein", "occupancy", "raised"].excess > 3


def test_a_file_gives_the_scores_of_its_showers_in_memory(test_file, others):
    candidates = {"more": others[:500]}
    with cf.open_showers(test_file) as file:
        streamed = cf.evaluate(file, candidates, metrics=DISTANCES)
    loaded = cf.evaluate(cf.read(test_file), candidates, metrics=DISTANCES)
    assert streamed.values == loaded.values
    assert streamed.provenance["reference"]["file"] == test_file.name
    assert "Geant4 11.4" in streamed.provenance["reference"]["generator"]


def test_the_classifier_stands_in_the_table_beside_its_floor(reference, others):
    found = cf.evaluate(
        reference[:400],
        {"energy": with_energy(others[:200], 1.3 * others[:200].energy)},
        metrics=["small-shower", "small-layers"],
        seed=5,
    )
    auc = found["small-shower", "auc", "energy"]
    assert auc.n_showers == 200
    assert auc.value > 0.9
    assert auc.floor == pytest.approx(0.5, abs=0.1)
    assert not auc.comparable
    assert {(value.metric, value.observable) for value in found.values} == {
        (protocol, observable)
        for protocol in ("small-shower", "small-layers")
        for observable in ("auc", "jsd")
    }
    outputs = found.outputs["small-shower", "energy"]
    assert outputs.reference.mean() > 0.8 > 0.2 > outputs.candidate.mean()


@pytest.mark.filterwarnings("ignore:.*no shower of the candidate has a value")
def test_generators_that_fail_altogether_are_scored_as_failed(reference, monkeypatch):
    monkeypatch.setattr("caloforge.evaluation.metrics.high_level.FrechetPhysicsDistance.repeats", 1)
    reference = reference[:200]
    n = len(reference)
    nothing, ones = np.zeros(n + 1, int), np.arange(n + 1)
    geometry, inc = reference.geometry, reference.energy_inc
    candidates = {
        "empty": cf.VoxelShowers(inc, nothing, nothing[:0], inc[:0], geometry),
        "one voxel": cf.VoxelShowers(inc, ones, np.full(n, 700), np.full(n, 5.0), geometry),
        "huge": with_energy(reference, 1000 * reference.energy),
    }
    with pytest.warns(UnitsWarning, match="huge: showers deposit 9.. times their incident energy"):
        found = cf.evaluate(reference, candidates)
    for name in ("empty", "one voxel", "huge"):
        assert found["small-shower", "auc", name].value > 0.99
        assert found["wasserstein", "energy_ratio", name].excess > 100
        assert found["separation", "E_tot", name].value == pytest.approx(1)
    assert found["wasserstein", "r_profile", "huge"].excess == pytest.approx(0, abs=1e-3)
    json.loads(found.to_json())


def test_other_incident_energies_are_pointed_out(reference, others):
    high = others[others.energy_inc > 2e4]
    with pytest.warns(EvaluationWarning, match="incident energies of high are not distributed"):
        cf.evaluate(reference, {"high": high}, metrics=["separation"])


def test_small_samples_are_pointed_out(reference):
    with pytest.warns(SmallSampleWarning, match="100 showers are compared with 100"):
        cf.evaluate(reference[:200], {"few": reference[:200]}, metrics=["separation"])


def test_what_cannot_be_compared_is_refused(reference, shared_data):
    with pytest.raises(ValueError, match="at least one candidate"):
        cf.evaluate(reference, {})
    with pytest.raises(ValueError, match="got \\['fid'\\]"):
        cf.evaluate(reference, {"a": reference}, metrics=["fid"])
    with pytest.raises(ValueError, match="names the reference"):
        cf.evaluate(reference, {"Geant4": reference})
    with pytest.raises(ValueError, match="a has 19 showers"):
        cf.evaluate(reference, {"a": reference[:19]})
    with (
        cf.open_showers(shared_data / "photons-10-100GeV_ild-30_test.h5") as photons,
        pytest.raises(ValueError, match=r"a has showers of ild-30.*calochallenge-2"),
    ):
        cf.evaluate(reference, {"a": photons})
    with pytest.raises(ValueError, match="no voxel above the threshold"):
        cf.evaluate(reference, {"a": reference}, threshold=1e9)


def test_other_geant4_showers_let_the_whole_reference_be_compared(reference, others):
    candidates = {"more Geant4": others[1200:], "energy": with_energy(others, 1.3 * others.energy)}
    found = cf.evaluate(reference, candidates, other=others[:1200], metrics=DISTANCES, seed=2)
    assert {value.n_showers for value in found.values} == {1200}
    more = np.array([v.excess for v in found.values if v.candidate == "more Geant4"])
    assert np.all(np.abs(more) < 5)
    assert abs(more.mean()) < 1
    assert found["separation", "E_tot", "energy"].excess > 5
    whole = separation_powers(reference, others[1200:])
    assert found["separation", "voxel", "more Geant4"].value == pytest.approx(whole["voxel"])
    assert found["separation", "width_r", "more Geant4"].layers == pytest.approx(
        tuple(whole["width_r"])
    )
    assert found.provenance["other"] == {"n_showers": 1200}


def test_progress_counts_every_step(reference):
    steps = []
    cf.evaluate(
        reference[:100],
        {"a": reference[:50], "b": reference[50:100]},
        metrics=["separation"],
        progress=steps.append,
    )
    assert [step.done for step in steps] == list(range(5))
    assert {step.total for step in steps} == {5}
    assert steps[-1].task == "separation of b"


def test_progress_of_a_classifier_counts_runs_and_epochs(reference):
    steps = []
    candidates = {"a": reference[:50]}
    cf.evaluate(reference[:100], candidates, metrics=["small-shower"], progress=steps.append)
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(3)
    assert steps[-1].task == "small-shower of a, run 10 of 10, epoch 30 of 30"


def test_showers_in_double_precision_are_compared_with_those_in_single(reference):
    double = dataclasses.replace(reference, energy=reference.energy.astype(np.float64))
    found = cf.evaluate(reference, {"double": double}, metrics=["separation"])
    for value in found.values:
        assert value.value == pytest.approx(value.floor, abs=1e-3)


def test_a_fault_at_high_energy_alone_is_seen_there_alone(reference, others):
    """By condition: what the mean over all energies hides."""
    is_high = others.energy_inc > 30_000
    factor = np.where(is_high, 1.1, 1.0)[others.event()]
    scores = cf.evaluate(
        reference,
        {"high": with_energy(others, (factor * others.energy).astype(np.float32))},
        metrics=["wasserstein"],
        by="energy:3",
        seed=3,
    )
    found = scores.conditions()
    assert len(found) == 3
    ratio = [
        row[0]
        for rows in found.values()
        for _, observable, row in rows
        if observable == "energy_ratio"
    ]
    assert [score.n_showers for score in ratio] == [200] * 3
    assert [score.mark for score in ratio] == ["floor", "floor", "far"]
    assert len(scores.by_condition) == 3 * len(scores.values)
    text = scores.to_markdown()
    assert all(label in text for label in found)
    assert text.count(f"**{ratio[2].text()} (") == 1
    assert scores.to_csv().count(ratio[2].condition) == len(scores.values)
    record = json.loads(scores.to_json())["by_condition"]
    assert {entry["condition"] for entry in record} == set(found)


def test_conditions_that_cannot_be_taken_are_refused(reference, others):
    for by, words in (
        ("mass", "by must be among kind, direction, energy, .* got 'mass'"),
        ("energy:0", "such as energy:4"),
        ("direction", "by=direction leaves one range"),
        ("energy:40", "by=energy:40 leaves 30 showers of the reference in a range"),
    ):
        with pytest.raises(ValueError, match=words):
            cf.evaluate(reference, {"a": others}, metrics=["wasserstein"], by=by)


@pytest.mark.filterwarnings("ignore::caloforge.evaluation.EvaluationWarning")
@pytest.mark.parametrize("processes", [Serial(), 2], ids=["in this process", "in two"])
def test_metrics_as_tasks_give_the_same_scores_and_warnings(
    test_file, reference, tmp_path, processes
):
    """Of an open file and of showers in memory; a high threshold leaves values unknown."""
    settings = {"metrics": ["worth", "separation", "small-shower"], "by": "energy:2"}
    high = reference[np.flatnonzero(reference.energy_inc > 2e4)[:200]]

    def scored(processes, cache):
        with cf.open_showers(test_file) as file, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            candidates = {"file": file, "memory": high[160:]}
            found = cf.evaluate(
                high[:160], candidates, **settings,
                threshold=300.0, processes=processes, cache=cache,
            )  # fmt: skip
        record = json.loads(found.to_json())
        del record["provenance"]["date"]
        return record, sorted(str(warning.message) for warning in caught), found.outputs

    record, said, outputs = scored(1, None)
    again, also_said, same_outputs = scored(processes, None)
    assert again == record
    assert also_said == said
    assert any("not determined" in text for text in said)
    for key, output in outputs.items():
        np.testing.assert_array_equal(same_outputs[key].candidate, output.candidate)
    # where results are kept, the same are found next time
    assert scored(processes, tmp_path)[0] == record
    kept = {path.name for path in tmp_path.iterdir()}
    assert scored(1, tmp_path)[0] == record
    assert {path.name for path in tmp_path.iterdir()} == kept
