"""Monotonic maps of single numbers, whose parameters a network gives: what flows are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Affine", "Univariate"]


class Univariate(ABC):
    """An element-wise monotonic map; all raw parameters zero give the identity."""

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """Raw parameters an element."""

    @abstractmethod
    def forward(self, x: Tensor, raw: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        """Map x.

        Args:
            x: data, shape (*,).
            raw: parameters, the shape of x with an axis of n_parameters inserted.
            dim: that axis. Everything runs along it without a transpose, so that the inner axes
                of an image stay vectorised.

        Returns:
            y and log dy/dx, each of shape (*,).
        """

    @abstractmethod
    def inverse(self, y: Tensor, raw: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        """Map back; returns x and log dx/dy, shapes as in `forward`."""


@dataclass(frozen=True)
class Affine(Univariate):
    """y = exp(tanh(raw_1)) x + raw_2 (RealNVP, arXiv:1605.08803, with a bounded slope)."""

    @property
    def n_parameters(self) -> int:
        """Log-slope and shift."""
        return 2

    def forward(self, x: Tensor, raw: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        raw_slope, shift = raw.unbind(dim)
        log_slope = raw_slope.tanh()
        return x * log_slope.exp() + shift, log_slope

    def inverse(self, y: Tensor, raw: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        raw_slope, shift = raw.unbind(dim)
        log_slope = -raw_slope.tanh()
        return (y - shift) * log_slope.exp(), log_slope
