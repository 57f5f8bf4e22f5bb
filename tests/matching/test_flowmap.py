"""Flow maps: jumps along trajectories, and networks that make them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from caloforge.matching import EULER, MIDPOINT, RK4, FlowMap, RungeKutta, flow_map_loss, jumps


def growth(x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
    """dx/dt = c x, of which x(t) = x(s) exp(c (t - s)) is known."""
    assert context is not None
    return context * x


def exact(x: Tensor, times: Tensor, context: Tensor | None) -> Tensor:
    """Its mean velocity from s to t."""
    assert context is not None
    duration = (times[:, 1] - times[:, 0])[:, None]
    return x * torch.expm1(context * duration) / duration


@pytest.fixture
def start(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    noise = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    return noise, torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]


def test_jumps_join_points_of_one_trajectory(start: tuple[Tensor, Tensor]) -> None:
    noise, context = start
    found = jumps(growth, noise, context, solver=RungeKutta(RK4, 8), largest=4)
    pieces = [(0, 4), (0, 2), (2, 4), (0, 1), (1, 2), (2, 3), (3, 4)]
    assert len(found.start) == 5 * len(pieces)
    expected = torch.tensor(pieces, dtype=torch.float64).repeat_interleave(5, 0) / 4
    assert found.times.equal(expected)
    assert found.context is not None
    for point, t in ((found.start, found.times[:, :1]), (found.end, found.times[:, 1:])):
        solution = noise.repeat(7, 1) * torch.exp(found.context * t)
        torch.testing.assert_close(point, solution, rtol=1e-5, atol=0)
    torch.testing.assert_close(
        found.velocity, exact(found.start, found.times, found.context), rtol=1e-4, atol=1e-6
    )


def test_jumps_follow_the_solver_that_they_are_given(start: tuple[Tensor, Tensor]) -> None:
    noise, context = start
    (end,) = jumps(growth, noise, context, solver=RungeKutta(EULER, 1), largest=1).end[None]
    torch.testing.assert_close(end, noise * (1 + context))


def test_the_loss_vanishes_for_the_exact_map_alone(start: tuple[Tensor, Tensor]) -> None:
    found = jumps(growth, *start, solver=RungeKutta(RK4, 64), largest=4)
    assert flow_map_loss(exact, found) < 1e-16
    other = flow_map_loss(lambda x, times, c: exact(x, times, c) + 0.5, found)
    assert math.isclose(other.item(), 0.25, rel_tol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_the_exact_map_is_exact_in_any_number_of_steps(
    steps: int, start: tuple[Tensor, Tensor]
) -> None:
    noise, context = start
    solver = FlowMap(exact, steps)
    torch.testing.assert_close(solver(growth, noise, context), noise * context.exp())
    assert solver.n_evaluations == steps


def test_a_flow_map_knows_the_times_of_its_jumps(start: tuple[Tensor, Tensor]) -> None:
    seen = []

    def still(x: Tensor, times: Tensor, context: Tensor | None) -> Tensor:
        seen.append(times[0].tolist())
        return torch.zeros_like(x)

    noise, context = start
    assert FlowMap(still, 4)(growth, noise, context).equal(noise)
    assert seen == [[0, 0.25], [0.25, 0.5], [0.5, 0.75], [0.75, 1]]


@pytest.mark.parametrize(("largest", "steps"), [(3, 6), (4, 6), (0, 4), (8, 4)])
def test_pieces_that_do_not_fit_are_refused(
    largest: int, steps: int, start: tuple[Tensor, Tensor]
) -> None:
    with pytest.raises(ValueError, match="power of two that divides"):
        jumps(growth, *start, solver=RungeKutta(MIDPOINT, steps), largest=largest)
