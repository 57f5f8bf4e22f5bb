"""Coupling blocks on images: one half of the channels sets the spline of the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from caloforge.flows.base import Bijection
from caloforge.flows.spline import Spline

__all__ = ["SplineCoupling"]


class SplineCoupling(Bijection):
    """Spline coupling along the channels (Convolutional L2LFlows, section 3.2).

    The first C // 2 channels and the context go through a network that gives the spline of every
    remaining element; they themselves pass unchanged.

    Args:
        channels: number of channels C of x (n, C, height, width).
        network: maps (n, C // 2 + context channels, height, width) to
            (n, (C - C // 2) * spline.n_parameters, height, width).
        spline: the element-wise map.
    """

    def __init__(self, channels: int, network: nn.Module, spline: Spline) -> None:
        super().__init__()
        if channels < 2:
            raise ValueError(f"a coupling splits 2 channels or more, got {channels}: squeeze first")
        self.n_kept = channels // 2
        self.network = network
        self.spline = spline

    def _raw(self, kept: Tensor, context: Tensor | None) -> Tensor:
        seen = kept if context is None else torch.cat([kept, context], 1)
        # in mixed precision the network alone computes in half precision
        raw: Tensor = self.network(seen).to(kept.dtype)
        # (n, channel, parameter, height, width)
        split: Tensor = raw.unflatten(1, (-1, self.spline.n_parameters))
        return split

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, changed = x[:, : self.n_kept], x[:, self.n_kept :]
        image, log_slope = self.spline.forward(changed, self._raw(kept, context), dim=2)
        return torch.cat([kept, image], 1), log_slope.flatten(1).sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, changed = z[:, : self.n_kept], z[:, self.n_kept :]
        image, log_slope = self.spline.inverse(changed, self._raw(kept, context), dim=2)
        return torch.cat([kept, image], 1), log_slope.flatten(1).sum(1)
