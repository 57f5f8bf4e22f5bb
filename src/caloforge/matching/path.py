"""The linear path from noise to data, and the loss of a velocity along it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["LinearPath", "TimedVelocity", "Velocity", "at_time", "matching_loss"]

Velocity = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""v(x, t, context) of the shape of x (n, ...), with times t (n,) and a context of n entries."""


class TimedVelocity(Protocol):
    """A velocity that wants the time as a number: an accelerator waits where it is asked for it."""

    def __call__(self, x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        """See `Velocity`."""

    def at(self, x: Tensor, t: float, context: Tensor | None) -> Tensor:
        """v(x, t, context) with one time for the whole batch."""


def at_time(
    velocity: Velocity | TimedVelocity, x: Tensor, t: float, context: Tensor | None
) -> Tensor:
    """v(x, t, context) at one time, which solvers with a grid of their own know in advance.

    Args:
        velocity: v; one with a method `at` is given the number.
        x: shape (n, ...).
        t: the time.
        context: first dimension n.
    """
    at = getattr(velocity, "at", None)
    found: Tensor = (
        velocity(x, x.new_full((len(x),), t), context) if at is None else at(x, t, context)
    )
    return found


@dataclass(frozen=True, eq=False)
class LinearPath:
    """Straight lines from noise at t = 0 to data at t = 1 (CaloDREAM, equations 7 and 8).

        x(t) = (1 - t) noise + t data,   dx/dt = data - noise

    Args:
        noise: standard normal, shape (n, ...).
        data: shape (n, ...).
    """

    noise: Tensor
    data: Tensor

    def at(self, t: Tensor) -> Tensor:
        """x(t), shape (n, ...), at times of shape (n,)."""
        t = t.reshape(-1, *[1] * (self.data.ndim - 1))
        return torch.lerp(self.noise, self.data, t)

    @property
    def velocity(self) -> Tensor:
        """dx/dt given both ends, the same at all times, shape (n, ...)."""
        return self.data - self.noise


def matching_loss(
    velocity: Velocity, x: Tensor, context: Tensor | None = None, *, rng: torch.Generator
) -> Tensor:
    """Flow-matching loss of a velocity, a scalar (CaloDREAM, equation 8).

        < [v((1 - t) noise + t x, t, context) - (x - noise)]^2 >,   t ~ U(0, 1),   noise ~ N(0, 1)

    averaged over the batch and over the features. The velocity that minimises it is the mean of
    x - noise over all lines through a point; it carries the noise at t = 0 to the data at t = 1.

    Args:
        velocity: the network.
        x: data as the network sees them, shape (n, ...).
        context: what the network is conditioned on, first dimension n.
        rng: source of times and noise.
    """
    t = torch.rand(len(x), generator=rng, device=x.device, dtype=x.dtype)
    noise = torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
    path = LinearPath(noise, x)
    return (velocity(path.at(t), t, context) - path.velocity).square().mean()
