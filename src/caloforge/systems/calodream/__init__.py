"""CaloDREAM: layer energies and shapes by flow matching (Favaro et al., arXiv:2405.09629)."""

from caloforge.stages.config import BespokeFit, EnergyNetwork, ShapeNetwork
from caloforge.systems.calodream.config import Autoencoder, CaloDREAMConfig, Distillation
from caloforge.systems.calodream.system import CaloDREAM

__all__ = [
    "Autoencoder",
    "BespokeFit",
    "CaloDREAM",
    "CaloDREAMConfig",
    "Distillation",
    "EnergyNetwork",
    "ShapeNetwork",
]
