"""Diffusion where all is known: Gaussian data, whose denoiser and trajectories have a formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from caloforge.diffusion import (
    Consistency,
    MarkovChain,
    NoiseLevels,
    Preconditioned,
    consistency_loss,
    denoising_loss,
    euler,
    heun,
    multistep,
    neighbours,
    quadratic_schedule,
)

S = 0.7  # standard deviation of the data
LEVELS = NoiseLevels(lowest=0.01, highest=20.0)


def wide(sigma: Tensor, x: Tensor) -> Tensor:
    return sigma.reshape(-1, *[1] * (x.ndim - 1))


def ideal(x: Tensor, sigma: Tensor) -> Tensor:
    """The mean of N(0, S^2) given x = data + sigma noise."""
    return x * S**2 / (S**2 + wide(sigma, x).square())


def end(x: Tensor, sigma: Tensor | float, lowest: float) -> Tensor:
    """Where the trajectory through x leads: its spread is always that of data and noise."""
    if isinstance(sigma, Tensor):
        sigma = wide(sigma, x)
    return x * ((S**2 + lowest**2) / (S**2 + sigma**2)) ** 0.5


# ---------------------------------------------------------------- the chain


def test_the_published_schedule() -> None:
    """100 steps from 1e-4 to 0.02, the square roots in equal steps (CaloClouds, section 3.1)."""
    beta = quadratic_schedule(100, 1e-4, 0.02)
    assert beta[[0, -1]].tolist() == pytest.approx([1e-4, 0.02])
    roots = beta.sqrt().diff()
    torch.testing.assert_close(roots, roots.mean().expand(99))
    assert float(MarkovChain(beta).alpha_bar[-1]) == pytest.approx(
        math.exp(sum(math.log(1 - b) for b in beta.tolist()))
    )


@pytest.mark.parametrize("ends", [(0.0, 0.1), (0.2, 0.1), (0.1, 1.0)])
def test_schedules_that_are_none_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"0 < first <= last < 1"):
        quadratic_schedule(10, *ends)


def test_noise_added_at_once_is_that_of_all_steps(generator: torch.Generator) -> None:
    chain = MarkovChain(quadratic_schedule(20, 1e-3, 0.2))
    x = torch.full((50_000, 1), 3.0, dtype=torch.float64)
    slow = x
    for beta in chain.beta:
        z = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        slow = (1 - beta).sqrt() * slow + beta.sqrt() * z
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    fast = chain.noised(x, torch.full((len(x),), 19), noise)
    for statistic in (torch.mean, torch.std):
        assert float(statistic(slow)) == pytest.approx(float(statistic(fast)), abs=0.02)


def test_the_way_back_gives_the_data_of_an_ideal_network(generator: torch.Generator) -> None:
    """The mean of the noise is known for Gaussian data."""
    chain = MarkovChain(quadratic_schedule(200, 1e-4, 0.1))
    kept = dict(zip(chain.beta.tolist(), chain.alpha_bar.tolist(), strict=True))

    def epsilon(x: Tensor, beta: Tensor) -> Tensor:
        a = kept[float(beta)]
        return x * math.sqrt(1 - a) / (a * S**2 + 1 - a)

    noise = torch.randn(20_000, 2, generator=generator, dtype=torch.float64)

    def fresh(step: int) -> Tensor:
        return torch.randn(noise.shape, generator=generator, dtype=noise.dtype)

    x = chain.back(epsilon, noise, fresh)
    assert float(x.std()) == pytest.approx(S, rel=0.03)
    assert abs(float(x.mean())) < 0.02
    # the last step adds no noise
    one = MarkovChain(torch.tensor([0.5], dtype=torch.float64))
    still = one.back(lambda x, beta: torch.zeros_like(x), noise, lambda step: noise)
    torch.testing.assert_close(still, noise / math.sqrt(0.5))


# ---------------------------------------------------------------- continuous time


def test_the_grid_falls_from_the_highest_level_to_nothing() -> None:
    grid = LEVELS.grid(18)
    assert grid[[0, -2, -1]].tolist() == pytest.approx([20.0, 0.01, 0.0])
    assert len(grid) == 19
    assert (grid.diff() < 0).all()
    torch.testing.assert_close((grid[:-1] ** (1 / 7)).diff().diff(), torch.zeros(16).double())
    assert LEVELS.grid(1).tolist() == pytest.approx([20.0, 0.0])


def test_a_network_that_knows_nothing_gives_the_best_linear_guess() -> None:
    """With F = 0 the preconditioned denoiser is that of Gaussian data of its standard deviation."""
    denoiser = Preconditioned(lambda x, level: torch.zeros_like(x), S)
    x, sigma = torch.randn(4, 3), torch.tensor([0.01, 0.5, 3.0, 50.0])
    torch.testing.assert_close(denoiser(x, sigma), ideal(x, sigma))


def test_the_network_sees_and_gives_numbers_of_order_one(generator: torch.Generator) -> None:
    """Of any level: its input has spread 1, and so has what it must give for a perfect answer."""
    n = 100_000
    data = S * torch.randn(n, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, generator=generator, dtype=torch.float64)
    for level in (0.02, 0.7, 30.0):
        sigma = torch.full((n,), level, dtype=torch.float64)
        seen: list[Tensor] = []

        def one(x: Tensor, _: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(x)
            return torch.ones_like(x)

        denoiser = Preconditioned(one, S)
        x = data + level * noise
        skipped = Preconditioned(lambda x, _: torch.zeros_like(x), S)(x, sigma)
        scale = denoiser(x, sigma) - skipped
        assert float(seen[0].std()) == pytest.approx(1, abs=0.01)
        assert float(((data - skipped) / scale).std()) == pytest.approx(1, abs=0.01)
        torch.testing.assert_close(denoiser.weight(sigma), scale**-2)


def test_the_loss_of_a_blind_network_is_one(generator: torch.Generator) -> None:
    x = S * torch.randn(100_000, 1, generator=generator)
    blind = Preconditioned(lambda x, _: torch.zeros_like(x), S)
    assert float(denoising_loss(blind, x, LEVELS, rng=generator)) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("method", "order"), [(euler, 1), (heun, 2), (multistep, 2)])
def test_methods_converge_with_their_order(
    method: Callable[..., Tensor], order: int, generator: torch.Generator
) -> None:
    noise = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    last = end(LEVELS.highest * noise, LEVELS.highest, LEVELS.lowest)
    # the last step, to no noise, is Euler's: all of it, of an error that does not shrink with N
    expected = ideal(last, torch.full((3,), LEVELS.lowest))
    errors = [
        float((method(ideal, noise, LEVELS, steps) - expected).abs().max())
        for steps in (40, 80, 160, 320)
    ]
    orders = [math.log2(a / b) for a, b in pairwise(errors[1:])]
    assert orders == pytest.approx([order, order], abs=0.15)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_what_a_constant_denoiser_does_is_exact_in_any_number_of_steps(
    steps: int, generator: torch.Generator
) -> None:
    noise = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    found = multistep(lambda x, sigma: torch.full_like(x, 0.3), noise, LEVELS, steps)
    torch.testing.assert_close(found, torch.full_like(noise, 0.3))


@pytest.mark.parametrize(("method", "evaluations"), [(euler, 18), (heun, 35), (multistep, 18)])
def test_methods_count_their_evaluations(method: Callable[..., Tensor], evaluations: int) -> None:
    """Those of Heun's are of table 1 and figure 2 of arXiv:2206.00364."""
    calls = []

    def counted(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(float(sigma[0]))
        return ideal(x, sigma)

    method(counted, torch.ones(2, 1), LEVELS, 18)
    assert len(calls) == evaluations


# ---------------------------------------------------------------- one step


def test_at_the_lowest_level_a_consistency_model_changes_nothing() -> None:
    model = Consistency(lambda x, level: torch.full_like(x, 1e3), LEVELS, S)
    x = torch.randn(4, 3)
    assert model(x, torch.full((4,), LEVELS.lowest)).equal(x)


def exact_network(x: Tensor, level: Tensor) -> Tensor:
    """The network with which a consistency model is exact for Gaussian data."""
    sigma = wide((4 * level).exp(), x)
    total = (sigma.square() + S**2).sqrt()
    above = sigma - LEVELS.lowest
    point = x * total
    skip = S**2 / (above.square() + S**2)
    return (end(point, (4 * level).exp(), LEVELS.lowest) - skip * point) * total / (S * above)


def test_an_exact_model_draws_in_one_step_and_has_no_loss(generator: torch.Generator) -> None:
    model = Consistency(exact_network, LEVELS, S)
    noise = torch.randn(5, 2, generator=generator, dtype=torch.float64)
    expected = end(LEVELS.highest * noise, LEVELS.highest, LEVELS.lowest)
    torch.testing.assert_close(model.sample(noise), expected)
    x = S * torch.randn(1000, 1, generator=generator, dtype=torch.float64)

    def exact(x: Tensor, sigma: Tensor) -> Tensor:
        return end(x, sigma, LEVELS.lowest)

    pairs = neighbours(ideal, x, LEVELS, intervals=200, rng=generator)
    other = Consistency(lambda x, level: torch.zeros_like(x), LEVELS, S)
    assert float(consistency_loss(model, exact, pairs)) < 1e-7
    assert float(consistency_loss(other, exact, pairs)) > 1e-3


def test_neighbours_lie_on_one_trajectory(generator: torch.Generator) -> None:
    x = S * torch.randn(500, 2, generator=generator, dtype=torch.float64)
    pairs = neighbours(ideal, x, LEVELS, intervals=100, rng=generator)
    assert (pairs.low < pairs.high).all()
    assert pairs.high.max() <= LEVELS.highest
    assert pairs.low.min() >= LEVELS.lowest * (1 - 1e-12)
    ends = [end(pairs.there, pairs.high, 0.0), end(pairs.here, pairs.low, 0.0)]
    torch.testing.assert_close(*ends, rtol=1e-2, atol=0)


def test_two_jumps_of_an_exact_model_keep_the_spread_of_the_data(
    generator: torch.Generator,
) -> None:
    model = Consistency(exact_network, LEVELS, S)
    noise = torch.randn(100_000, 1, generator=generator, dtype=torch.float64)
    between = torch.randn(noise.shape, generator=generator, dtype=noise.dtype)
    found = model.sample(noise, 2, fresh=lambda jump: between)
    assert float(found.std()) == pytest.approx(S, rel=0.01)
    assert float(torch.corrcoef(torch.cat([found, noise], 1).T)[0, 1]) < 0.9
