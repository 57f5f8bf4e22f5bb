"""Times, or other numbers between 0 and 1, as waves of many lengths."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["Waves"]

FASTEST = 100.0  # radians from 0 to 1: what differs by a hundredth is distinguished


class Waves(nn.Module):
    """cos(w_k t) and sin(w_k t) with w_k from 1 to 100 in equal ratios.

    Args:
        features: how many of both together, an even number.

    Raises:
        ValueError: for an odd number.
    """

    frequencies: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        if features < 2 or features % 2:
            raise ValueError(f"waves come in pairs, expected an even number, got {features}")
        frequencies = torch.logspace(0, math.log10(FASTEST), features // 2)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        """Shape (..., features) for t of shape (...)."""
        phase = t[..., None] * self.frequencies
        return torch.cat([phase.cos(), phase.sin()], -1)
