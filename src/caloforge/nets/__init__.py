"""Plain networks, ignorant of calorimeters."""

from caloforge.nets.made import MADE
from caloforge.nets.unet import SameConv2d, UNet

__all__ = ["MADE", "SameConv2d", "UNet"]
