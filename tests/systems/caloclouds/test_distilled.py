"""One step instead of many: what the distilled network begins with, follows and reaches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from caloforge.cascade import Quantities, SamplingOptions, ShowerQuantities, Stage
from caloforge.cascade.recipe import Recipe
from caloforge.cascade.seeds import Seeds
from caloforge.diffusion import NoiseLevels
from caloforge.showers import PointShowers
from caloforge.systems.caloclouds.conditions import CloudConditions
from caloforge.systems.caloclouds.config import (
    CaloCloudsConfig,
    Distillation,
    EncoderConfig,
    LatentFlowConfig,
    PointsConfig,
    ShowerFlowConfig,
)
from caloforge.systems.caloclouds.distilled import DistilledStage
from caloforge.systems.caloclouds.points import PointsStage

RECIPE = Recipe(epochs=1, batch_size=4, learning_rate=1e-3)
CONFIG = CaloCloudsConfig(
    ShowerFlowConfig(RECIPE),
    LatentFlowConfig(RECIPE),
    PointsConfig(
        RECIPE,
        EncoderConfig(latent=3, hidden=8, layers=1),
        hidden=(16, 32, 16),
        process="edm",
        energy="log",
        levels=NoiseLevels(lowest=0.02, highest=5.0),
        solver="heun-20",
        max_points=64,
    ),
    Distillation(RECIPE, intervals=6, target=0.75, max_points=128, draws=8),
)


@pytest.fixture(scope="module")
def sample(bundled_points: PointShowers) -> PointShowers:
    return bundled_points[:6]


@pytest.fixture(scope="module")
def quantities(sample: PointShowers) -> Quantities:
    names = ("energy_inc", "n_points", "points")
    return ShowerQuantities(sample, names).all()


@pytest.fixture(scope="module")
def upstream(sample: PointShowers) -> dict[str, Stage]:
    """What the teacher needs."""
    conditions = CloudConditions(directed=False)
    conditions.fit(ShowerQuantities(sample, conditions.learns), {}, torch.Generator())
    return {"conditions": conditions}


@pytest.fixture
def stages(sample: PointShowers, upstream: dict[str, Stage]) -> tuple[PointsStage, DistilledStage]:
    """A teacher of strong weights, as if it had learned something, and its student."""
    conditions = upstream["conditions"]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        teacher = PointsStage(CONFIG, sample.geometry, conditions)
        student = DistilledStage(CONFIG, teacher)
    for weights in teacher.network.parameters():
        weights.data.mul_(2)
    known = ShowerQuantities(sample, teacher.learns)
    teacher.fit(known, upstream, torch.Generator().manual_seed(1))
    student.fit(known, {**upstream, "points": teacher}, torch.Generator().manual_seed(1))
    teacher.trained_solvers = student.solvers
    return teacher.eval().requires_grad_(False), student.train()


def drawn(
    teacher: PointsStage, upstream: dict[str, Stage], quantities: Quantities, solver: str
) -> Tensor:
    """Points from the same noise, scaled."""
    rng = torch.Generator().manual_seed(5)
    latent = torch.randn(len(quantities["energy_inc"]), 3, generator=rng)
    context = teacher.context({**quantities, "latent": latent}, upstream)
    n_points, options = quantities["n_points"], teacher.chosen({"solver": solver})
    seeds = Seeds.of(5, range(len(n_points)))
    noise = {
        "z": seeds.normal_rows(n_points, 4),
        "keys": seeds.as_tensor(),
        "counts": n_points,
    }
    found = teacher.sampled(noise, context, options)
    assert teacher.features is not None
    return teacher.features(teacher.frame(found))


def test_it_begins_as_its_teacher(stages: tuple[PointsStage, DistilledStage]) -> None:
    teacher, student = stages
    for name, weights in student.network.named_parameters():
        assert weights.equal(teacher.network.get_parameter(name))
        assert student.get_buffer(f"target_{name.replace('.', '_')}").equal(weights)


def test_the_target_follows_in_training_and_rests_in_validation(
    stages: tuple[PointsStage, DistilledStage],
    upstream: dict[str, Stage],
    quantities: Quantities,
    generator: torch.Generator,
) -> None:
    teacher, student = stages
    name, weights = next(iter(student.network.named_parameters()))
    before = student.get_buffer(f"target_{name.replace('.', '_')}").clone()
    weights.data.add_(1.0)
    upstream = {**upstream, "points": teacher}
    student.eval().batch(quantities, upstream, generator)
    target = student.get_buffer(f"target_{name.replace('.', '_')}")
    assert target.equal(before)
    student.train().batch(quantities, upstream, generator)
    torch.testing.assert_close(target, before + 0.25)


def test_only_the_student_learns(
    stages: tuple[PointsStage, DistilledStage],
    upstream: dict[str, Stage],
    quantities: Quantities,
    generator: torch.Generator,
) -> None:
    teacher, student = stages
    batch = student.batch(quantities, {**upstream, "points": teacher}, generator)
    student.loss(batch, generator).backward()
    assert all(weights.grad is not None for weights in student.parameters())
    assert len(list(student.parameters())) == len(list(teacher.network.parameters()))


def test_training_takes_one_jump_to_where_the_teacher_goes_in_many(
    stages: tuple[PointsStage, DistilledStage],
    upstream: dict[str, Stage],
    quantities: Quantities,
    generator: torch.Generator,
) -> None:
    teacher, student = stages
    wanted = drawn(teacher, upstream, quantities, "heun-20")

    def distance() -> float:
        return float(
            (drawn(teacher, upstream, quantities, "consistency-1") - wanted).square().mean()
        )

    before = distance()
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    for _ in range(150):
        batch = student.batch(quantities, {**upstream, "points": teacher}, generator)
        loss = student.loss(batch, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert distance() < before / 3


@pytest.mark.parametrize("jumps", [1, 2])
def test_the_points_stage_draws_with_it(
    jumps: int,
    stages: tuple[PointsStage, DistilledStage],
    upstream: dict[str, Stage],
    quantities: Quantities,
) -> None:
    teacher, student = stages
    solver = f"consistency-{jumps}"
    assert teacher.solver(SamplingOptions(solver=solver)).n_evaluations == jumps
    before = drawn(teacher, upstream, quantities, solver)
    student.network.layers[0].layer.bias.data.add_(1.0)
    assert not torch.allclose(drawn(teacher, upstream, quantities, solver), before)


def test_itself_it_draws_nothing(
    stages: tuple[PointsStage, DistilledStage], quantities: Quantities
) -> None:
    _, student = stages
    assert student.writes == ()
    assert student.decode({}, quantities, {}, SamplingOptions()) == {}


@pytest.mark.parametrize(
    "settings", [{"max_points": 10, "draws": 3}, {"intervals": 0}, {"target": 1.0}]
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Distillation(RECIPE, **settings)  # type: ignore[arg-type]
