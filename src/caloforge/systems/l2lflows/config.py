"""Configuration of Convolutional L2LFlows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from caloforge.systems.recipe import Recipe
from caloforge.units import keV

__all__ = ["EnergyFlow", "L2LFlowsConfig", "LayerFlow"]


@dataclass(frozen=True)
class EnergyFlow:
    """The energy distribution flow (Convolutional L2LFlows, tables 3 and 4).

    Args:
        recipe: training (table 4).
        blocks: MADE blocks with random permutations between them (table 3).
        hidden: width of the hidden layers (table 3).
        hidden_layers: hidden layers of a MADE (table 3).
        bins: spline bins (table 3).
        minimum: minimum of bin width, height and derivative (table 3).
        alpha: of the modified logit (B.3); the splines act on [logit(alpha), logit(1 - alpha)].
        noise_mean: mean of the Gaussian noise on layer energies [MeV] (table 4).
        noise_std: its standard deviation [MeV] (table 4).
    """

    recipe: Recipe
    blocks: int = 6
    hidden: int = 64
    hidden_layers: int = 1
    bins: int = 8
    minimum: float = 1e-6
    alpha: float = 1e-6
    noise_mean: float = 1 * keV
    noise_std: float = 0.2 * keV

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class LayerFlow:
    """A causal flow, one for each layer (Convolutional L2LFlows, tables 5 to 8).

    Args:
        recipe: training (table 8).
        squeeze: tile that is stacked into channels, (alpha, r) or (x, y) (table 5).
        down_sampling: kernels of the U-Net's down-sampling, (alpha, r) or (x, y); table 6 gives
            them as (r, alpha).
        padding: empty bins added behind each axis of a layer, (alpha, r) or (x, y), so that squeeze
            and down-sampling divide it; they are noised like empty voxels and cut off what is
            generated.
        channels: feature maps of the U-Net's scales, finest first (table 6; the wider coarse scales
            follow from the number of parameters in table 9).
        blocks: coupling blocks, each with activation norm and 1x1 convolution (table 5).
        bins: spline bins: the parameters of table 9 are those of 10, not of table 5's 8.
        bound: the splines act on [-bound, bound] (table 5).
        minimum: minimum of bin width, height and derivative.
        previous_layers: number of earlier layers that condition the flow (section 3.2).
        embedding_channels: channels of the embedding network (table 7).
        alpha: of the modified logit (B.5).
        floor: added to the scaled voxel energy before the logarithm (B.5).
        fill_median: median of the log-normal fill of empty voxels [MeV] (table 8).
        fill_decades: its standard deviation in log10 (table 8).
        noise_width: width of the uniform noise on voxels [MeV] (section 3.3; the 0.1 keV of table 8
            contradicts it).
        warm_start: a layer starts from the weights of its neighbour towards the middle layer, which
            is trained first: most of what a flow learns is the same in both. The paper trains every
            flow from scratch, so that all can be trained at once.
        first_epochs: epochs of the layer that has no neighbour to start from.
        rotation: rotate showers at random in training where an axis is cyclic (section 3.3).
    """

    recipe: Recipe
    squeeze: tuple[int, int]
    down_sampling: tuple[tuple[int, int], ...]
    padding: tuple[int, int] = (0, 0)
    channels: tuple[int, ...] = (32, 64, 128)
    blocks: int = 8
    bins: int = 10
    bound: float = 15.0
    minimum: float = 1e-3
    previous_layers: int = 5
    embedding_channels: int = 8
    alpha: float = 1e-2
    floor: float = 1e-7
    fill_median: float = 1 * keV
    fill_decades: float = 0.2
    noise_width: float = 1 * keV
    warm_start: bool = False
    first_epochs: int | None = None
    rotation: bool = True

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class L2LFlowsConfig:
    """Convolutional L2LFlows: an energy flow and one causal flow for each layer.

    Args:
        energies: the energy distribution flow.
        layers: the causal flows, all alike.
        rescale: scale the voxels of each layer to its sampled energy (section 3.4).
    """

    energies: EnergyFlow
    layers: LayerFlow
    rescale: bool = False

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
