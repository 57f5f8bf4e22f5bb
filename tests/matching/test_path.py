"""The linear path and the flow-matching loss: a Gaussian target, whose best velocity is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from caloforge.matching import LinearPath, Velocity, make_solver, matching_loss

MEAN, STD = 1.5, 0.4  # of the data


def optimal(x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
    """< data - noise > over all lines through x at t, for data ~ N(MEAN, STD^2).

    Given x, data - noise is Gaussian with mean MEAN + cov / var (x - t MEAN), where cov is the
    covariance of data - noise and x(t), t STD^2 - (1 - t), and var the variance of x(t).
    """
    t = t.reshape(-1, *[1] * (x.ndim - 1))
    variance = (1 - t) ** 2 + (t * STD) ** 2
    return MEAN + (t * STD**2 - (1 - t)) / variance * (x - t * MEAN)


def data(n: int, rng: torch.Generator) -> Tensor:
    return MEAN + STD * torch.randn(n, 2, generator=rng, dtype=torch.float64)


def test_path_leads_straight_from_noise_to_data(generator: torch.Generator) -> None:
    noise, x = torch.randn(2, 5, 3, 4, generator=generator, dtype=torch.float64)
    path = LinearPath(noise, x)
    assert torch.equal(path.at(torch.zeros(5, dtype=x.dtype)), noise)
    assert torch.equal(path.at(torch.ones(5, dtype=x.dtype)), x)
    t = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9], dtype=x.dtype)
    expected = noise + t[:, None, None] * (x - noise)
    torch.testing.assert_close(path.at(t), expected)
    slope = (path.at(t + 1e-3) - path.at(t - 1e-3)) / 2e-3
    torch.testing.assert_close(path.velocity, slope)


def test_loss_of_the_best_velocity_is_the_variance_that_is_left(
    generator: torch.Generator,
) -> None:
    """The integral over t of STD^2 / ((1 - t)^2 + (t STD)^2), which is pi STD / 2."""
    losses = torch.stack(
        [matching_loss(optimal, data(4000, generator), rng=generator) for _ in range(50)]
    )
    error = float(losses.std()) / math.sqrt(len(losses))
    assert float(losses.mean()) == pytest.approx(math.pi * STD / 2, abs=4 * error)
    assert error < 0.01


def gradients(parameters: list[float], rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Gradient of the loss of optimal + p_0 + p_1 x + p_2 t at p, and its standard error."""
    p = torch.tensor(parameters, dtype=torch.float64, requires_grad=True)

    def velocity(x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        return optimal(x, t) + p[0] + p[1] * x + p[2] * t[:, None]

    sampled = torch.stack(
        [
            torch.autograd.grad(matching_loss(velocity, data(1000, rng), rng=rng), p)[0]
            for _ in range(60)
        ]
    )
    return sampled.mean(0), sampled.std(0) / math.sqrt(len(sampled))


def test_gradient_of_the_loss_vanishes_at_the_best_velocity_alone(
    generator: torch.Generator,
) -> None:
    gradient, error = gradients([0.0, 0.0, 0.0], generator)
    assert (gradient.abs() < 4 * error).all()
    for i in range(3):
        away = [0.2 if j == i else 0.0 for j in range(3)]
        gradient, error = gradients(away, generator)
        assert float(gradient[i]) > 10 * float(error[i])


def test_best_velocity_carries_noise_to_data(generator: torch.Generator) -> None:
    """Between Gaussians the map is MEAN + STD noise."""
    noise = torch.randn(200, 2, generator=generator, dtype=torch.float64)
    reached = make_solver("rk4-50")(optimal, noise)
    torch.testing.assert_close(reached, MEAN + STD * noise, rtol=0, atol=1e-6)


def recorded(x: Tensor, context: Tensor | None, rng: torch.Generator) -> tuple[Tensor, ...]:
    """What the loss passes to a velocity, and the loss."""
    seen: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def velocity(x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        seen.append((x, t, context))
        return torch.zeros_like(x)

    loss = matching_loss(velocity, x, context, rng=rng)
    ((point, t, given),) = seen
    assert given is context
    return point, t, loss


def test_times_are_uniform_and_the_noise_is_standard_normal(generator: torch.Generator) -> None:
    n = 40_000
    point, t, _ = recorded(torch.zeros(n, 1), torch.ones(n, 3), generator)
    noise = point / (1 - t[:, None])
    assert 0 <= float(t.min()) < 1e-3
    assert 1 - 1e-3 < float(t.max()) < 1
    # four standard errors
    assert t.mean().item() == pytest.approx(0.5, abs=4 / math.sqrt(12 * n))
    assert t.square().mean().item() == pytest.approx(1 / 3, abs=4 * math.sqrt(4 / 45 / n))
    assert noise.mean().item() == pytest.approx(0, abs=4 / math.sqrt(n))
    assert noise.square().mean().item() == pytest.approx(1, abs=4 * math.sqrt(2 / n))


def test_loss_is_the_mean_over_batch_and_features(generator: torch.Generator) -> None:
    """Of a velocity of zero, for data that are zero: < noise^2 > = 1, however many features."""
    for shape in ((1000, 20), (1000, 2, 5, 2), (20_000,)):
        _, _, loss = recorded(torch.zeros(shape), None, generator)
        assert loss.ndim == 0
        assert loss.item() == pytest.approx(1, abs=0.04)  # four standard errors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loss_depends_on_its_generator_alone(dtype: torch.dtype) -> None:
    x = torch.ones(8, 3, dtype=dtype)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (
        recorded(x, None, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert all(tensor.dtype == dtype for tensor in first)


def test_a_network_is_trained_by_the_loss(generator: torch.Generator) -> None:
    """A velocity that is affine in x cannot be better than the best affine one, and comes close."""
    torch.manual_seed(0)
    network = torch.nn.Linear(2, 1, dtype=torch.float64)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)

    def velocity(x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        return network(torch.cat([x, t[:, None]], 1))

    def sampled(field: Velocity) -> float:
        with torch.no_grad():
            x = MEAN + STD * torch.randn(20_000, 1, generator=generator, dtype=torch.float64)
            return matching_loss(field, x, rng=generator).item()

    before = sampled(velocity)
    for _ in range(200):
        x = MEAN + STD * torch.randn(256, 1, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        matching_loss(velocity, x, rng=generator).backward()
        optimizer.step()
    best, after = sampled(optimal), sampled(velocity)
    assert best < after < best + 0.2 * (before - best)
