"""Arguments that many functions take: incident energies, seeds, devices."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

__all__ = ["batch_rng", "check_device", "incident_energies"]


def incident_energies(energy_inc: ArrayLike) -> NDArray[np.float32]:
    """Incident energies [MeV] as showers hold them, shape (n,).

    Raises:
        ValueError: if they are not positive numbers in one dimension.
    """
    energies = np.asarray(energy_inc, dtype=np.float32)
    if energies.ndim != 1:
        raise ValueError(f"energy_inc must be energies [MeV] of shape (n,), got {energies.shape}")
    wrong = np.flatnonzero(~(np.isfinite(energies) & (energies > 0)))
    if wrong.size:
        raise ValueError(
            "energy_inc must be positive, finite energies [MeV], "
            f"got {energies[wrong[0]]} at entry {wrong[0]}"
        )
    return energies


def batch_rng(seed: int, number: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The generator of one batch: independent of all others, so that any batch can be redone."""
    state = np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) & (2**63 - 1))


def check_device(device: torch.device | str) -> str:
    """The same device, if it can be had.

    Raises:
        ValueError: for an accelerator that is not there.
    """
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"PyTorch sees no accelerator for the device {device!r}: use 'cpu'")
    return str(device)
