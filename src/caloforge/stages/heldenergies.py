"""Layer energies from normal scores, held to the distributions that Geant4's have."""

from __future__ import annotations

import torch
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Branch, Noise, Seeds
from caloforge.cascade.stage import Stage, Upstream
from caloforge.geometry import Geometry
from caloforge.stages.quantiles import LocalQuantiles
from caloforge.stages.scores import CopulaStage, log_sum

__all__ = ["HeldEnergyStage"]

DRAWN = 30_000  # showers whose quantiles are counted
NEIGHBOURS = 1500  # of them, at one energy
BATCH = 1000


class HeldEnergyStage(Stage):
    """Energy of every layer, of the scores that another stage samples.

    Whatever the model of the scores: at any one energy each score is held to the standard normal,
    and the response to its distribution in the training sample, by the quantiles of showers that
    are sampled once for it. With G the local distribution of sampled numbers and F that of the
    training sample,

        x_l = F_l^-1(G_l(z_l)),   R = F^-1(G(sum x_l)),   E_l = E_inc R x_l / sum x_l.

    Args:
        scores: name of the stage that samples them.
        geometry: the voxels.

    Attributes:
        layers: quantiles of sampled scores.
        response: quantiles of the logarithm of the response that follows from them.
    """

    reads = ("energy_inc", "scores")
    writes = ("layer_energies",)
    learns = ("energy_inc",)

    def __init__(self, scores: str, geometry: Geometry) -> None:
        super().__init__()
        self.needs = (scores,)
        self.threshold = geometry.threshold
        self.layers = LocalQuantiles(NEIGHBOURS)
        self.response = LocalQuantiles(NEIGHBOURS)

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        model = self._model(upstream)
        energies = torch.cat([q["energy_inc"] for q in sample.to(rng.device).batches()])
        rows = torch.randint(len(energies), (DRAWN,), generator=rng, device=rng.device)
        seed = int(torch.randint(1 << 31, (), generator=rng, device=rng.device))
        at, scores = energies[rows].log(), _sampled(model, energies[rows], seed)
        self.layers.fit(at, scores, torch.ones_like(scores, dtype=torch.bool))
        total, known = log_sum(self._shares(scores, at, model))
        self.response.fit(at, total, known)

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        model = self._model(upstream)
        at = given["energy_inc"].log()
        shares = self._shares(given["scores"], at, model)
        total, known = log_sum(shares)
        held = self.response.scores(at, total, known, torch.zeros_like(total))
        response, _ = model.response.values(at, model.response.within(held))
        energies = given["energy_inc"].double()[:, None] * shares * (response - total).exp()
        least = torch.where(energies > 0, energies.clamp_min(self.threshold), 0.0)
        return {"layer_energies": least.float()}

    def _shares(self, scores: Tensor, at: Tensor, model: CopulaStage) -> Tensor:
        """Layer energies over E_inc, before their sum is the response, shape (n, n_layers)."""
        every = torch.ones_like(scores, dtype=torch.bool)
        held = self.layers.scores(at, scores.double(), every, scores)
        values, known = model.layers.values(at, model.layers.within(held))
        return torch.where(known, values.exp(), 0.0)

    def _model(self, upstream: Upstream) -> CopulaStage:
        return CopulaStage.of(upstream, *self.needs)


@torch.no_grad()
def _sampled(model: CopulaStage, energies: Tensor, seed: int) -> Tensor:
    """Scores of a model at incident energies [MeV], shape (n, n_layers)."""
    if not model.is_prepared:
        model.prepare()
    seeds = Seeds.of(seed, range(len(energies)), energies.device, Branch.SCORES)
    runs = [slice(i, i + BATCH) for i in range(0, len(energies), BATCH)]
    options = SamplingOptions()
    parts = [model.sample({"energy_inc": energies[r]}, {}, seeds[r], options) for r in runs]
    return torch.cat([part["scores"] for part in parts])
