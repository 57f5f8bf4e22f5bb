"""The superresolution flow of SuperCalo: the fine voxels of coarse ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.choices import MEMORY_BUDGET, POSTPROCESS, RESAMPLE, Choice
from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities, coarse_name
from caloforge.cascade.seeds import Noise, Seeds
from caloforge.cascade.stage import Batch, Learned, Upstream
from caloforge.geometry import Coarsening, Geometry
from caloforge.preprocessing import Chain, Logit, ScaleByMax
from caloforge.stages.rescaling import rescale
from caloforge.systems.supercalo.coarse import incident_condition
from caloforge.systems.supercalo.config import UpsampleFlow
from caloforge.systems.supercalo.shares import HitShares, RelativeShares

__all__ = ["UpsampleStage"]

COPIES = 8  # of the splines' parameters that a flow holds at once
SHARES: dict[str, type[RelativeShares | HitShares]] = {
    "relative": RelativeShares,
    "hits": HitShares,
}


class UpsampleStage(Learned):
    """Fine voxels of every coarse voxel that holds energy (SuperCalo, section III).

    All coarse voxels of all showers are sampled alike and independently (equation 2).

    Args:
        config: its configuration.
        geometry: the fine voxels.
    """

    choices: Mapping[str, Choice] = {
        "postprocess": POSTPROCESS,
        "resample": RESAMPLE,
        "memory_budget": MEMORY_BUDGET,
    }
    fine_index: Tensor
    neighbours: Tensor
    place: Tensor

    def __init__(self, config: UpsampleFlow, geometry: Geometry) -> None:
        super().__init__()
        self.config = config
        self.recipe = config.recipe
        self.coarsening = coarsening = Coarsening(geometry, config.factors)
        self.threshold = geometry.threshold
        self.shape = geometry.shape
        self.own = coarse_name(config.factors)
        fine_layers = ("layer_energies",) if config.layer_energies == "fine" else ()
        self.reads = ("energy_inc", self.own, *fine_layers)
        self.writes = ("showers",)
        constants = {
            "fine_index": torch.from_numpy(coarsening.fine_index.copy()),
            "neighbours": torch.from_numpy(coarsening.neighbours.copy()),
            "place": _place(coarsening),
        }
        for name, value in constants.items():  # they follow from the configuration
            self.register_buffer(name, value, persistent=False)
        spanned = config.factors[0] if fine_layers else 1
        n_conditions = 2 + spanned + self.neighbours.shape[1] + self.place.shape[1]
        self.shares = SHARES[config.shares](config, coarsening.n_fine, n_conditions)
        self.energy_inc = incident_condition()
        self.coarse = Chain(ScaleByMax(), Logit(config.alpha))  # B6, B7
        self.layer_energies = Chain(ScaleByMax(), Logit(config.alpha))  # B2, B3

    @property
    def sequential_passes(self) -> int:
        return self.shares.sequential_passes

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        self.coarse.fit(lambda: (q[self.own] for q in sample.batches()))
        self.layer_energies.fit(lambda: (self._spanned(q) for q in sample.batches()))

    def _spanned(self, quantities: Quantities) -> Tensor:
        """Energies of the layers that each coarse layer spans, or their sum.

        Shape (n, coarse layers, spanned); below the threshold they count as none.
        """
        if self.config.layer_energies == "fine":
            energies = quantities["layer_energies"]
        else:
            energies = quantities[self.own].unflatten(1, (self.coarsening.shape[0], -1)).sum(2)
        energies = torch.where(energies < self.threshold, 0.0, energies)  # NaN stays NaN
        spanned: Tensor = energies.unflatten(1, (self.coarsening.shape[0], -1))
        return spanned

    def context(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        """Conditions of the coarse voxels that hold energy, in the order of shower and voxel.

        In this order: incident energy; energy of the coarse voxel, `noised` where it has noise;
        energies of the layers that it spans; energies of its six neighbours, 0 where there
        is none (see `Coarsening.neighbours`); its coarse layer and its radial bin, or its bins of x
        and y, one-hot.

        Returns:
            Shape (hits, 31) for choice A, (hits, 57) for choice B of `calochallenge-2`.
        """
        coarse = quantities[self.own]
        shower, voxel = self._hit(quantities)
        padded = torch.cat([coarse, torch.zeros_like(coarse[:, :1])], 1)  # what -1 points at
        around = padded[shower[:, None], self.neighbours[voxel]]
        in_layer = self.coarsening.n_coarse // self.coarsening.shape[0]
        spanned = self.layer_energies(self._spanned(quantities))[shower, voxel // in_layer]
        incident = self.energy_inc(quantities["energy_inc"])[shower]
        own = self.coarse(quantities["noised"][shower, voxel])
        columns = [incident[:, None], own[:, None], spanned, self.coarse(around)]
        return torch.cat([*columns, self.place[voxel]], 1)

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        quantities = self._with_hit(quantities)
        fine = quantities["showers"].flatten(1)[:, self.fine_index][self._hit(quantities)]
        noise = self.shares.noise(len(fine), fine, rng)
        if noise is not None:
            fine = fine + noise
        context = self.context(self._noised(quantities, noise), upstream)
        return {**self.shares.batch(fine, rng), "context": context}

    def _noised(self, quantities: Quantities, noise: Tensor | None) -> Quantities:
        """With the energies of coarse voxels as the flow sees them, noise of fine ones included."""
        coarse = quantities[self.own]
        if noise is None:
            return {**quantities, "noised": coarse}
        added = noise.sum(1).to(coarse)
        noised = coarse.index_put(self._hit(quantities), added, accumulate=True)
        return {**quantities, "noised": noised}

    def _with_hit(self, quantities: Quantities) -> Quantities:
        """With the numbers of the coarse voxels that hold energy, which an accelerator looks up."""
        return {**quantities, "hit": quantities[self.own].nonzero()}

    def _hit(self, quantities: Quantities) -> tuple[Tensor, Tensor]:
        """Shower and voxel of each of them."""
        known = quantities if "hit" in quantities else self._with_hit(quantities)
        shower, voxel = known["hit"].unbind(1)
        return shower, voxel

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        return self.shares.loss(batch)

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        """Of every coarse voxel that holds energy, in the order of shower and voxel."""
        return self.shares.sample((given[self.own] != 0).sum(1).cpu(), seeds)

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        coarse, known = given[self.own], self._with_hit(given)
        shower, voxel = self._hit(known)
        seen = self._noised(known, noise.get("added"))
        shares = self._decode(noise["latent"], self.context(seen, upstream), options)
        energies = shares * seen["noised"][shower, voxel][:, None]
        if options.postprocess and self.config.rescale != "none":
            wanted = coarse[shower, voxel][:, None]
            energies = rescale(energies[:, None], wanted, self.threshold, self.config.rescale)[:, 0]
        showers = coarse.new_zeros(len(coarse), self.fine_index.numel())
        showers[shower[:, None], self.fine_index[voxel]] = energies
        return {"showers": showers.reshape(-1, *self.shape)}

    def _decode(self, latent: Tensor, context: Tensor, options: SamplingOptions) -> Tensor:
        """Fractions of the fine voxels, shape (hits, n_fine), within the memory budget."""
        parameters = self.coarsening.n_fine * (3 * self.config.bins + 1)
        size = COPIES * (parameters + context.shape[1] + self.config.hidden) * latent.element_size()
        at_once = max(1, options.memory_budget // size)
        pieces = zip(latent.split(at_once), context.split(at_once), strict=True)
        return torch.cat([self.shares.decode(*piece) for piece in pieces])


def _place(coarsening: Coarsening) -> Tensor:
    """Coarse layer and bin of r, or of x and y, of each coarse voxel, one-hot."""
    axes = (0, 1, 2) if coarsening.fine.cyclic_axis is None else (0, 2)
    numbers = torch.cartesian_prod(*(torch.arange(size) for size in coarsening.shape))
    hot = [torch.nn.functional.one_hot(numbers[:, i], coarsening.shape[i]) for i in axes]
    return torch.cat(hot, 1).to(torch.get_default_dtype())
