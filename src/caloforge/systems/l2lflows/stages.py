"""The causal flow of a layer as a stage: what L2LFlows has after the layer energies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities, layer_name
from caloforge.cascade.seeds import Noise
from caloforge.cascade.stage import Batch, Learned, Upstream
from caloforge.geometry import Geometry
from caloforge.preprocessing import (
    Chain,
    FillNoise,
    Log,
    LogEnergy,
    Logit,
    ScaleByMax,
    Symmetry,
    add_uniform,
    fill_zeros,
)
from caloforge.showers import ShowerSource
from caloforge.systems.l2lflows.config import ConvolutionalFlow, MaskedFlow
from caloforge.systems.l2lflows.networks import layer_flow
from caloforge.units import GeV

__all__ = ["LayerStage", "incident_condition"]

FIRST_BATCH = 512  # showers that set the activation norms


def incident_condition() -> LogEnergy:
    """2 log10(E_inc / GeV) - 3, which is B.6 up to an affine map."""
    return LogEnergy(1 * GeV, scale=2.0, shift=-3.0)


def _neighbour(layer: int, n_layers: int) -> tuple[str, ...]:
    """The next layer towards the middle one."""
    middle = n_layers // 2
    return () if layer == middle else (layer_name(layer + (1 if layer < middle else -1)),)


class LayerStage(Learned):
    """Voxel energies of one layer (Convolutional L2LFlows, section 3.2).

    Conditioned on the incident energy, the energy of the layer and the voxels of up to five layers
    before it.

    Args:
        config: its configuration.
        geometry: the voxels.
        layer: number of the layer.
    """

    def __init__(
        self, config: ConvolutionalFlow | MaskedFlow, geometry: Geometry, layer: int
    ) -> None:
        super().__init__()
        self.config = config
        self.layer = layer
        self.needs = _neighbour(layer, geometry.n_layers) if config.warm_start else ()
        self.previous = tuple(
            layer_name(i) for i in range(max(0, layer - config.previous_layers), layer)
        )
        # where no earlier layer says where hits are, the learned position does, from nothing
        is_first = not self.needs or (config.position and not self.previous)
        first = config.warm_start and is_first and config.first_epochs
        self.recipe = replace(config.recipe, epochs=first) if first else config.recipe
        self.threshold = geometry.threshold
        cyclic = geometry.cyclic_axis is not None
        self.symmetry = Symmetry(cyclic, config.rotation, config.reflection, "layers")
        self.own = layer_name(layer)
        self.reads = ("energy_inc", "layer_energies", *self.previous)
        self.writes = (self.own,)
        self.shape = geometry.layer_shapes[layer]
        a, b = (size + more for size, more in zip(self.shape, config.padding, strict=True))
        self.flow = layer_flow(config, (a, b), len(self.previous), cyclic=cyclic)
        self.voxels = self._voxel_transform()
        self.previous_voxels = self._voxel_transform() if self.previous else None
        self.energy_inc = incident_condition()
        self.layer_energy = LogEnergy(1 * GeV, scale=1.0, shift=1.0)  # B.7 up to an affine map

    def _voxel_transform(self) -> Chain:
        return Chain(ScaleByMax(), Log(self.config.floor), Logit(self.config.alpha))  # B.4, B.5

    @property
    def sequential_passes(self) -> int:
        return self.flow.bijection.sequential_passes

    def check(self, sample: ShowerSource[Any]) -> None:
        super().check(sample)
        layers = ShowerQuantities(sample, (self.own,), budget=0)
        self.symmetry.check(q[self.own] for q in layers.batches())

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        self.voxels.fit(lambda: (q[self.own] for q in sample.batches()))
        if self.previous_voxels is not None:
            self.previous_voxels.fit(lambda: self._previous(sample))
        showers = torch.randperm(len(sample), generator=rng, device=rng.device)[:FIRST_BATCH]
        batch = self.batch(sample.take(showers.cpu()), upstream, rng)
        self.flow.initialise(batch["x"], batch["context"])
        for neighbour in upstream.values():
            assert isinstance(neighbour, LayerStage)
            self._start_from(neighbour)

    def _start_from(self, neighbour: LayerStage) -> None:
        """Take over the weights of the same shape: all but those of the first layers' context."""
        weights = self.flow.state_dict()
        for name, value in neighbour.flow.state_dict().items():
            if name in weights and weights[name].shape == value.shape:
                weights[name] = value
        self.flow.load_state_dict(weights)

    def _previous(self, sample: ShowerQuantities) -> Iterator[Tensor]:
        for quantities in sample.batches():
            yield torch.stack([quantities[name] for name in self.previous], 1)

    def context(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        """Earlier layers and the two energies as images, shape (n, previous + 2, *layer shape).

        A layer energy below the read-out threshold of one voxel counts as none: the energy flow
        samples such values where Geant4 has exactly zero.
        """
        energy = quantities["layer_energies"][:, self.layer]
        energy = torch.where(energy < self.threshold, 0.0, energy)  # NaN stays NaN
        conditions = [self.energy_inc(quantities["energy_inc"]), self.layer_energy(energy)]
        images = [c[:, None, None].expand(-1, *self.flow.shape[1:]) for c in conditions]
        if self.previous_voxels is not None:
            previous = self._pad(torch.stack([quantities[name] for name in self.previous], 1))
            return torch.cat([self.previous_voxels(previous), torch.stack(images, 1)], 1)
        return torch.stack(images, 1)

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        names = (*self.previous, self.own)
        layers = torch.stack([quantities[name] for name in names], 1)
        layers = self.symmetry(layers, rng)
        padded = self._noised(self._pad(layers), rng)
        noised = self._cut(padded)
        own = noised[:, -1]
        # the layer's energy as the read-out sees it: noise included, what is below threshold not
        energies = quantities["layer_energies"].clone()
        energies[:, self.layer] = torch.where(own >= self.threshold, own, 0.0).sum((1, 2))
        seen = {**quantities, "layer_energies": energies}
        seen.update({name: noised[:, i] for i, name in enumerate(self.previous)})
        return {"x": self.voxels(padded[:, -1])[:, None], "context": self.context(seen, upstream)}

    def _noised(self, layers: Tensor, rng: torch.Generator) -> Tensor:
        """With noise in every voxel, those without energy filled before."""
        config = self.config
        filled = fill_zeros(layers, median=config.fill_median, decades=config.fill_decades, rng=rng)
        return add_uniform(filled, width=config.noise_width, rng=rng)

    def add_noise(self, quantities: Quantities, rng: torch.Generator) -> Quantities:
        return {**quantities, self.own: self._noised(quantities[self.own], rng)}

    def entry_noise(self) -> FillNoise:
        config = self.config
        return FillNoise(config.fill_median, config.fill_decades, config.noise_width)

    def log_prob(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Tensor:
        """Of the layer's own voxels: padded bins hold noise whose density is divided out.

        That leaves, on average over the noise, a lower bound of the density of the voxels alone.
        """
        own = quantities[self.own]
        is_own = self._pad(torch.ones_like(own)) > 0
        voxels = torch.where(is_own, self._pad(own), self._noised(self._pad(0 * own), rng))
        exact = voxels.double()
        x = self.voxels(exact).to(own.dtype)[:, None]
        density = self.flow.log_prob(x, self.context(quantities, upstream))
        slope = self.voxels.log_slope(exact)
        slope = torch.where(is_own, slope, slope - self.entry_noise().log_prob(exact))
        return density.double() + slope.sum((1, 2))

    def _pad(self, layers: Tensor) -> Tensor:
        """With the empty bins that make tiles fit."""
        more_a, more_b = self.config.padding
        return torch.nn.functional.pad(layers, (0, more_b, 0, more_a))

    def _cut(self, layers: Tensor) -> Tensor:
        """Without them."""
        a, b = self.shape
        return layers[..., :a, :b]

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Negative log-likelihood a voxel."""
        n_voxels = batch["x"][0].numel()
        return -self.flow.log_prob(batch["x"], batch["context"]).mean() / n_voxels

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return self.flow.latent_shape

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        x = self.flow.decode(noise["z"], self.context(given, upstream))[:, 0]
        return {self.own: self.voxels.inverse(self._cut(x))}
