"""Diffusion in continuous time: data with noise of any level, and the equation that removes it.

All of it is that of Karras et al., arXiv:2206.00364 ("EDM").
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

__all__ = [
    "Denoiser",
    "NoiseLevels",
    "Preconditioned",
    "denoising_error",
    "denoising_loss",
    "euler",
    "heun",
    "multistep",
]

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""D(x, sigma): the mean of the data given x = data + sigma noise, for x (n, ...) and sigma (n,)."""


@dataclass(frozen=True)
class NoiseLevels:
    """Where noise begins and ends, and how often each level is learned.

    Args:
        lowest: sigma_min, where denoising ends.
        highest: sigma_max, where it begins.
        rho: how much more steps lie at low noise (table 1: 7).
        mean: of log sigma in training (table 1: -1.2).
        std: of log sigma in training (table 1: 1.2).

    Raises:
        ValueError: unless 0 < lowest < highest.
    """

    lowest: float = 0.002
    highest: float = 80.0
    rho: float = 7.0
    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        if not 0 < self.lowest < self.highest:
            raise ValueError(
                f"noise goes from a high to a low level, got {self.highest} and {self.lowest}"
            )

    def grid(self, steps: int) -> Tensor:
        """sigma_0 = highest … sigma_N-1 = lowest, sigma_N = 0, shape (N + 1,) (equation 5).

        Args:
            steps: number N of steps, 1 or more.
        """
        high, low = (level ** (1 / self.rho) for level in (self.highest, self.lowest))
        levels = torch.linspace(high, low, max(2, steps), dtype=torch.float64)[:steps] ** self.rho
        return torch.cat([levels, levels.new_zeros(1)])

    def sample(self, n: int, *, rng: torch.Generator, like: Tensor) -> Tensor:
        """Levels to train with, log-normal, shape (n,), of the precision and device of `like`."""
        normal = torch.randn(n, generator=rng, device=like.device, dtype=like.dtype)
        return (self.mean + self.std * normal).exp()


@dataclass(frozen=True, eq=False)
class Preconditioned:
    """The denoiser of a network that sees and gives numbers of order 1 (table 1).

        D(x, sigma) = c_skip x + c_out F(c_in x, log(sigma) / 4)

        c_skip = s^2 / (sigma^2 + s^2),   c_out = sigma s / sqrt(sigma^2 + s^2),
        c_in = 1 / sqrt(sigma^2 + s^2)

    with s the standard deviation of the data.

    Args:
        network: F(x, level) for x (n, ...) and levels (n,).
        data_std: s.
    """

    network: Callable[[Tensor, Tensor], Tensor]
    data_std: float = 0.5

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x, sigma), the shape of x."""
        wide = sigma.reshape(-1, *[1] * (x.ndim - 1))
        total = wide.square() + self.data_std**2
        found = self.network(x / total.sqrt(), sigma.log() / 4)
        return self.data_std**2 / total * x + wide * self.data_std / total.sqrt() * found

    def weight(self, sigma: Tensor) -> Tensor:
        """What makes the loss of every level of order 1, 1 / c_out^2, shape (n,)."""
        return (sigma.square() + self.data_std**2) / (sigma * self.data_std).square()


def denoising_error(
    denoiser: Preconditioned, x: Tensor, sigma: Tensor, *, rng: torch.Generator
) -> Tensor:
    """Square error of a denoiser, entry by entry (equation 2, weighted as in table 1).

        weight(sigma) [D(x + sigma noise, sigma) - x]^2

    Args:
        denoiser: of the network that is trained.
        x: data, shape (n, ...).
        sigma: level of the noise, shape (n,).
        rng: source of noise.
    """
    noise = torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
    wide = [-1, *[1] * (x.ndim - 1)]
    error: Tensor = denoiser(x + sigma.reshape(wide) * noise, sigma) - x
    return denoiser.weight(sigma).reshape(wide) * error.square()


def denoising_loss(
    denoiser: Preconditioned, x: Tensor, levels: NoiseLevels, *, rng: torch.Generator
) -> Tensor:
    """Mean of `denoising_error` over levels, a scalar.

    Args:
        denoiser: of the network that is trained.
        x: data, shape (n, ...).
        levels: of the noise.
        rng: source of levels and noise.
    """
    sigma = levels.sample(len(x), rng=rng, like=x)
    return denoising_error(denoiser, x, sigma, rng=rng).mean()


def euler(denoiser: Denoiser, noise: Tensor, levels: NoiseLevels, steps: int) -> Tensor:
    """Data from noise along dx/dsigma = (x - D(x, sigma)) / sigma, by Euler's method.

    Args:
        denoiser: trained.
        noise: standard normal, shape (n, ...).
        levels: where it begins and ends.
        steps: number N of steps, of one evaluation each.
    """
    sigmas = levels.grid(steps).tolist()
    x: Tensor = sigmas[0] * noise
    for sigma, after in pairwise(sigmas):
        x = x + (after - sigma) * _slope(denoiser, x, sigma)
    return x


def heun(denoiser: Denoiser, noise: Tensor, levels: NoiseLevels, steps: int) -> Tensor:
    """Data from noise along dx/dsigma = (x - D(x, sigma)) / sigma (algorithm 1, without churn).

    Heun's method, of second order; the last step, to sigma = 0, is Euler's: 2 N - 1 evaluations.

    Args:
        denoiser: trained.
        noise: standard normal, shape (n, ...).
        levels: where it begins and ends.
        steps: number N of steps.
    """
    sigmas = levels.grid(steps).tolist()
    x: Tensor = sigmas[0] * noise
    for sigma, after in pairwise(sigmas):
        first = _slope(denoiser, x, sigma)
        end = x + (after - sigma) * first
        if after > 0:
            end = x + (after - sigma) / 2 * (first + _slope(denoiser, end, after))
        x = end
    return x


def multistep(denoiser: Denoiser, noise: Tensor, levels: NoiseLevels, steps: int) -> Tensor:
    """Data from noise by DPM-Solver++(2M) (arXiv:2211.01095, algorithm 2).

        x' = (sigma' / sigma) x + (1 - sigma' / sigma) D,   D = D_i + h' / (2 h) (D_i - D_i-1)

    with the steps h in -log sigma, h' that which follows. What a denoiser that stays the same does
    is exact, and what it changes is taken from the step before: of second order at one evaluation a
    step. The first step and the last, to sigma = 0, are of first order.

    Args:
        denoiser: trained.
        noise: standard normal, shape (n, ...).
        levels: where it begins and ends.
        steps: number N of steps, of one evaluation each.
    """
    sigmas = levels.grid(steps).tolist()
    x: Tensor = sigmas[0] * noise
    before, last = None, 0.0
    for sigma, after in pairwise(sigmas):
        found = denoiser(x, x.new_full((len(x),), sigma))
        following = math.log(sigma / after) if after > 0 else math.inf
        end = found
        if before is not None and after > 0:
            end = found + following / (2 * last) * (found - before)
        x = torch.lerp(end, x, after / sigma)
        before, last = found, following
    return x


def _slope(denoiser: Denoiser, x: Tensor, sigma: float) -> Tensor:
    return (x - denoiser(x, x.new_full((len(x),), sigma))) / sigma
