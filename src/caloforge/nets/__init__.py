"""Plain networks, ignorant of calorimeters."""

from caloforge.nets.folded import fold, is_foldable
from caloforge.nets.made import MADE
from caloforge.nets.mlp import MLP
from caloforge.nets.offset import Offset
from caloforge.nets.preparable import Preparable
from caloforge.nets.unet import SameConv2d, UNet

__all__ = ["MADE", "MLP", "Offset", "Preparable", "SameConv2d", "UNet", "fold", "is_foldable"]
