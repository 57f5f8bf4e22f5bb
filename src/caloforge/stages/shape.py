"""The shape network of CaloDREAM: the voxels of a shower, or the pixels of its latent space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.choices import POSTPROCESS, PRECISION, Choice
from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Noise, Seeds
from caloforge.cascade.solving import SolvedStage
from caloforge.cascade.stage import Batch, Upstream
from caloforge.geometry import Geometry
from caloforge.matching import matching_loss
from caloforge.nets import ViT
from caloforge.preprocessing import Symmetry
from caloforge.showers import ShowerSource
from caloforge.stages.conditions import RatioConditions
from caloforge.stages.config import ShapeNetwork
from caloforge.stages.pixels import Pixels, voxel_pixels
from caloforge.stages.shares import normalised

__all__ = [
    "ShapeNetwork3d",
    "ShapeStage",
    "VoxelShapeStage",
]


class ShapeNetwork3d(ViT):
    """The vision transformer of a configuration, of which the output is read as a velocity.

    Args:
        config: its configuration.
        shape: of what it samples, channels and three axes.
        context: numbers that it sees of a shower.
        voxels: what the output means; None for the velocity itself.
        times: times that it sees, the first of them that of x.
    """

    def __init__(
        self,
        config: ShapeNetwork,
        shape: Sequence[int],
        context: int,
        voxels: Pixels | None,
        *,
        times: int = 1,
    ) -> None:
        super().__init__(
            shape,
            config.patch,
            context,
            dim=config.dim,
            heads=config.heads,
            hidden=config.hidden,
            blocks=config.blocks,
            times=times,
            channels_out=None if voxels is None else voxels.outputs,
        )
        self.voxels = voxels

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        """The velocity, of the shape of x; see `ViT`."""
        output = super().forward(x, t, context)
        if self.voxels is None:
            return output
        return self.voxels.velocity(output, x, t if t.ndim == 1 else t[:, 0])


class ShapeStage(SolvedStage):
    """A velocity on a grid, conditioned on incident energy and energy ratios (section 3.2).

    Args:
        config: its configuration.
        shape: of what it samples, channels and three axes.
        conditions: those of all networks, of which the size is taken.
        voxels: what its pixels mean; None for those of a latent space.

    Attributes:
        context_size: numbers that the network sees of a shower.
    """

    needs: tuple[str, ...] = ("conditions",)

    choice = "solver"
    solved_for = "voxels"
    symmetry: Symmetry

    def __init__(
        self,
        config: ShapeNetwork,
        shape: Sequence[int],
        conditions: RatioConditions,
        voxels: Pixels | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.recipe = config.recipe
        self.shape = tuple(shape)
        self.context_size = conditions.size
        self.default_solver = config.solver
        self.voxels = voxels
        self.network = ShapeNetwork3d(config, shape, conditions.size, voxels)

    @property
    def choices(self) -> Mapping[str, Choice]:
        return {**super().choices, "precision": PRECISION}

    def velocity(self, x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        """v(x, t, context), see `Velocity`."""
        velocity: Tensor = self.network(x, t, context)
        return velocity

    def passes(self, options: SamplingOptions) -> int:
        return self.solver(options).n_evaluations or 1

    def check(self, sample: ShowerSource[Any]) -> None:
        super().check(sample)
        showers = ShowerQuantities(sample, ("showers",), budget=0)
        self.symmetry.check(q["showers"].sum(1) for q in showers.batches())

    def context(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        """Shape (n, 1 + L)."""
        return RatioConditions.of(upstream, "conditions").both(quantities)

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Mean square error of the velocity (equation 8)."""
        return matching_loss(self.velocity, batch["x"], batch["context"], rng=rng)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return self.shape

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        """The keys of what a solver asks for besides the start of trajectories."""
        return {"keys": seeds.as_tensor()}

    def solved(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Tensor:
        """What the network makes of the noise, on its own scale, shape (n, *shape)."""
        context, start = self.context(given, upstream), noise["z"]
        seeds = Seeds.of_keys(noise["keys"], start.device)
        low = options.precision == "bf16"
        with torch.autocast(start.device.type, torch.bfloat16, enabled=low):
            return self.solver(options)(self.velocity, start, context, seeds.normal)


class VoxelShapeStage(ShapeStage):
    """All voxels at once (section 3.2).

    Args:
        config: its configuration.
        geometry: the voxels.
        conditions: those of all networks, of which the size is taken.
    """

    reads = ("energy_inc", "layer_energies")
    writes = ("showers",)

    def __init__(
        self, config: ShapeNetwork, geometry: Geometry, conditions: RatioConditions
    ) -> None:
        voxels = voxel_pixels(config, geometry.shape)
        super().__init__(config, (voxels.channels, *geometry.shape), conditions, voxels)
        self.threshold = geometry.threshold
        cyclic = geometry.cyclic_axis is not None
        self.symmetry = Symmetry(cyclic, config.rotation, config.reflection, "shape")
        self.voxels: Pixels = voxels
        self.pixels = voxels.transform

    @property
    def choices(self) -> Mapping[str, Choice]:
        return {**super().choices, "postprocess": POSTPROCESS}

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        # rotated and mirrored as in training: the spread of a voxel is that of all its images
        self.voxels.fit(lambda: (self.symmetry(q["showers"], rng) for q in sample.batches()))

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        image = self.voxels.image(self.symmetry(quantities["showers"], rng))
        return {"x": image, "context": self.context(quantities, upstream)}

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        energies = given["layer_energies"]
        which = self.config.rescale if options.postprocess else "none"
        showers = self.voxels.showers(self.solved(noise, given, upstream, options), energies)
        return {"showers": normalised(showers, energies, self.threshold, which)}
