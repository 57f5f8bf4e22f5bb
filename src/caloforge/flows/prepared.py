"""What sampling makes of a bijection once: its inverse alone, with all that weights decide done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ChannelMap", "Inverse"]

# x = f^-1(z | context), without log-determinant and without gradients
Inverse = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class ChannelMap:
    """x = matrix z + bias at every pixel of z (n, C, height, width).

    The image comes with the channel as the slowest axis in memory: what splines, which act on some
    channels, and the next map want.

    Args:
        matrix: shape (C, C).
        bias: shape (C, 1).
    """

    matrix: Tensor
    bias: Tensor

    def __call__(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        n, channels, height, width = z.shape
        flat = z.transpose(0, 1).reshape(channels, -1)
        x = torch.addmm(self.bias, self.matrix, flat)
        return x.view(channels, n, height, width).transpose(0, 1)

    def then(self, following: ChannelMap) -> ChannelMap:
        """Both in one."""
        matrix = following.matrix @ self.matrix
        return ChannelMap(matrix, following.matrix @ self.bias + following.bias)
