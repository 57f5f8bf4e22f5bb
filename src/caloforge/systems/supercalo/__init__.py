"""SuperCalo: superresolution of showers (Pang, Shih and Raine, arXiv:2308.11700)."""

from caloforge.systems.supercalo.config import CoarseFlow, SuperCaloConfig, UpsampleFlow
from caloforge.systems.supercalo.system import SuperCalo

__all__ = ["CoarseFlow", "SuperCalo", "SuperCaloConfig", "UpsampleFlow"]
