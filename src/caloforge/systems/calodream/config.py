"""Configuration of CaloDREAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict

from caloforge.cascade.recipe import Recipe
from caloforge.cascade.variants import Variant
from caloforge.stages.config import BespokeFit, EnergyNetwork, ShapeNetwork
from caloforge.stages.layerenergies import SCORES, Scores
from caloforge.stages.rescaling import Rescaled
from caloforge.stages.spectrum import SpectrumFit

__all__ = [
    "Autoencoder",
    "BespokeFit",
    "CaloDREAMConfig",
    "Distillation",
    "EnergyNetwork",
    "ShapeNetwork",
]

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Autoencoder:
    """The variational autoencoder of voxels (CaloDREAM, section 3.3 and table 4).

    Args:
        recipe: training (table 4).
        kernel: of the convolution that downsamples, along (layer, alpha, r) (table 4).
        stride: its stride (table 4).
        padding: its padding (table 4).
        channels: of the two blocks (table 4).
        latent_channels: of the bottleneck (table 4).
        beta: weight of the Kullback-Leibler divergence (equation 12, table 4).
        cut: decoded fractions of a layer's energy below it are none (table 4: normalized cut).
        hit_showers: of the training sample, which once all is trained are encoded and decoded to
            find the least energy of a hit, see `LeastHit`; none for 0. The paper does without.
        rescale: which decoded voxels are scaled to the energy of their layer: "hits" those above
            the threshold, "voxels" all (section 2).
        rotation: rotate showers at random in training where an axis is cyclic. The paper does not.
        reflection: mirror showers at random in training, along alpha, or along x, y and their
            diagonal. The paper does not.
    """

    recipe: Recipe
    kernel: Triple
    stride: Triple
    padding: Triple
    channels: tuple[int, int] = (64, 64)
    latent_channels: int = 2
    beta: float = 1e-6
    cut: float = 1e-6
    hit_showers: int = 0
    rescale: Rescaled = "voxels"
    rotation: bool = False
    reflection: bool = False

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Distillation:
    """A copy of the shape network that samples in one step, or a few.

    Args:
        recipe: training; a batch counts trajectories, each of which gives 2 steps - 1 jumps.
        steps: most jumps that a shower is sampled in, a power of two; all lower powers are learned
            as well.
        solver: that follows the trajectories, of equal steps, a multiple of `steps`.
        ending: what one jump from noise to data gives. "mean" of all that the network cannot
            distinguish, or "drawn", hits sampled with their probability, see `DrawnHits`; this
            needs the shape network's pixels to be hits.
    """

    recipe: Recipe
    steps: int = 4
    solver: str = "midpoint-8"
    ending: Literal["mean", "drawn"] = "mean"

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class CaloDREAMConfig:
    """CaloDREAM: layer energies, then the shape, in voxels or in latent pixels (equation 4, 14).

    Args:
        energies: the energy network, or scores in its place.
        shape: the shape network.
        autoencoder: that of the latent variant; None for voxels.
        factor: f of the energy ratios (equation 2).
        solvers: bespoke solvers of the shape network.
        distillation: of the shape network into few steps; None for none.
        spectrum: map the voxel energy spectrum onto Geant4's, see `SpectrumMap`; None for no map,
            as published.
    """

    energies: Annotated[EnergyNetwork | Scores, Variant(SCORES)]
    shape: ShapeNetwork
    autoencoder: Autoencoder | None = None
    factor: float = 2.85
    solvers: tuple[BespokeFit, ...] = ()
    distillation: Distillation | None = None
    spectrum: SpectrumFit | None = None

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
