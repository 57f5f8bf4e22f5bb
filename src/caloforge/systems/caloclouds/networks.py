"""PointWise Net as a diffusion process calls it: points, a level of noise, a context."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from caloforge.nets import PointWiseNet

__all__ = ["POINT", "PointNetwork", "with_level"]

POINT = 4  # x, y, depth and energy
TIMES = 3


class PointNetwork(PointWiseNet):
    """PointWise Net, which sees (t, sin t, cos t) of the level t of noise besides the context.

    Args:
        context: features of the context without those of the level.
        hidden: widths of its layers.
    """

    def __init__(self, context: int, hidden: Sequence[int]) -> None:
        super().__init__(POINT, context + TIMES, hidden)

    def at(self, x: Tensor, level: Tensor, context: Tensor, cloud: Tensor | None = None) -> Tensor:
        """The shape of x, see `PointWiseNet`.

        Args:
            x: scaled points with noise.
            level: of the noise in each cloud, shape (n,), or in all, shape (1,).
            context: of each cloud, shape (n, context).
            cloud: which cloud each point belongs to, see `PointWiseNet`.
        """
        found: Tensor = self(x, with_level(context, level), cloud)
        return found


def with_level(context: Tensor, level: Tensor) -> Tensor:
    """The context of each cloud and (t, sin t, cos t) of its level t.

    Args:
        context: of each cloud, shape (n, context).
        level: of each cloud, shape (n,), or of all, shape (1,).
    """
    times = torch.stack([level, level.sin(), level.cos()], 1)
    return torch.cat([context, times.expand(len(context), TIMES)], 1)
