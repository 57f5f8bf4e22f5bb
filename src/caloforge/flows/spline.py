"""Monotonic rational-quadratic splines with linear tails (Durkan et al., arXiv:1906.04032)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Spline"]


def _soft_clip(raw: Tensor, limit: float) -> Tensor:
    """Squeeze smoothly into (-limit, limit), slope 1 at zero."""
    return raw / (1 + raw.abs() / limit)


@dataclass(frozen=True)
class Spline:
    """An element-wise monotonic spline on [-bound, bound], the identity outside.

    With theta = (x - x_k) / w_k in bin k, slope s_k = h_k / w_k and derivatives d_k at the knots

        y = y_k + h_k [s_k theta^2 + d_k theta (1 - theta)]
                / [s_k + (d_k + d_k+1 - 2 s_k) theta (1 - theta)]

    (Durkan et al., equation 4). Raw parameters are soft-clipped before softmax and exponential, so
    that no bin is narrower than `minimum` times the widest and no derivative smaller than
    `minimum`: what keeps float32 invertible. All raw parameters zero give the identity.

    Args:
        bins: number of bins K.
        bound: half the width of the interval.
        minimum: smallest derivative, and smallest ratio of two bins.
    """

    bins: int
    bound: float
    minimum: float = 1e-3

    def __post_init__(self) -> None:
        if self.bins < 2 or self.bound <= 0 or not 0 < self.minimum < 1:
            raise ValueError(
                "a spline needs 2 bins or more, a positive bound and a minimum between 0 and 1, "
                f"got {self}"
            )

    @property
    def n_parameters(self) -> int:
        """Raw parameters an element: K widths, K heights, K - 1 inner derivatives."""
        return 3 * self.bins - 1

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
        outside = x.abs() >= self.bound
        inner = x.clamp(-self.bound, self.bound)  # NaN stays NaN and is not outside
        (widths, x_k), (heights, y_k), slopes = self._bins(raw, dim)
        x_k, w, y_k, h, d0, d1 = _in_bin(inner, x_k, widths, y_k, heights, slopes, dim)
        s = h / w
        theta = ((inner - x_k) / w).clamp(0, 1)
        mixed = theta * (1 - theta)
        denominator = s + (d0 + d1 - 2 * s) * mixed
        y = y_k + h * (s * theta.square() + d0 * mixed) / denominator
        log_slope = _log_slope(s, d0, d1, theta, mixed, denominator)
        return torch.where(outside, x, y), log_slope.masked_fill(outside, 0.0)

    def inverse(self, y: Tensor, raw: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        """Map back; returns x and log dx/dy, shapes as in `forward`."""
        outside = y.abs() >= self.bound
        inner = y.clamp(-self.bound, self.bound)
        (widths, x_k), (heights, y_k), slopes = self._bins(raw, dim)
        y_k, h, x_k, w, d0, d1 = _in_bin(inner, y_k, heights, x_k, widths, slopes, dim)
        s = h / w
        eta = ((inner - y_k) / h).clamp(0, 1)
        curvature = (d0 + d1 - 2 * s) * eta
        # The root of a theta^2 + b theta + c = 0 in the form that does not cancel; rounding can
        # push the discriminant below zero, where the bin is flat.
        a, b, c = s - d0 + curvature, d0 - curvature, -s * eta
        discriminant = (b.square() - 4 * a * c).clamp_min(0)
        theta = (-2 * c / (b + discriminant.sqrt())).clamp(0, 1)
        mixed = theta * (1 - theta)
        denominator = s + (d0 + d1 - 2 * s) * mixed
        log_slope = _log_slope(s, d0, d1, theta, mixed, denominator)
        return torch.where(outside, y, x_k + w * theta), -log_slope.masked_fill(outside, 0.0)

    def _bins(
        self, raw: Tensor, dim: int
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]:
        """Sizes and right ends of the K bins in x and in y, and the K - 1 inner derivatives."""
        if raw.shape[dim] != self.n_parameters:
            raise ValueError(
                f"a spline of {self.bins} bins needs {self.n_parameters} parameters an element, "
                f"got {raw.shape[dim]} along axis {dim} of {tuple(raw.shape)}"
            )
        limit = -math.log(self.minimum)

        def bins(first: int) -> tuple[Tensor, Tensor]:
            clipped = _soft_clip(raw.narrow(dim, first, self.bins), limit / 2)
            sizes = torch.softmax(clipped, dim) * (2 * self.bound)
            return sizes, sizes.cumsum(dim) - self.bound

        slopes = _soft_clip(raw.narrow(dim, 2 * self.bins, self.bins - 1), limit).exp()
        return bins(0), bins(self.bins), slopes


def _in_bin(
    value: Tensor,
    ends: Tensor,
    sizes: Tensor,
    other_ends: Tensor,
    other_sizes: Tensor,
    slopes: Tensor,
    dim: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Start and size of the bin of each value, in both axes, and the slopes at its two ends."""
    bins = sizes.shape[dim]
    inner_ends = ends.narrow(dim, 0, bins - 1)
    k = (value.unsqueeze(dim) >= inner_ends).sum(dim, keepdim=True)

    def of_bin(table: Tensor, index: Tensor = k) -> Tensor:
        return table.gather(dim, index).squeeze(dim)

    size, other_size = of_bin(sizes), of_bin(other_sizes)
    one = torch.ones_like(slopes.narrow(dim, 0, 1))  # the tails have slope 1
    at_knots = torch.cat([one, slopes, one], dim)
    return (
        of_bin(ends) - size,
        size,
        of_bin(other_ends) - other_size,
        other_size,
        of_bin(at_knots),
        of_bin(at_knots, k + 1),
    )


def _log_slope(
    s: Tensor, d0: Tensor, d1: Tensor, theta: Tensor, mixed: Tensor, denominator: Tensor
) -> Tensor:
    """log dy/dx = log s^2 [d1 theta^2 + 2 s theta (1 - theta) + d0 (1 - theta)^2] / denominator^2."""
    numerator = d1 * theta.square() + 2 * s * mixed + d0 * (1 - theta).square()
    return 2 * s.log() + numerator.log() - 2 * denominator.log()
