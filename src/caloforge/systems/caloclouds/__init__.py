"""CaloClouds: points of showers by diffusion (Buhmann et al., arXiv:2305.04847)."""

from caloforge.systems.caloclouds.config import (
    CaloCloudsConfig,
    CloudFit,
    Clusters,
    Distillation,
    EncoderConfig,
    LatentFlowConfig,
    PointsConfig,
    ShowerFlowConfig,
)
from caloforge.systems.caloclouds.members import MemberLibrary
from caloforge.systems.caloclouds.system import CaloClouds

__all__ = [
    "CaloClouds",
    "CaloCloudsConfig",
    "CloudFit",
    "Clusters",
    "Distillation",
    "EncoderConfig",
    "LatentFlowConfig",
    "MemberLibrary",
    "PointsConfig",
    "ShowerFlowConfig",
]
