"""Plain networks, without anything of calorimeters."""

from caloforge.nets.attention import Attention
from caloforge.nets.autoencoder import Autoencoder3d, DownSampling, divergence
from caloforge.nets.epic import EPiCEncoder, EPiCLayer, counted
from caloforge.nets.folded import fold, is_foldable
from caloforge.nets.made import MADE
from caloforge.nets.mlp import MLP
from caloforge.nets.offset import Offset
from caloforge.nets.pointwise import ConcatSquash, PointWiseNet
from caloforge.nets.preparable import Preparable
from caloforge.nets.transfusion import Transfusion
from caloforge.nets.unet import SameConv2d, UNet
from caloforge.nets.vit import ViT
from caloforge.nets.waves import Waves

__all__ = [
    "MADE",
    "MLP",
    "Attention",
    "Autoencoder3d",
    "ConcatSquash",
    "DownSampling",
    "EPiCEncoder",
    "EPiCLayer",
    "Offset",
    "PointWiseNet",
    "Preparable",
    "SameConv2d",
    "Transfusion",
    "UNet",
    "ViT",
    "Waves",
    "counted",
    "divergence",
    "fold",
    "is_foldable",
]
