"""What all stages of CaloDREAM are conditioned on: incident energy and energy ratios."""

from __future__ import annotations

import torch
from torch import Tensor

from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.preprocessing import Chain, EnergyRatios, Logit, LogRange, Snap, Standardise

__all__ = ["SETTINGS", "Conditions"]

SETTINGS = {"Logit": "factor", "Snap": "energies.snap"}
"""What to change where a transform of the ratios moves too much of a training sample."""


class Conditions:
    """Incident energy and energy ratios as every network sees them (CaloDREAM, section 2).

    One object for all stages of a system. Each keeps its two transforms beside its weights; they
    are the same everywhere, as all stages are fitted on one training split.

    Args:
        n_layers: number of layers L.
        factor: f of the energy ratios (equation 2).
        alpha: of their logit (equation 3).
        snap: whether ratios drawn between 0 or 1 and all others are either, see `Snap`.

    Attributes:
        energy_inc: of the incident energy, to about [0, 1].
        ratios: of the energy ratios, a standardised logit.
    """

    def __init__(self, n_layers: int, factor: float, alpha: float, *, snap: bool = False) -> None:
        self.n_layers = n_layers
        self.energy_ratios = EnergyRatios(factor)
        self.energy_inc = LogRange()
        links = (Logit(alpha), Standardise((n_layers,)))
        self.ratios = Chain(Snap(alpha), *links) if snap else Chain(*links)

    def fit(self, sample: ShowerQuantities) -> None:
        """Fit both transforms on the training split."""
        self.energy_inc.fit(lambda: (q["energy_inc"] for q in sample.batches()))
        self.ratios.fit(
            lambda: (
                self.energy_ratios.forward(q["layer_energies"], q["energy_inc"])
                for q in sample.batches()
            )
        )

    def incident(self, quantities: Quantities) -> Tensor:
        """Shape (n, 1)."""
        incident: Tensor = self.energy_inc(quantities["energy_inc"])
        return incident[:, None]

    def transformed_ratios(self, quantities: Quantities) -> Tensor:
        """Shape (n, L)."""
        u = self.energy_ratios.forward(quantities["layer_energies"], quantities["energy_inc"])
        transformed: Tensor = self.ratios(u)
        return transformed

    def layer_energies(self, transformed_ratios: Tensor, energy_inc: Tensor) -> Tensor:
        """Inverse of `transformed_ratios` [MeV], shape (n, L).

        Args:
            transformed_ratios: shape (n, L).
            energy_inc: incident energy [MeV], shape (n,).
        """
        return self.energy_ratios.inverse(self.ratios.inverse(transformed_ratios), energy_inc)

    def both(self, quantities: Quantities) -> Tensor:
        """Incident energy and ratios, shape (n, 1 + L): what shapes are conditioned on."""
        return torch.cat([self.incident(quantities), self.transformed_ratios(quantities)], 1)
