"""What stages and systems let a user choose is what they take, and nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping

import numpy as np
import pytest
import yaml
from test_runs import RUNS

import caloforge as cf
from caloforge.cascade import Choice, SamplingOptions, System
from caloforge.cascade.choices import POSTPROCESS, one_of, switch, united, whole_number
from caloforge.showers import PointShowers

ENERGIES = np.float32([3e4, 6e4])
STEPS = "2"  # for N, as in "rk4-N"


@pytest.fixture(params=RUNS)
def system(request: pytest.FixtureRequest) -> System:
    return cf.load(request.getfixturevalue(RUNS[request.param][0]))


def test_what_stands_by_default_is_what_a_choice_takes(system: System) -> None:
    for name, choice in system.choices.items():
        assert choice.read(choice.default) == choice.default, name
        assert json.loads(json.dumps(choice.default)) == choice.default, name
        assert choice.what, name
        assert "\n" not in choice.what, name
    assert system.chosen() == {name: c.default for name, c in system.choices.items()}
    assert system.passes() == system.sequential_passes


def test_a_system_offers_what_its_stages_do(system: System) -> None:
    for stage in system.stages.values():
        assert stage.choices.keys() <= system.choices.keys()
        assert stage.chosen(system.chosen()) == stage.chosen({})


def test_all_that_is_on_offer_is_taken_and_makes_showers(system: System) -> None:
    for name, choice in system.choices.items():
        assert choice.offered, name
        for offered in choice.offered:
            value = yaml.safe_load(offered.replace("N", STEPS))
            chosen = system.chosen({name: value})
            assert chosen[name] == choice.read(chosen[name]), offered
            assert system.chosen(chosen) == chosen, offered
            showers = system.generate(ENERGIES, seed=1, options={name: value})
            assert len(showers) == len(ENERGIES) * chosen.get("resample", 1), offered
            assert np.isfinite(showers.energy).all(), offered
            assert showers.energy.min(initial=1.0) > 0, offered


def test_a_choice_that_is_not_offered_is_refused_with_those_that_are(system: System) -> None:
    offered = ", ".join(system.choices) or "nothing"
    message = f"^{system.name} offers no choice of shape: what can be chosen is {offered}$"
    with pytest.raises(ValueError, match=message):
        system.stream(ENERGIES, seed=1, options={"shape": "round"})
    assert system.chosen({"shape": None}) == system.chosen()  # nothing was chosen


def test_a_slip_is_answered_with_what_is_meant(calodream_run: object) -> None:
    system = cf.load(calodream_run)
    with pytest.raises(ValueError, match=r"no choice of slover \(did you mean 'solver'\?\)"):
        system.chosen({"slover": "euler-2"})
    with pytest.raises(ValueError, match=r"cannot take solver='eulr-2': .*did you mean 'euler-"):
        system.chosen({"solver": "eulr-2"})
    assert {"bns-2", "distilled-1", "distilled-2"} <= set(system.choices["solver"].offered)


def test_a_mapping_chooses_as_options_do(caloclouds_run: object) -> None:
    system = cf.load(caloclouds_run)
    options = SamplingOptions(solver="heun-2", postprocess=False, precision=None)
    one, other = (
        system.generate(ENERGIES, seed=1, options=given)
        for given in (options, {"solver": "heun-2", "postprocess": False})
    )
    assert isinstance(one, PointShowers)
    assert np.array_equal(one.energy, other.energy)
    assert not np.array_equal(one.energy, system.generate(ENERGIES, seed=1).energy)


def test_options_are_kept_and_sent_as_they_are() -> None:
    options = SamplingOptions(solver="bns-8", resample=3)
    assert copy.deepcopy(options) == options == dict(options)
    assert json.loads(json.dumps(options)) == options
    assert (options.solver, options.resample) == ("bns-8", 3)
    with pytest.raises(AttributeError, match="nothing is chosen for precision"):
        _ = options.precision


@pytest.mark.parametrize(
    ("choice", "right", "wrong"),
    [
        (switch("on", default=True), {False: False}, [0, "false", 1.0]),
        (whole_number("steps", 1), {3: 3, np.int64(4): 4}, [0, -1, 2.5, True, "3"]),
        (one_of("bits", "32", "bf16"), {"bf16": "bf16", 32: "32"}, ["bf8", 16]),
    ],
)
def test_the_usual_kinds(choice: Choice, right: Mapping[object, object], wrong: list) -> None:
    for given, value in right.items():
        assert choice.read(given) == value
        assert type(choice.read(given)) is type(value)
    for given in wrong:
        with pytest.raises(ValueError, match=f"^expected .*, got '?{given}'?"):
            choice.read(given)


def test_two_stages_share_a_choice_or_call_theirs_differently() -> None:
    mine = switch("another", default=False)
    shared = united({"a": {"postprocess": POSTPROCESS}, "b": {"postprocess": POSTPROCESS}})
    assert shared == {"postprocess": POSTPROCESS}
    with pytest.raises(ValueError, match="stages a and b offer different choices of postprocess"):
        united({"a": {"postprocess": POSTPROCESS}, "b": {"postprocess": mine}})
