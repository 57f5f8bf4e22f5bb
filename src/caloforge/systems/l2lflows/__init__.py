"""Convolutional L2LFlows (Buss et al., arXiv:2405.20407)."""

from caloforge.systems.l2lflows.config import EnergyFlow, L2LFlowsConfig, LayerFlow
from caloforge.systems.l2lflows.system import L2LFlows

__all__ = ["EnergyFlow", "L2LFlows", "L2LFlowsConfig", "LayerFlow"]
