"""Configurations of the networks and solvers of flow matching that systems share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import ConfigDict

from caloforge.cascade.recipe import Recipe
from caloforge.matching import BespokeTraining, Truncation
from caloforge.stages.rescaling import Rescaled

__all__ = ["BespokeFit", "EnergyNetwork", "ShapeNetwork"]

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class EnergyNetwork:
    """The energy network, an autoregressive transformer (CaloDREAM, section 3.1 and table 1).

    Args:
        recipe: training (table 1).
        dim: features of a token (table 1: dim embedding).
        heads: attention heads (table 1).
        layers: layers of encoder and decoder each (table 1).
        feed_forward: hidden width between attentions (table 1: intermediate dim).
        hidden: width of the velocity network (table 1).
        hidden_layers: linear layers of the velocity network (table 1).
        layer_norm: whether the velocity network has layer norms; published is none.
        alpha: of the logit of energy ratios (equation 3).
        snap: whether ratios that are sampled next to 0 and 1, where Geant4 has none, are moved
            there: where a shower ends they are exactly that. The paper does not.
        solver: how ratios are sampled where the user names none (table 1: "rk4-50").
    """

    recipe: Recipe
    dim: int = 64
    heads: int = 4
    layers: int = 4
    feed_forward: int = 1024
    hidden: int = 256
    hidden_layers: int = 8
    layer_norm: bool = False
    alpha: float = 1e-6
    snap: bool = False
    solver: str = "rk4-50"

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class ShapeNetwork:
    """The shape network, a vision transformer (CaloDREAM, section 3.2 and table 2).

    Args:
        recipe: training (table 2).
        patch: voxels, or latent pixels, of a patch along (layer, alpha, r) or (layer, x, y).
        dim: features of a patch (table 2: embedding dimension).
        heads: attention heads (table 2).
        hidden: width of the hidden layer of a block (table 2: MLP hidden dimension).
        blocks: transformer blocks (table 2).
        pixels: what voxels look like to the network. "shares" of the energy of their layer, as
            published, or "hits": whether there is one, and its energy, see `HitPixels`.
        alpha: of the logit of fractions (equation 3); latent pixels have none.
        solver: how showers are sampled where the user names none (table 2: "rk4-20").
        rescale: which voxels are scaled to the energy of their layer: "hits" those above the
            threshold, "voxels" all (section 2).
        rotation: rotate showers at random in training where an axis is cyclic. The paper does not.
        reflection: mirror showers at random in training, along alpha, or along x, y and their
            diagonal. The paper does not.
    """

    recipe: Recipe
    patch: Triple
    dim: int = 480
    heads: int = 6
    hidden: int = 1920
    blocks: int = 6
    pixels: Literal["shares", "hits"] = "shares"
    alpha: float = 1e-6
    solver: str = "rk4-20"
    rescale: Rescaled = "voxels"
    rotation: bool = False
    reflection: bool = False

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class BespokeFit:
    """A bespoke solver of the shape network, fitted after training (CaloDREAM, section 3.4).

    Args:
        steps: number N of steps, of one evaluation each.
        truncation: the error that is minimised, "local" (equation 17) or "global" (equation 16).
        showers: followed as references.
        batch_size: of them at once (table 5).
        reference_steps: of the midpoint method that follows them (table 5).
        training: learning rate and length (table 5).
    """

    steps: int
    truncation: Truncation = "local"
    showers: int = 400
    batch_size: int = 100
    reference_steps: int = 100
    training: BespokeTraining = field(default_factory=BespokeTraining)

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    @property
    def name(self) -> str:
        """The solver's name, "bns-8" or "bns-global-8"."""
        kind = "bns" if self.truncation == "local" else f"bns-{self.truncation}"
        return f"{kind}-{self.steps}"
