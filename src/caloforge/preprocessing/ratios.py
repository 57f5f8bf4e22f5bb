"""Layer energies as independent ratios."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["EnergyRatios"]


@dataclass(frozen=True)
class EnergyRatios:
    """Layer energies E_1 … E_L as ratios u_0 … u_L-1 (CaloDREAM, equation 2).

        u_0 = sum_i E_i / (f E_inc),   u_i = E_i / sum_j>=i E_j,   i = 1 … L - 1

    All after u_0 lie between 0 and 1, and u_0 does where no shower deposits more than f times its
    incident energy. Where a shower ends, u is exactly 1, and after that 0.

    Args:
        factor: f.

    Raises:
        ValueError: if the factor is not positive.
    """

    factor: float = 2.85

    def __post_init__(self) -> None:
        if not self.factor > 0:
            raise ValueError(f"the factor must be positive, got {self.factor}")

    def forward(self, layer_energies: Tensor, energy_inc: Tensor) -> Tensor:
        """The ratios, shape (n, L).

        Args:
            layer_energies: non-negative [MeV], shape (n, L).
            energy_inc: incident energy [MeV], shape (n,).
        """
        left = layer_energies.flip(-1).cumsum(-1).flip(-1)  # from the end: no digits are lost
        whole = left[..., :1] / (self.factor * energy_inc[..., None])
        shares = torch.where(left == 0, 0.0, layer_energies / left)
        return torch.cat([whole, shares[..., :-1]], -1)

    def inverse(self, u: Tensor, energy_inc: Tensor) -> Tensor:
        """Layer energies [MeV], shape (n, L), of which the sum is u_0 f E_inc whatever the others.

        Ratios beyond 0 or 1 are moved to the border, u_0 to 0 alone, which loses information: the
        layer energies of a shower have none.

        Args:
            u: ratios, shape (n, L).
            energy_inc: incident energy [MeV], shape (n,).
        """
        whole = u[..., :1].clamp_min(0) * (self.factor * energy_inc[..., None])
        shares = u[..., 1:].clamp(0, 1)
        left = torch.cat([whole, 1 - shares], -1).cumprod(-1)
        return left * torch.cat([shares, torch.ones_like(whole)], -1)
