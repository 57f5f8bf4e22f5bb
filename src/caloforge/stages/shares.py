"""Voxels as fractions of the energy of their layer, and back to the energies that layers have."""

from __future__ import annotations

import torch
from torch import Tensor

from caloforge.stages.rescaling import Rescaled, rescale

__all__ = ["normalised", "to_shares", "to_showers"]


def to_shares(showers: Tensor) -> Tensor:
    """Voxel energies in units of the energy of their layer, 0 where it has none (section 2).

    Args:
        showers: voxel energies [MeV], shape (n, L, a, b).
    """
    energies = showers.sum((2, 3), keepdim=True)
    return torch.where(energies > 0, showers / energies, 0.0)


def to_showers(shares: Tensor, layer_energies: Tensor) -> Tensor:
    """Voxel energies [MeV] of shares, as sampled, shape (n, L, a, b).

    Args:
        shares: those below 0 count as 0, shape (n, L, a, b).
        layer_energies: [MeV], shape (n, L).
    """
    return shares.clamp_min(0) * layer_energies[..., None, None]


def normalised(
    showers: Tensor, layer_energies: Tensor, threshold: float, which: Rescaled
) -> Tensor:
    """Showers whose layers have their energies (end of section 2), shape (n, L, a, b).

    Args:
        showers: voxel energies as sampled [MeV], shape (n, L, a, b).
        layer_energies: [MeV], shape (n, L); below the threshold they count as none.
        threshold: read-out threshold [MeV].
        which: voxels that are scaled.
    """
    if which == "none":
        return showers
    energies = torch.where(layer_energies < threshold, 0.0, layer_energies)  # NaN stays NaN
    return rescale(showers, energies, threshold, which)
