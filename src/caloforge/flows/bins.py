"""Intervals in bins: which bin of a monotonic map a value lies in, with an exact gradient."""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from caloforge.flows.univariate import Univariate

__all__ = ["Bin", "Binned", "soft_clip"]


@dataclass(frozen=True)
class Binned(Univariate, ABC):
    """A monotonic map on [-bound, bound] bin by bin, the identity outside.

    The first raw parameters of an element are K widths, K heights and K - 1 derivatives at the
    inner knots. They are soft-clipped before softmax and exponential, so that no bin is narrower
    than `minimum` times the widest and no derivative smaller than `minimum`: what keeps float32
    invertible. At the outer knots the derivative is 1, as outside.

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

    def _inside(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Values moved into the interval, and which lay outside."""
        # NaN stays NaN and is not outside
        return value.clamp(-self.bound, self.bound), value.abs() >= self.bound

    def _bin(self, value: Tensor, raw: Tensor, dim: int, *, along_y: bool) -> Bin:
        if raw.shape[dim] != self.n_parameters:
            raise ValueError(
                f"a spline of {self.bins} bins needs {self.n_parameters} parameters an element, "
                f"got {raw.shape[dim]} along axis {dim} of {tuple(raw.shape)}"
            )
        layout = _Layout(dim % raw.ndim, self.bins, self.bound, -math.log(self.minimum), along_y)
        if torch.is_grad_enabled() and raw.requires_grad:
            return Bin(*_FindBin.apply(value, raw, layout))  # type: ignore[no-untyped-call]
        return _find_bin(value, raw, layout)[0]


class Bin(NamedTuple):
    """Of the bin of each value: start and size in x and y, slopes at both ends, shape (*,); number,
    with an axis of one parameter more.
    """

    x_k: Tensor
    w: Tensor
    y_k: Tensor
    h: Tensor
    d0: Tensor
    d1: Tensor
    k: Tensor


class _Layout(NamedTuple):
    """How raw parameters are read: widths, heights, inner derivatives along `dim`."""

    dim: int
    bins: int
    bound: float
    limit: float  # largest |log derivative|
    along_y: bool  # values are searched among the heights

    def sizes(self, raw: Tensor) -> Tensor:
        """Widths and heights as a view with axes (2, bins) at `dim`."""
        both = raw.narrow(self.dim, 0, 2 * self.bins)
        split: Tensor = both.unflatten(self.dim, (2, self.bins))
        return split

    def slopes(self, raw: Tensor) -> Tensor:
        return raw.narrow(self.dim, 2 * self.bins, self.bins - 1)


class _Saved(NamedTuple):
    """What the gradient needs: see `_find_bin`."""

    damping: Tensor
    weights: Tensor
    totals: Tensor


def soft_clip(raw: Tensor, limit: float) -> Tensor:
    """Squeeze smoothly into (-limit, limit), slope 1 at zero."""
    return raw / (1 + raw.abs() / limit)


def _find_bin(value: Tensor, raw: Tensor, layout: _Layout) -> tuple[Bin, _Saved]:
    """The bin of each value.

    Bin j has the fraction weights_j / totals of the interval, weights_j = exp(soft_clip(raw_j)):
    a softmax that needs no shift, as the clip bounds it.
    """
    dim, bins, bound, limit, along_y = layout
    sizes = layout.sizes(raw)
    # soft_clip(r) = r damping(r), kept because its slope is damping^2
    damping = sizes.abs().mul_(2 / limit).add_(1).reciprocal_()
    weights = (sizes * damping).exp_()
    ends = weights.cumsum(dim + 1)
    totals = ends.select(dim + 1, bins - 1)
    searched = ends.select(dim, int(along_y)).narrow(dim, 0, bins - 1)
    scaled = (value + bound) / (2 * bound) * totals.select(dim, int(along_y))
    k = (scaled.unsqueeze(dim) >= searched).sum(dim, keepdim=True)

    both = k.unsqueeze(dim).expand(*weights.shape[: dim + 1], 1, *weights.shape[dim + 2 :])
    unit = 2 * bound / totals
    size = weights.gather(dim + 1, both).squeeze(dim + 1) * unit
    start = ends.gather(dim + 1, both).squeeze(dim + 1) * unit - bound - size
    d0, d1 = (soft_clip(r, limit).exp_() for r in _raw_slopes(raw, k, layout))
    (x_k, y_k), (w, h) = start.unbind(dim), size.unbind(dim)
    return Bin(x_k, w, y_k, h, d0, d1, k), _Saved(damping, weights, totals)


def _raw_slopes(raw: Tensor, k: Tensor, layout: _Layout) -> tuple[Tensor, Tensor]:
    """Raw derivatives at the two ends of each bin; 0, which is slope 1, at the tails."""
    dim, bins = layout.dim, layout.bins
    slopes = layout.slopes(raw)
    left = slopes.gather(dim, (k - 1).clamp_min(0)).masked_fill(k == 0, 0.0)
    right = slopes.gather(dim, k.clamp_max(bins - 2)).masked_fill(k == bins - 1, 0.0)
    return left.squeeze(dim), right.squeeze(dim)


class _FindBin(torch.autograd.Function):
    """`_find_bin` with its gradient written out.

    Autograd would walk through a dozen tensors of the size of `raw`, which is most of a coupling's
    training time; the closed form fills the gradient of `raw` in a few passes.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, raw: Tensor, layout: _Layout) -> tuple[Tensor, ...]:
        found, saved = _find_bin(value, raw, layout)
        ctx.layout = layout
        ctx.mark_non_differentiable(found.k)
        ctx.save_for_backward(raw, *saved, *found)
        return tuple(found)

    @staticmethod
    @once_differentiable  # type: ignore[misc, unused-ignore]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        raw, *rest = ctx.saved_tensors
        saved, found = _Saved(*rest[:3]), Bin(*rest[3:])
        g = Bin(*gradients)
        layout: _Layout = ctx.layout
        dim, bins, bound, limit, _ = layout
        gradient = torch.zeros_like(raw)

        # share_j of bin j moves x_k if j < k and w if j = k; after it the softmax's gradient
        # share_j (G_j - sum_i share_i G_i), whose sum is g_x (x_k + bound) + g_w w.
        start = torch.stack([found.x_k, found.y_k], dim)
        size = torch.stack([found.w, found.h], dim)
        g_start = torch.stack([g.x_k, g.y_k], dim)
        g_size = torch.stack([g.w, g.h], dim)
        mean = g_start * (start + bound) + g_size * size
        number = torch.arange(bins, device=raw.device)
        number = number.reshape(-1, *[1] * (raw.ndim - dim - 1))
        before = (number < found.k).unsqueeze(dim)
        here = (number == found.k).unsqueeze(dim)
        g_shares = torch.where(
            before,
            (2 * bound * g_start - mean).unsqueeze(dim + 1),
            torch.where(
                here,
                (2 * bound * g_size - mean).unsqueeze(dim + 1),
                (-mean).unsqueeze(dim + 1),
            ),
        )
        g_shares.div_(saved.totals.unsqueeze(dim + 1)).mul_(saved.weights)
        g_shares.mul_(saved.damping).mul_(saved.damping)
        layout.sizes(gradient).copy_(g_shares)

        left, right = _raw_slopes(raw, found.k, layout)
        slopes = layout.slopes(gradient)
        for r, d, g_d, index, tail in (
            (left, found.d0, g.d0, (found.k - 1).clamp_min(0), found.k == 0),
            (right, found.d1, g.d1, found.k.clamp_max(bins - 2), found.k == bins - 1),
        ):
            g_r = (g_d * d / (1 + r.abs() / limit).square()).unsqueeze(dim)
            slopes.scatter_add_(dim, index, g_r.masked_fill(tail, 0.0))
        return None, gradient, None
