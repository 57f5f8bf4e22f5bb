"""Noise that gives sparse energies a bounded density; it loses information by design."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["add_gaussian", "add_uniform", "fill_zeros"]


def fill_zeros(energy: Tensor, *, median: float, decades: float, rng: torch.Generator) -> Tensor:
    """Give empty voxels log-normal energies (Convolutional L2LFlows, section 3.3 and table 8).

    Args:
        energy: voxel energies [MeV], any shape.
        median: median of the fill [MeV].
        decades: standard deviation of its log10.
        rng: source of the noise.
    """
    normal = torch.randn(energy.shape, generator=rng, device=energy.device, dtype=energy.dtype)
    return torch.where(energy > 0, energy, median * 10 ** (decades * normal))


def add_uniform(energy: Tensor, *, width: float, rng: torch.Generator) -> Tensor:
    """Add noise uniform between 0 and `width` [MeV] (Convolutional L2LFlows, section 3.3).

    It is never 0: an empty voxel gets a logarithm.
    """
    noise = torch.rand(energy.shape, generator=rng, device=energy.device, dtype=energy.dtype)
    return energy + width * (1 - noise)  # rand lies in [0, 1)


def add_gaussian(energy: Tensor, *, mean: float, std: float, rng: torch.Generator) -> Tensor:
    """Add Gaussian noise, mean and standard deviation in MeV; the sum stays non-negative."""
    noise = torch.randn(energy.shape, generator=rng, device=energy.device, dtype=energy.dtype)
    return (energy + mean + std * noise).clamp_min(0)
