"""Monotonic rational splines with linear tails: of second and of first order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from caloforge.flows.bins import Bin, Binned, soft_clip

__all__ = ["LinearSpline", "Spline"]

# Where a rational linear spline may split a bin: farther than this part of it from either end.
SMALLEST_PART = 0.025


@dataclass(frozen=True)
class Spline(Binned):
    """A rational quadratic spline on [-bound, bound] (Durkan et al., arXiv:1906.04032).

    With theta = (x - x_k) / w_k in bin k, slope s_k = h_k / w_k and derivatives d_k at the knots

        y = y_k + h_k [s_k theta^2 + d_k theta (1 - theta)]
                / [s_k + (d_k + d_k+1 - 2 s_k) theta (1 - theta)]

    (equation 4).
    """

    @property
    def n_parameters(self) -> int:
        """Raw parameters an element: K widths, K heights, K - 1 inner derivatives."""
        return 3 * self.bins - 1

    def forward(self, x: Tensor, raw: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        inner, outside = self._inside(x)
        x_k, w, y_k, h, d0, d1, _ = self._bin(inner, raw, dim, along_y=False)
        s = h / w
        theta = ((inner - x_k) / w).clamp(0, 1)
        mixed = theta * (1 - theta)
        denominator = s + (d0 + d1 - 2 * s) * mixed
        y = y_k + h * (s * theta.square() + d0 * mixed) / denominator
        log_slope = _log_slope(s, d0, d1, theta, mixed, denominator)
        return torch.where(outside, x, y), log_slope.masked_fill(outside, 0.0)

    def inverse(self, y: Tensor, raw: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        inner, outside = self._inside(y)
        x_k, w, y_k, h, d0, d1, _ = self._bin(inner, raw, dim, along_y=True)
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


def _log_slope(
    s: Tensor, d0: Tensor, d1: Tensor, theta: Tensor, mixed: Tensor, denominator: Tensor
) -> Tensor:
    """log dy/dx = log s^2 [d1 theta^2 + 2 s theta (1 - theta) + d0 (1 - theta)^2] / denom.^2."""
    numerator = d1 * theta.square() + 2 * s * mixed + d0 * (1 - theta).square()
    return 2 * s.log() + numerator.log() - 2 * denominator.log()


@dataclass(frozen=True)
class LinearSpline(Binned):
    """A rational linear spline on [-bound, bound] (Dolatabadi et al., arXiv:2001.05168).

    Bin k is split at the part lambda_k of its width, and a ratio of two linear functions maps
    either piece, so that the inverse needs no root. With slope s = h / w, roots c_0, c_1 of the
    derivatives at the knots and m = lambda c_0 + (1 - lambda) c_1, the piece at knot i has

        width l_i w, height l_i h c_i / m,  l_0 = lambda, l_1 = 1 - lambda,

    and p of the width from the knot is r of the height from it,

        r = g p / (1 - p + g p),  g = m c_i / s,  dy/dx = [c_i / (1 - p + g p)]^2

    (algorithm 1, with the middle knot and all weights written out).
    """

    @property
    def n_parameters(self) -> int:
        """Raw parameters an element: K widths, K heights, K - 1 derivatives, K lambdas."""
        return 4 * self.bins - 1

    def forward(self, x: Tensor, raw: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        inner, outside = self._inside(x)
        at = self._bin(inner, raw, dim, along_y=False)
        c0, c1, share, m = self._pieces(at, raw, dim)
        theta = ((inner - at.x_k) / at.w).clamp(0, 1)
        first = theta < share
        c, part = torch.where(first, c0, c1), torch.where(first, share, 1 - share)
        p = (torch.where(first, theta, 1 - theta) / part).clamp_max(1)
        g = m * c * at.w / at.h
        denominator = 1 - p + g * p
        risen = at.h * part * c / m * g * p / denominator
        y = torch.where(first, at.y_k + risen, at.y_k + at.h - risen)
        log_slope = 2 * (c / denominator).log()
        return torch.where(outside, x, y), log_slope.masked_fill(outside, 0.0)

    def inverse(self, y: Tensor, raw: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        inner, outside = self._inside(y)
        at = self._bin(inner, raw, dim, along_y=True)
        c0, c1, share, m = self._pieces(at, raw, dim)
        eta = ((inner - at.y_k) / at.h).clamp(0, 1)
        first = eta < share * c0 / m
        c, part = torch.where(first, c0, c1), torch.where(first, share, 1 - share)
        r = (torch.where(first, eta, 1 - eta) * m / (part * c)).clamp_max(1)
        g = m * c * at.w / at.h
        denominator = r + g * (1 - r)
        gone = at.w * part * r / denominator
        x = torch.where(first, at.x_k + gone, at.x_k + at.w - gone)
        log_slope = 2 * (g / (c * denominator)).log()
        return torch.where(outside, y, x), log_slope.masked_fill(outside, 0.0)

    def _pieces(self, at: Bin, raw: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """c_0, c_1, lambda and m of the bin of each value."""
        raw_share = raw.narrow(dim, 3 * self.bins - 1, self.bins).gather(dim, at.k).squeeze(dim)
        limit = math.log(1 / SMALLEST_PART - 1)
        share = soft_clip(raw_share, limit).sigmoid()
        c0, c1 = at.d0.sqrt(), at.d1.sqrt()
        return c0, c1, share, share * c0 + (1 - share) * c1
