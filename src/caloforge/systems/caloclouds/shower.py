"""The Shower Flow: points in each layer and visible energy, given the incident energy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Noise
from caloforge.cascade.stage import Batch, Learned, Upstream
from caloforge.flows import Bijection, Flow, LinearSpline, Spline, affine_stack, vector_stack
from caloforge.geometry import Geometry
from caloforge.preprocessing import ScaleByMax, Standardise
from caloforge.systems.caloclouds.conditions import CloudConditions
from caloforge.systems.caloclouds.config import ShowerFlowConfig
from caloforge.systems.caloclouds.totals import LayerTotals, PlainTotals, RelativeTotals, Totals

__all__ = ["ShowerStage"]

TOTALS: dict[str, Callable[[int], Totals]] = {
    "plain": PlainTotals,
    "relative": RelativeTotals,
    "layers": LayerTotals,
}
LARGEST = 2.0  # counts and energies that are sampled, in units of the training sample's


class ShowerStage(Learned):
    """Points in each layer and visible energy, or energies, given the incident one (section 3.3).

    What is sampled is never more than twice what the training sample has at most. N is the sum of
    the counts of all layers.

    Args:
        config: its configuration.
        geometry: the layers.
        conditions: those of all networks, of which the sizes are taken.
    """

    needs = ("conditions",)

    def __init__(
        self, config: ShowerFlowConfig, geometry: Geometry, conditions: CloudConditions
    ) -> None:
        super().__init__()
        self.recipe = config.recipe
        self.totals: Totals = TOTALS[config.totals](geometry.n_layers)
        self.reads, self.writes = conditions.particle, self.totals.writes
        self.learns = (*self.reads, "n_points", *self.writes)
        self.layer_counts, self.visible_energy = ScaleByMax(), ScaleByMax()
        self.features = Standardise((self.totals.size,))
        bijection = _bijection(config, self.totals.size, conditions.incident_size)
        self.flow = Flow(bijection, (self.totals.size,))

    @property
    def sequential_passes(self) -> int:
        return self.flow.bijection.sequential_passes

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        self.layer_counts.fit(lambda: (q["layer_counts"] for q in sample.batches()))
        self.visible_energy.fit(lambda: (q["visible_energy"] for q in sample.batches()))
        self.features.fit(lambda: (self._noised(q, upstream, rng) for q in sample.batches()))

    def _noised(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Tensor:
        """Totals with noise, shape (n, totals.size)."""
        conditions = CloudConditions.of(upstream, "conditions")
        counts, n = quantities["layer_counts"], quantities["n_points"]
        noise = torch.rand(len(n), 1 + counts.shape[1], generator=rng, device=counts.device)
        noise = 1 - noise  # never 0
        scaled = {
            "layer_counts": self.layer_counts(counts + noise[:, 1:]),
            "n_points": conditions.n_points(n + noise[:, 0]),
            "energy_inc": conditions.energy_inc(quantities["energy_inc"]),
        }
        energies = [name for name in self.writes if name != "layer_counts"]
        scaled |= {name: self.visible_energy(quantities[name]) for name in energies}
        return self.totals.forward(scaled, rng)

    def context(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        """Shape (n, conditions.incident_size)."""
        return CloudConditions.of(upstream, "conditions").incident(quantities)

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        x = self.features(self._noised(quantities, upstream, rng))
        return {"x": x, "context": self.context(quantities, upstream)}

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Negative log-likelihood a number."""
        return -self.flow.log_prob(batch["x"], batch["context"]).mean() / self.totals.size

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return self.flow.latent_shape

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        sampled = self.features.inverse(self.flow.decode(noise["z"], self.context(given, upstream)))
        energy_inc = CloudConditions.of(upstream, "conditions").energy_inc(given["energy_inc"])
        totals = self.totals.inverse(sampled, energy_inc)
        scaled = {name: values.clamp(0, LARGEST) for name, values in totals.items()}
        counts = scaled.pop("layer_counts")
        if not torch.isfinite(counts).all():  # here, as so many points cannot be sampled
            raise FloatingPointError(
                "the stage shower sampled counts that are not finite: its training diverged, or "
                "the incident energies lie far outside those it was trained on"
            )
        counts = self.layer_counts.inverse(counts).floor()
        energies = {name: self.visible_energy.inverse(v) for name, v in scaled.items()}
        if (layers := energies.get("layer_energies")) is not None:  # only where there are points
            layers = layers.where(counts > 0, 0.0)
            visible = torch.minimum(layers.sum(1), energies["visible_energy"])
            energies |= {"layer_energies": layers, "visible_energy": visible}
        return {"layer_counts": counts, **energies}


def _bijection(config: ShowerFlowConfig, features: int, context: int) -> Bijection:
    """The flow of a configuration between so many features, in so many conditions."""
    if config.kind == "affine":
        return affine_stack(
            features,
            context,
            blocks=config.blocks,
            couplings=config.couplings,
            hidden=config.hidden,
            spline_hidden=config.spline_hidden,
            hidden_layers=1,
            spline=LinearSpline(config.bins, config.bound),
        )
    return vector_stack(
        "masked",
        features,
        context,
        blocks=config.blocks,
        hidden=config.hidden,
        hidden_layers=1,
        spline=Spline(config.bins, config.bound),
        orders=("reverse",),
    )
