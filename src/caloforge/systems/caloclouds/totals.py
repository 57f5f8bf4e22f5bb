"""What the Shower Flow draws: points in each layer and visible energy, as numbers without gaps."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["PlainTotals", "RelativeTotals", "Totals"]


class Totals(ABC):
    """Numbers that say how many points a shower has in each layer, and their energy.

    All are in units of what the training sample has at most. Counts come with noise, uniform
    between 0 and 1 before they are scaled, so that they have a density.

    Args:
        n_layers: number L of layers.
    """

    def __init__(self, n_layers: int) -> None:
        self.n_layers = n_layers

    @property
    @abstractmethod
    def size(self) -> int:
        """Numbers of a shower."""

    @abstractmethod
    def forward(self, counts: Tensor, n: Tensor, visible: Tensor, incident: Tensor) -> Tensor:
        """The numbers, shape (n, size).

        Args:
            counts: points in each layer, shape (n, L).
            n: points in all layers, shape (n,).
            visible: visible energy, shape (n,).
            incident: incident energy, shape (n,).
        """

    @abstractmethod
    def inverse(self, totals: Tensor, incident: Tensor) -> tuple[Tensor, Tensor]:
        """Counts and visible energy; all points are those of the layers."""


class PlainTotals(Totals):
    """N, E_sum and N_z,i for each layer i (CaloClouds, section 3.3)."""

    @property
    def size(self) -> int:
        return 2 + self.n_layers

    def forward(self, counts: Tensor, n: Tensor, visible: Tensor, incident: Tensor) -> Tensor:
        return torch.cat([n[:, None], visible[:, None], counts], 1)

    def inverse(self, totals: Tensor, incident: Tensor) -> tuple[Tensor, Tensor]:
        return totals[:, 2:], totals[:, 1]


class RelativeTotals(Totals):
    """log(E_sum / N) and the root of N_z,i / E for each layer i.

    The root of a count fluctuates as much where there are few points as where there are many, and
    N, which the counts fix, is left out.
    """

    @property
    def size(self) -> int:
        return 1 + self.n_layers

    def forward(self, counts: Tensor, n: Tensor, visible: Tensor, incident: Tensor) -> Tensor:
        mean = (visible / counts.sum(1)).log()
        return torch.cat([mean[:, None], (counts / incident[:, None]).sqrt()], 1)

    def inverse(self, totals: Tensor, incident: Tensor) -> tuple[Tensor, Tensor]:
        counts = totals[:, 1:].clamp_min(0).square() * incident[:, None]
        return counts, totals[:, 0].exp() * counts.sum(1)
