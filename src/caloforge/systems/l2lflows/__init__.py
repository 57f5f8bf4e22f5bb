"""L2LFlows, convolutional (arXiv:2405.20407) or masked autoregressive (arXiv:2302.11594)."""

from caloforge.systems.l2lflows.config import ConvolutionalFlow, L2LFlowsConfig, MaskedFlow
from caloforge.systems.l2lflows.system import L2LFlows

__all__ = ["ConvolutionalFlow", "L2LFlows", "L2LFlowsConfig", "MaskedFlow"]
