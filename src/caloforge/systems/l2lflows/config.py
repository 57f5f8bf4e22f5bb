"""Configuration of L2LFlows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict

from caloforge.cascade.recipe import Recipe
from caloforge.cascade.variants import Variant
from caloforge.stages.energies import EnergyFlow
from caloforge.stages.layerenergies import SCORES, Scores
from caloforge.stages.rescaling import Rescaled
from caloforge.stages.spectrum import SpectrumFit
from caloforge.units import keV

__all__ = [
    "ConvolutionalFlow",
    "L2LFlowsConfig",
    "LayerFlow",
    "MaskedFlow",
]


@dataclass(frozen=True)
class LayerFlow:
    """What the flows of a layer share, of all kinds (Convolutional L2LFlows, tables 5 and 8).

    Args:
        recipe: training (table 8).
        blocks: spline blocks (table 5).
        bins: spline bins: the parameters of table 9 are those of 10, not of table 5's 8.
        bound: the splines act on [-bound, bound] (table 5).
        minimum: minimum of bin width, height and derivative.
        previous_layers: number of earlier layers that condition the flow (section 3.2).
        alpha: of the modified logit (B.5).
        floor: added to the scaled voxel energy before the logarithm (B.5).
        fill_median: median of the log-normal fill of empty voxels [MeV] (table 8).
        fill_decades: its standard deviation in log10 (table 8).
        noise_width: width of the uniform noise on voxels [MeV] (section 3.3; the 0.1 keV of table 8
            contradicts it).
        warm_start: a layer starts from the weights of its neighbour towards the middle layer, which
            is trained first: most of what a flow learns is the same in both. The paper trains every
            flow from scratch, so that all can be trained at once.
        first_epochs: epochs of the layer that has no neighbour to start from, and of the one that
            has no earlier layers where it learns positions.
        rotation: rotate showers at random in training where an axis is cyclic (section 3.3).
        reflection: mirror showers at random in training, along alpha, or along x, y and their
            diagonal: for showers that enter perpendicularly at a corner or the middle of the
            central cells, without a magnetic field. The paper does not.
    """

    recipe: Recipe
    blocks: int = 8
    bins: int = 10
    bound: float = 15.0
    minimum: float = 1e-3
    previous_layers: int = 5
    alpha: float = 1e-2
    floor: float = 1e-7
    fill_median: float = 1 * keV
    fill_decades: float = 0.2
    noise_width: float = 1 * keV
    warm_start: bool = False
    first_epochs: int | None = None
    rotation: bool = True
    reflection: bool = False

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class ConvolutionalFlow(LayerFlow):
    """Couplings on images, set by U-Nets (Convolutional L2LFlows, tables 5 to 7).

    Args:
        kind: distinguishes it from the other kinds in a stored configuration.
        squeeze: tile that is stacked into channels, (alpha, r) or (x, y) (table 5).
        down_sampling: kernels of the U-Net's down-sampling, (alpha, r) or (x, y); table 6 gives
            them as (r, alpha).
        padding: empty bins added after each axis of a layer, (alpha, r) or (x, y), so that squeeze
            and down-sampling divide it; they are noised like empty voxels and cut off what is
            generated.
        channels: feature maps of the U-Net's scales, finest first (table 6; the wider coarse scales
            follow from the number of parameters in table 9).
        decode_kernel: size of the convolution after the U-Net's last up-sampling.
        last_kernel: size of the last convolution after it, which has most of the work.
        embedding_channels: channels of the embedding network (table 7).
        embed_tiles: the embedding network begins with the tiles of the squeeze, without table 7's
            two convolutions on voxels.
        position: add a learned image to the embedded context. The paper does not; its third, widest
            scale sees the whole layer.
    """

    kind: Literal["convolutional"] = "convolutional"
    squeeze: tuple[int, int]
    down_sampling: tuple[tuple[int, int], ...]
    padding: tuple[int, int] = (0, 0)
    channels: tuple[int, ...] = (32, 64, 128)
    decode_kernel: int = 3
    last_kernel: int = 3
    embedding_channels: int = 8
    embed_tiles: bool = False
    position: bool = False


@dataclass(frozen=True, kw_only=True)
class MaskedFlow(LayerFlow):
    """MADE blocks on the voxels of a layer in a row (L2LFlows, arXiv:2302.11594).

    Published are spline blocks, one flow a layer and the five earlier layers that condition it
    (abstract), and a summary network that reduces these (talk of T. Buss, 23 March 2023). The
    sizes are not published, nor that both energies bypass the summary network.

    Args:
        kind: distinguishes it from the other kinds in a stored configuration.
        hidden: width of a MADE's hidden layers.
        hidden_layers: hidden layers of a MADE.
        summary_hidden: width of the hidden layer of the summary network.
        summary: features that the summary network keeps of the earlier layers.
    """

    kind: Literal["masked"] = "masked"
    hidden: int = 128
    hidden_layers: int = 1
    summary_hidden: int = 128
    summary: int = 64

    padding: ClassVar[tuple[int, int]] = (0, 0)  # any layer fits
    position: ClassVar[bool] = False  # every voxel is known by its number


@dataclass(frozen=True)
class L2LFlowsConfig:
    """L2LFlows: an energy flow and one causal flow for each layer.

    Args:
        energies: the energy distribution flow, or scores in its place.
        layers: the causal flows, all alike.
        rescale: which voxels of a layer are scaled to its sampled energy (section 3.4): "voxels"
            all, as published, "hits" those above the threshold, "none" no rescaling.
        spectrum: map the voxel energy spectrum onto Geant4's (appendix C), None for no map.
    """

    energies: Annotated[EnergyFlow | Scores, Variant(SCORES)]
    layers: Annotated[ConvolutionalFlow | MaskedFlow, Variant()]
    rescale: Rescaled = "none"
    spectrum: SpectrumFit | None = None

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
