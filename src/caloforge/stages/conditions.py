"""What all networks of CaloDREAM are conditioned on: incident energy and energy ratios."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.stage import Conditions, Upstream
from caloforge.preprocessing import Chain, EnergyRatios, Logit, LogRange, Snap, Standardise

__all__ = ["RatioConditions"]


class RatioConditions(Conditions):
    """Incident energy and energy ratios as every network sees them (CaloDREAM, section 2).

    Args:
        n_layers: number of layers L.
        factor: f of the energy ratios (equation 2).
        alpha: of their logit (equation 3).
        snap: whether ratios sampled between 0 or 1 and all others are either, see `Snap`.

    Attributes:
        size: numbers of a shower, 1 + L.
        energy_inc: of the incident energy, to about [0, 1].
        ratios: of the energy ratios, a standardised logit.
    """

    learns = ("energy_inc", "layer_energies")
    settings = {"Logit": "factor", "Snap": "energies.snap"}  # noqa: RUF012 (read only)

    def __init__(self, n_layers: int, factor: float, alpha: float, *, snap: bool = False) -> None:
        super().__init__()
        self.size = 1 + n_layers
        self.energy_ratios = EnergyRatios(factor)
        self.energy_inc = LogRange()
        links = (Logit(alpha), Standardise((n_layers,)))
        self.ratios = Chain(Snap(alpha), *links) if snap else Chain(*links)

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        self.energy_inc.fit(lambda: (q["energy_inc"] for q in sample.batches()))
        self.ratios.fit(
            lambda: (
                self.energy_ratios.forward(q["layer_energies"], q["energy_inc"])
                for q in sample.batches()
            )
        )

    def limits(self, quantities: Quantities) -> Mapping[str, Tensor]:
        visible = quantities["layer_energies"].sum(1)
        return {"factor": visible > self.energy_ratios.factor * quantities["energy_inc"]}

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
