"""Distillation of CaloDREAM's shape network: what it begins as, learns and offers."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

import caloforge as cf
from caloforge.cascade import SamplingOptions, ShowerQuantities, System, build
from caloforge.matching import DrawnHits, FlowMap, hit_spread
from caloforge.showers import VoxelShowers
from caloforge.stages.shape import ShapeStage
from caloforge.systems.calodream.distilled import DistilledStage


@pytest.fixture(scope="module")
def distilled(calodream_run: Path) -> tuple[System, DistilledStage]:
    system = cf.load(calodream_run)
    stage = system.stages["distilled"]
    assert isinstance(stage, DistilledStage)
    return system, stage


def test_a_distilled_network_begins_as_its_teacher(bundled: VoxelShowers) -> None:
    """The mean velocity of a jump is the velocity at its start, whatever its end."""
    recipe = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    system = build(
        "calodream/tiny", bundled.geometry, overrides={"distillation": {"recipe": recipe}}
    )
    teacher, student = ShapeStage.of(system.stages, "shape"), system.stages["distilled"]
    for weights in teacher.parameters():
        torch.nn.init.normal_(weights, std=0.1)
    student.fit(None, system.upstream("distilled"), None)
    x, context = torch.randn(4, *teacher.shape), torch.randn(4, 46)
    start, end = torch.tensor([0.0, 0.25, 0.5, 0.75]), torch.ones(4)
    expected = teacher.velocity(x, start, context)
    assert expected.any()
    found = student.mean_velocity(x, torch.stack([start, end], 1), context)
    torch.testing.assert_close(found, expected)


def test_a_distilled_network_is_a_solver_of_the_shape(
    distilled: tuple[System, DistilledStage],
) -> None:
    system, _ = distilled
    solver = ShapeStage.of(system.stages, "shape").solver(SamplingOptions(solver="distilled-2"))
    assert solver.n_evaluations == 2
    assert system.passes(SamplingOptions(solver="distilled-1"))["shape"] == 1
    with pytest.raises(ValueError, match=r"distilled-1"):
        system.chosen(SamplingOptions(solver="distilled-3"))
    one, two, full = (
        system.generate([5e4] * 3, seed=1, options=SamplingOptions(solver=name)).dense()
        for name in ("distilled-1", "distilled-2", None)
    )
    assert not (one == two).all()
    assert not (two == full).all()


def test_distillation_learns_from_trajectories_alone(
    distilled: tuple[System, DistilledStage], bundled: VoxelShowers, generator: torch.Generator
) -> None:
    system, stage = distilled
    assert "showers" not in (*stage.reads, *stage.writes)
    quantities = ShowerQuantities(bundled[:6], stage.reads).all()
    batch = stage.batch(quantities, system.upstream("distilled"), generator)
    assert len(batch["start"]) == 3 * 6  # one jump to the end, two of half of it
    assert stage.loss(batch, generator) > 0


def test_unequal_jumps_are_refused(bundled: VoxelShowers) -> None:
    recipe = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    overrides = {"distillation": {"recipe": recipe, "steps": 4, "solver": "midpoint-6"}}
    with pytest.raises(ValueError, match=r"a multiple of 4, such as midpoint-8, got 'midpoint-6'"):
        build("calodream/tiny", bundled.geometry, overrides=overrides)


def test_one_step_draws_hits_whose_spread_is_kept(
    distilled: tuple[System, DistilledStage], calodream_run: Path
) -> None:
    """The spread is that of training, not 1 as at its beginning, and comes back from the disk."""
    _, stage = distilled
    assert isinstance(stage.solvers["distilled-1"], DrawnHits)
    assert isinstance(stage.solvers["distilled-2"], FlowMap)
    assert 0 < stage.spread < 10
    assert stage.spread != 1
    again = cf.load(calodream_run).stages["distilled"]
    assert isinstance(again, DistilledStage)
    assert again.spread == stage.spread


def test_the_spread_is_a_moving_average_over_steps(
    distilled: tuple[System, DistilledStage], bundled: VoxelShowers, generator: torch.Generator
) -> None:
    """A step moves it by a twentieth of the way to the spread of its own hits."""
    system, trained = distilled
    stage = copy.deepcopy(trained).train().requires_grad_(False)
    quantities = ShowerQuantities(bundled[:6], stage.reads).all()
    batch = stage.batch(quantities, system.upstream("distilled"), generator)
    noise, end, times, context = (batch[name][:6] for name in ("start", "end", "times", "context"))
    of_step = hit_spread(noise + stage.mean_velocity(noise, times, context), end)
    before = float(of_step) + 2
    stage.spread.fill_(before)
    stage.loss(batch, generator)
    assert float(stage.spread) == pytest.approx(before - 2 / 20, rel=1e-5)


def test_hits_are_drawn_where_pixels_are_hits(bundled: VoxelShowers) -> None:
    recipe = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    overrides = {"distillation": {"recipe": recipe, "ending": "drawn"}, "shape.pixels": "shares"}
    with pytest.raises(ValueError, match=r"choose distillation.ending 'mean'"):
        build("calodream/tiny", bundled.geometry, overrides=overrides)
