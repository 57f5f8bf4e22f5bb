"""The inverse of splines for sampling: no log-determinant, and few passes over a table of knots."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from caloforge.flows.spline import Spline

__all__ = ["KnotTable"]

LONG = 20_000  # values from which a sum row by row is the faster one


class KnotTable:
    """How raw spline parameters lie in a table, and the inverse of the spline that reads it.

    The table has the elements along its columns, and in its rows width and height of bin 0, of
    bin 1, …, then the derivatives at all K + 1 knots, with raw value 0, which is slope 1, at the
    tails. So no row is masked, and every step runs over whole rows.

    Args:
        spline: the element-wise map.
        like: a tensor of the device and precision to compute in.
    """

    def __init__(self, spline: Spline, like: Tensor) -> None:
        self.spline = spline
        self.n_rows = 3 * spline.bins + 1
        limit = -math.log(spline.minimum)
        # as tensors, since an operator wraps every plain number into one
        self.bound, self.width, self.per_width, self.limit, self.half_limit, self.two = (
            like.new_tensor(value)
            for value in (
                spline.bound,
                2 * spline.bound,
                0.5 / spline.bound,
                limit,
                limit / 2,
                2.0,
            )
        )
        self.next = torch.ones((), dtype=torch.int64, device=like.device)

    @property
    def rows(self) -> Tensor:
        """Which raw parameter of an element each row holds, -1 for a raw value of 0."""
        bins = self.spline.bins
        sizes = torch.arange(2 * bins).reshape(2, bins).T.flatten()
        tail = torch.tensor([-1])
        return torch.cat([sizes, tail, torch.arange(2 * bins, 3 * bins - 1), tail])

    def inverse(self, y: Tensor, table: Tensor) -> Tensor:
        """x of `Spline.inverse`.

        Bins are kept in units of their weights, of which the interval has `total`, so that only
        what is picked is scaled to x and y.

        Args:
            y: image, shape (n,).
            table: raw parameters, shape (3 K + 1, n); overwritten.

        Returns:
            Shape (n,).
        """
        bins, bound, n = self.spline.bins, self.spline.bound, len(y)
        weights = _exp_clipped(table[: 2 * bins], self.half_limit).view(bins, 2, n)
        ends = _running_sum(weights)
        total_x, total_y = ends[-1].unbind()

        inner = y.clamp(-bound, bound)  # NaN stays NaN
        value = torch.add(inner, self.bound).mul_(total_y).mul_(self.per_width)
        k = (value >= ends[:-1, 1]).sum(0, keepdim=True)
        picked = k.unsqueeze(1).expand(1, 2, n)
        end_x, end_y = ends.gather(0, picked)[0].unbind()
        w, h = weights.gather(0, picked)[0].unbind()
        slopes = table[2 * bins :].gather(0, torch.cat([k, k + self.next]))
        d0, d1 = _exp_clipped(slopes, self.limit).unbind()

        s = (h * total_x).div_(w * total_y)
        eta = value.sub_(end_y).add_(h).div_(h).clamp_(0, 1)
        # The root of a theta^2 + b theta + c = 0 as in `Spline.inverse`, c with its sign reversed.
        curvature = (d0 + d1).sub_(s, alpha=2).mul_(eta)
        b = d0 - curvature
        a = (s - d0).add_(curvature)
        c = s.mul_(eta)
        root = (b * b).addcmul_(a, c, value=4).clamp_min_(0).sqrt_().add_(b)
        theta = c.mul_(self.two).div_(root).clamp_(0, 1)
        x = (end_x - w).addcmul_(w, theta).div_(total_x).mul_(self.width).sub_(self.bound)
        return x.add_(y.sub(inner))  # outside, the image of the bound moves along


def _exp_clipped(raw: Tensor, limit: Tensor) -> Tensor:
    """exp(soft_clip(raw)), see `bins`; overwrites raw."""
    return raw.div_(raw.abs().add_(limit)).mul_(limit).exp_()


def _running_sum(values: Tensor) -> Tensor:
    """Sum of the rows up to each. cumsum runs down the columns: slow where rows are long."""
    if values.numel() < LONG:
        return values.cumsum(0)
    sums = torch.empty_like(values)
    rows, each = sums.unbind(), values.unbind()
    rows[0].copy_(each[0])
    for before, value, row in zip(rows, each[1:], rows[1:], strict=False):
        torch.add(before, value, out=row)
    return sums
