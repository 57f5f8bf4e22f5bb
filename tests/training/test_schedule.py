"""Learning rates and moving averages, against PyTorch and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from caloforge.cascade import Recipe
from caloforge.training.average import MovingAverage
from caloforge.training.schedule import follow_schedule, learning_rate


def recipe(**settings: object) -> Recipe:
    return Recipe(**{"epochs": 1, "batch_size": 1, "learning_rate": 3e-3, **settings})


@pytest.mark.parametrize("steps", [10, 97, 1000])
def test_one_cycle_is_that_of_pytorch(steps: int) -> None:
    """Learning rate and β1 at every step, and what Adam makes of them."""
    weights = [nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2)]
    theirs, ours = (torch.optim.AdamW([w], lr=1.0, weight_decay=0.1) for w in weights)
    chosen = torch.optim.lr_scheduler.OneCycleLR(theirs, max_lr=3e-3, total_steps=steps)
    for step in range(steps):
        follow_schedule(ours, recipe(), step, steps)
        (expected,), (found,) = theirs.param_groups, ours.param_groups
        assert found["lr"] == pytest.approx(expected["lr"], rel=1e-9)
        assert found["betas"] == pytest.approx(expected["betas"], rel=1e-12)
        for weight, optimizer in zip(weights, (theirs, ours), strict=True):
            optimizer.zero_grad()
            (weight * torch.tensor([1.0, step % 3])).sin().sum().backward()
            optimizer.step()
        if step < steps - 1:
            chosen.step()
    assert torch.allclose(*weights, rtol=1e-9, atol=0)


@pytest.mark.parametrize("schedule", ["exponential", "cosine", "triangular", "constant"])
def test_other_schedules_leave_the_momentum_at_adam_s_default(schedule: str) -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
    before = optimizer.param_groups[0]["betas"]
    chosen = recipe(schedule=schedule, initial_learning_rate=1e-5, final_learning_rate=1e-6)
    for step in range(5):
        follow_schedule(optimizer, chosen, step, 5)
        assert optimizer.param_groups[0]["betas"] == before


def test_exponential_falls_by_equal_factors() -> None:
    """From 1e-3 to 1e-6 over four steps: a factor of ten each (table 4)."""
    chosen = recipe(schedule="exponential", learning_rate=1e-3, final_learning_rate=1e-6)
    rates = [learning_rate(chosen, step, 4) for step in range(4)]
    assert rates == pytest.approx([1e-3, 1e-4, 1e-5, 1e-6])


def test_cosine_is_half_way_in_the_middle() -> None:
    chosen = recipe(schedule="cosine", learning_rate=1.0, final_learning_rate=0.2)
    rates = [learning_rate(chosen, step, 5) for step in range(5)]
    quarter = 0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2
    assert rates == pytest.approx([1.0, quarter, 0.6, 1.2 - quarter, 0.2])


def test_triangular_rises_falls_and_is_annihilated() -> None:
    """SuperCalo, section III B: 18 epochs up, 18 down, 4 further down by a factor of ten."""
    chosen = recipe(
        schedule="triangular",
        learning_rate=1e-3,
        initial_learning_rate=2e-5,
        final_learning_rate=2e-6,
        annihilation=0.1,
    )
    rates = [learning_rate(chosen, epoch, 41) for epoch in range(41)]
    assert rates[0] == pytest.approx(2e-5)
    assert rates[9] == pytest.approx((2e-5 + 1e-3) / 2)
    assert rates[18] == pytest.approx(1e-3)
    assert rates[36] == pytest.approx(2e-5)
    assert rates[38] == pytest.approx((2e-5 + 2e-6) / 2)
    assert rates[40] == pytest.approx(2e-6)


def test_triangular_cycles_lose_height() -> None:
    """SuperCalo, section IV: cycles of 10 epochs, the maximum 20 % lower each time."""
    chosen = recipe(
        schedule="triangular",
        learning_rate=2e-3,
        initial_learning_rate=5e-5,
        cycles=4,
        cycle_decay=0.8,
    )
    rates = [learning_rate(chosen, epoch, 41) for epoch in range(41)]
    assert rates[5::10] == pytest.approx([2e-3 * 0.8**k for k in range(4)])
    assert rates[::10] == pytest.approx([5e-5] * 5)


def test_constant_stays() -> None:
    assert {learning_rate(recipe(schedule="constant"), step, 7) for step in range(7)} == {3e-3}


@pytest.mark.parametrize(
    "schedule", ["one-cycle", "exponential", "cosine", "triangular", "constant"]
)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_schedule_s_stay_positive_and_below_the_maximum(schedule: str, steps: int) -> None:
    chosen = recipe(schedule=schedule, initial_learning_rate=1e-5, final_learning_rate=1e-6)
    for step in range(steps):
        assert 0 < learning_rate(chosen, step, steps) <= 3e-3


def test_average_follows_its_recursion() -> None:
    """average <- d average + (1 - d) weights with d = min(0.9, (1 + step) / (10 + step))."""
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    average = MovingAverage(layer, 0.9)
    expected = 1.0
    for step in range(1, 200):
        layer.weight.data.fill_(float(step))
        average.update(layer, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.values["weight"].item() == pytest.approx(expected, rel=1e-5)
    assert layer.weight.item() == 199


def test_an_average_of_few_steps_forgets_where_it_began() -> None:
    """d = 2/11, 3/12, 4/13 at first: of the initial weights 1.4 % are left, not 0.999³."""
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    average = MovingAverage(layer, 0.999)
    layer.weight.data.fill_(0.0)
    for step in (1, 2, 3):
        average.update(layer, step)
    assert average.values["weight"].item() == pytest.approx(2 / 11 * 3 / 12 * 4 / 13)


def test_swapping_twice_is_nothing() -> None:
    norm = nn.BatchNorm1d(3)
    average = MovingAverage(norm, 0.5)
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    norm(torch.randn(8, 3))
    norm.weight.data.fill_(4)
    changed = {key: value.clone() for key, value in norm.state_dict().items()}
    average.swap(norm)
    assert torch.equal(norm.weight, before["weight"])
    assert torch.equal(norm.running_mean, before["running_mean"])  # type: ignore[arg-type]
    average.swap(norm)
    assert all(torch.equal(value, changed[key]) for key, value in norm.state_dict().items())
