"""Exponential moving average of a stage's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["MovingAverage"]


class MovingAverage:
    """average = d average + (1 - d) weights, with d = min(decay, (1 + step) / (10 + step)).

    Running statistics of batch norms are averaged with the weights they belong to.

    Args:
        module: whose weights to average.
        decay: fraction of the average that a step keeps.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: value.clone() for name, value in _averaged(module).items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after a step."""
        decay = min(self.decay, (1 + step) / (10 + step))
        fresh = _averaged(module)
        torch._foreach_lerp_(  # type: ignore[attr-defined, unused-ignore]
            list(self.values.values()), [fresh[name] for name in self.values], 1 - decay
        )

    @torch.no_grad()
    def swap(self, module: nn.Module) -> None:
        """Exchange the module's weights and the average; twice is nothing."""
        for name, value in _averaged(module).items():
            kept = value.clone()
            value.copy_(self.values[name])
            self.values[name].copy_(kept)


def _averaged(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: value.detach()
        for name, value in module.state_dict().items()
        if value.is_floating_point()
    }
