"""Systems prepare their stages once and sample the same showers from then on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import caloforge as cf
from caloforge.cascade import System
from caloforge.cascade.seeds import Seeds
from caloforge.nets import Preparable
from caloforge.showers import PointShowers, Showers

ENERGIES = np.full(6, 2e4, dtype=np.float32)


@pytest.fixture(params=["run", "supercalo_run", "calodream_run", "caloclouds_run"])
def system(request: pytest.FixtureRequest) -> System:
    return cf.load(request.getfixturevalue(request.param))


def voxels(sampled: Showers) -> np.ndarray:
    """Energies in the voxels, of points in those they fall into."""
    return (
        sampled.project(sampled.geometry) if isinstance(sampled, PointShowers) else sampled
    ).dense()


def showers(system: System, seed: int = 1) -> np.ndarray:
    return voxels(system.generate(ENERGIES, seed=seed, batch_size=4))


def prepared(system: System) -> list[object]:
    """What the networks of all stages computed for sampling."""
    modules = [module for stage in system.stages.values() for module in stage.modules()]
    return [module._prepared for module in modules if isinstance(module, Preparable)]


def test_the_first_generation_prepares_every_stage(system: System) -> None:
    assert not any(stage.is_prepared for stage in system.stages.values())
    first = showers(system)
    kept = prepared(system)
    assert all(stage.is_prepared for stage in system.stages.values())
    assert np.array_equal(showers(system), first)
    # the second one has found everything ready
    assert all(now is before for now, before in zip(prepared(system), kept, strict=True))


def test_prepared_or_not_a_seed_gives_the_same_showers(system: System) -> None:
    plain = voxels(system.draw(ENERGIES[:4], seeds=Seeds.of(1, range(4))))
    assert not any(stage.is_prepared for stage in system.stages.values())
    prepared = showers(system)[:4]
    both = (plain > 0) & (prepared > 0)  # rounding may lift a voxel above the threshold
    assert np.count_nonzero((plain > 0) != (prepared > 0)) <= 1e-3 * plain.size
    np.testing.assert_allclose(prepared[both], plain[both], rtol=2e-2)
    assert np.median(np.abs(prepared[both] / plain[both] - 1)) < 1e-4
    assert not np.allclose(showers(system, seed=2)[:4], plain)


def test_training_mode_is_left_and_weights_that_changed_are_seen(system: System) -> None:
    before = showers(system)
    for stage in system.stages.values():
        stage.train()
        for parameter in stage.parameters():
            parameter.data.mul_(1.05)
    after = showers(system)
    assert not np.allclose(before, after)
    assert not any(stage.training for stage in system.stages.values())


def test_a_system_that_lies_there_already_stays_prepared(system: System) -> None:
    showers(system)
    system.to("cpu")
    assert all(stage.is_prepared for stage in system.stages.values())
    next(iter(system.stages.values())).to(torch.float32)  # as if it were moved
    assert not next(iter(system.stages.values())).is_prepared
    showers(system)
    assert all(stage.is_prepared for stage in system.stages.values())


def test_preparing_changes_neither_weights_nor_their_number(system: System) -> None:
    counts = system.n_parameters
    before = {name: stage.state_dict() for name, stage in system.stages.items()}
    showers(system)
    assert system.n_parameters == counts
    for name, stage in system.stages.items():
        state = stage.state_dict()
        assert state.keys() == before[name].keys()
        assert all(torch.equal(value, before[name][key]) for key, value in state.items())


def test_the_first_stage_that_draws_nan_is_named(system: System) -> None:
    """Though all are sampled before it is noticed, and NaN spreads to the later ones."""
    names = [n for n, s in system.stages.items() if s.writes and any(True for _ in s.parameters())]
    next(system.stages[names[1]].parameters()).data.fill_(math.nan)
    with pytest.raises(FloatingPointError, match=f"the stage {names[1]} sampled values"):
        showers(system)
