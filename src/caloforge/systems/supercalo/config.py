"""Configuration of SuperCalo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict

from caloforge.cascade.recipe import Recipe
from caloforge.cascade.variants import Variant
from caloforge.flows import Kind
from caloforge.stages.energies import EnergyFlow
from caloforge.stages.layerenergies import SCORES, Scores
from caloforge.stages.rescaling import Rescaled
from caloforge.units import keV

__all__ = ["CoarseFlow", "SuperCaloConfig", "UpsampleFlow"]


@dataclass(frozen=True)
class CoarseFlow:
    """FLOW-2: energies of the coarse voxels (SuperCalo, section IV and table II).

    Args:
        recipe: training (section IV).
        kind: masked autoregressive blocks, as published, or couplings, which sample faster.
        blocks: spline blocks (table II).
        hidden: width of the hidden layers (table II).
        hidden_layers: hidden layers of a block (table II).
        bins: spline bins (table II).
        bound: the splines act on [-bound, bound] (table II).
        minimum: minimum of bin width, height and derivative.
        noise_width: width of the uniform noise on coarse voxels [MeV] (B4).
        rescale: which coarse voxels are scaled to the energy of their layer: "hits" those above the
            threshold, "voxels" all. The paper has none.
        rotation: rotate showers at random in training where an axis is cyclic. The paper does not.
        reflection: mirror showers at random in training, along alpha, or along x, y and their
            diagonal. The paper does not.
    """

    recipe: Recipe
    kind: Kind = "masked"
    blocks: int = 8
    hidden: int = 648
    hidden_layers: int = 1
    bins: int = 8
    bound: float = 6.0
    minimum: float = 1e-6
    noise_width: float = 5 * keV
    rescale: Rescaled = "none"
    rotation: bool = False
    reflection: bool = False

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class UpsampleFlow:
    """The superresolution flow: fine voxels of one coarse voxel (SuperCalo, section III).

    Args:
        recipe: training (section III B); a batch counts showers, with all coarse voxels of each.
        factors: fine voxels in a coarse one along (layer, alpha, r) or (layer, x, y)
            (section III A: (5, 2, 1) is choice A, (1, 4, 3) choice B).
        layer_energies: condition on the energies of the "fine" layers that a coarse voxel spans, or
            on their sum, that of the "coarse" layer, which any coarse shower gives itself (end of
            section III A).
        shares: what is sampled. "relative": fine energies in units of the coarse one, as published
            (B8, B9); that they sum to one is left to the flow to learn. "hits": which voxels are
            hit, and then how these share the coarse energy, see `HitShares`.
        kind: masked autoregressive blocks, as published, or couplings, which sample faster.
        blocks: spline blocks (table II).
        hidden: width of the hidden layers (table II).
        hidden_layers: hidden layers of a block (table II).
        bins: spline bins (table II).
        bound: the splines act on [-bound, bound] (table II).
        minimum: minimum of bin width, height and derivative.
        alpha: of the logit (B7, B9).
        noise_width: width of the uniform noise on fine voxels [MeV] (B8), for relative fractions;
            in training the coarse voxel gets the sum of its fine ones' noise (B6).
        rescale: which fine voxels are scaled to the energy of their coarse voxel: "hits" those
            above the threshold, "voxels" all. The paper has none.
    """

    recipe: Recipe
    factors: tuple[int, int, int] = (5, 2, 1)
    layer_energies: Literal["fine", "coarse"] = "fine"
    shares: Literal["relative", "hits"] = "relative"
    kind: Kind = "masked"
    blocks: int = 8
    hidden: int = 128
    hidden_layers: int = 2
    bins: int = 8
    bound: float = 14.0
    minimum: float = 1e-6
    alpha: float = 1e-6
    noise_width: float = 0.1 * keV
    rescale: Rescaled = "none"

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class SuperCaloConfig:
    """SuperCalo: layer energies, coarse voxels, fine voxels (SuperCalo, figure 1).

    Args:
        upsample: the superresolution flow.
        energies: FLOW-1, the energies of the fine layers, or scores in its place; None where coarse
            showers come from elsewhere.
        coarse: FLOW-2, the coarse voxels; None as for `energies`.

    Raises:
        ValueError: if only one of `energies` and `coarse` is given.
    """

    upsample: UpsampleFlow
    energies: Annotated[EnergyFlow | Scores, Variant(SCORES)] | None = None
    coarse: CoarseFlow | None = None

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if (self.energies is None) != (self.coarse is None):
            raise ValueError(
                "a SuperCalo samples coarse showers itself, with energies and coarse, or takes "
                "them from elsewhere, with neither: give both, or null for both"
            )
