"""The Markov chain of discrete diffusion, from data to noise and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from caloforge.upload import upload

__all__ = ["MarkovChain", "NoisePrediction", "quadratic_schedule"]

NoisePrediction = Callable[[Tensor, Tensor], Tensor]
"""epsilon(x, beta) of the shape of x (n, ...), with the step's variance beta, one number."""


def quadratic_schedule(steps: int, first: float, last: float) -> Tensor:
    """beta_1 … beta_T of which the square roots rise in equal steps, shape (T,).

    Args:
        steps: number T of steps.
        first: beta_1.
        last: beta_T.

    Raises:
        ValueError: for values that are no rising variances below 1.
    """
    if steps < 1 or not 0 < first <= last < 1:
        raise ValueError(
            "a schedule needs 1 step or more and 0 < first <= last < 1, "
            f"got {steps} from {first} to {last}"
        )
    return torch.linspace(math.sqrt(first), math.sqrt(last), steps, dtype=torch.float64).square()


@dataclass(frozen=True, eq=False)
class MarkovChain:
    """x^(t) = sqrt(1 - beta_t) x^(t-1) + sqrt(beta_t) noise (CaloClouds, equation 3.1).

    Args:
        beta: variances beta_1 … beta_T of the steps, shape (T,).
    """

    beta: Tensor

    @property
    def steps(self) -> int:
        """Number T of steps."""
        return len(self.beta)

    @property
    def alpha_bar(self) -> Tensor:
        """prod_s<=t (1 - beta_s), shape (T,)."""
        return (1 - self.beta).cumprod(0)

    def noised(self, x: Tensor, step: Tensor, noise: Tensor) -> Tensor:
        """x^(t) = sqrt(alpha_bar_t) x + sqrt(1 - alpha_bar_t) noise (equation 3.3).

        Args:
            x: data, shape (n, ...).
            step: t - 1, from 0 to T - 1, shape (n,).
            noise: standard normal, the shape of x.
        """
        kept = upload(self.alpha_bar, x.device, x.dtype)[step].reshape(-1, *[1] * (x.ndim - 1))
        return kept.sqrt() * x + (1 - kept).sqrt() * noise

    def back(
        self, epsilon: NoisePrediction, noise: Tensor, fresh: Callable[[int], Tensor]
    ) -> Tensor:
        """From noise to data, through all T steps (equations 3.2 and 3.4).

            x^(t-1) = (x^(t) - beta_t / sqrt(1 - alpha_bar_t) epsilon) / sqrt(1 - beta_t) + s_t z

        with the variance of the posterior, s_t^2 = beta_t (1 - alpha_bar_t-1) / (1 - alpha_bar_t),
        which is 0 in the last step. (Equation 3.2 has s_t^2 = beta_t.)

        Args:
            epsilon: predicts the noise.
            noise: x^(T), standard normal, shape (n, ...).
            fresh: z of the step to x^(t), the shape of the noise.
        """
        beta, alpha_bar = self.beta, self.alpha_bar
        before = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
        pull = (beta / (1 - alpha_bar).sqrt()).tolist()
        shrink = (1 - beta).sqrt().tolist()
        spread = (beta * (1 - before) / (1 - alpha_bar)).sqrt().tolist()
        betas = beta.tolist()
        x = noise
        for i in reversed(range(self.steps)):
            x = (x - pull[i] * epsilon(x, x.new_full((), betas[i]))) / shrink[i]
            if spread[i]:
                x = x.add(fresh(i), alpha=spread[i])
        return x
