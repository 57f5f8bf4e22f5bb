"""A learned image that encodes the position of a pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Offset"]


class Offset(nn.Module):
    """Adds a learned image, so that a pixel is known from its position.

    Convolutions see the position of a pixel only by what lies around it.

    Args:
        shape: channels, height and width of x (n, *shape).
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.image = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.image
