"""What the networks of CaloClouds are conditioned on."""

from __future__ import annotations

import torch
from torch import Tensor

from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.stage import Conditions, Upstream
from caloforge.preprocessing import ScaleByMax

__all__ = ["CloudConditions"]


class CloudConditions(Conditions):
    """Incident energy, number of points and direction as the networks see them (figure 2).

        2 E / max E - 1,   2 N / max N - 1,   the direction as it is

    with the largest values of the training split.

    Args:
        directed: whether they see the direction.

    Attributes:
        energy_inc: of the incident energy, to (0, 1].
        n_points: of the number of points, to [0, 1].
        particle: the quantities besides the number of points.
        incident_size: numbers that say which particle came.
        size: numbers that say which particle came and how many points it left.
    """

    def __init__(self, *, directed: bool) -> None:
        super().__init__()
        self.directed = directed
        self.energy_inc, self.n_points = ScaleByMax(), ScaleByMax()
        self.particle = ("energy_inc", "direction") if directed else ("energy_inc",)
        self.learns = (*self.particle, "n_points")
        self.incident_size, self.size = (4, 5) if directed else (1, 2)

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        self.energy_inc.fit(lambda: (q["energy_inc"] for q in sample.batches()))
        self.n_points.fit(lambda: (q["n_points"] for q in sample.batches()))

    def incident(self, quantities: Quantities) -> Tensor:
        """Which particle came, shape (n, incident_size)."""
        energy = 2 * self.energy_inc(quantities["energy_inc"])[:, None] - 1
        return torch.cat([energy, quantities["direction"]], 1) if self.directed else energy

    def both(self, quantities: Quantities) -> Tensor:
        """Which particle came and how many points it left, shape (n, size).

        Args:
            quantities: with `n_points`; or with `layer_counts`, of which it is the sum.
        """
        counts = quantities.get("n_points")
        if counts is None:
            counts = quantities["layer_counts"].sum(1)
        incident = self.incident(quantities)
        number: Tensor = self.n_points(counts.to(incident))
        return torch.cat([incident, 2 * number[:, None] - 1], 1)

    def all(self, quantities: Quantities) -> Tensor:
        """The same and the latent vector: what points are conditioned on, shape (n, size + latent).

        Args:
            quantities: as for `both`, with `latent`.
        """
        return torch.cat([self.both(quantities), quantities["latent"]], 1)
