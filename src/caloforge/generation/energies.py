"""Incident energies like those of a training sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["training_energies"]


def training_energies(config: dict[str, Any], n: int, seed: int) -> NDArray[np.float32]:
    """Sample incident energies as the training sample has them, within the trained range.

    Args:
        config: of the run folder, which keeps the quantiles of the training sample's energies.
        n: number of energies.
        seed: of the random numbers.

    Returns:
        Energies [MeV], shape (n,).

    Raises:
        ValueError: if the run folder does not name its training sample.
    """
    quantiles = config.get("data", {}).get("energy_inc_quantiles")
    if not quantiles:
        raise ValueError("the run folder does not record its training energies: give the energies")
    share = np.random.default_rng(seed).random(n)
    trained = config["data"].get("trained")
    if trained is not None:  # the ends may be of showers that were kept for validation
        quantiles = np.clip(quantiles, *trained["energy_inc"])
    known = np.log(np.asarray(quantiles))
    sampled = np.exp(np.interp(share, np.linspace(0, 1, len(known)), known))
    energies: NDArray[np.float32] = sampled.astype(np.float32)
    return energies
