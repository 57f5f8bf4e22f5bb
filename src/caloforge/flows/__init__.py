"""Normalizing flows: bijections with exact Jacobians, and the densities they make."""

from caloforge.flows.autoregressive import SplineMADE
from caloforge.flows.base import Bijection, Chain, Flow
from caloforge.flows.bernoulli import BernoulliMADE
from caloforge.flows.coupling import SplineCoupling
from caloforge.flows.linear import ActNorm, Convolution1x1, Flatten, Permutation, Squeeze
from caloforge.flows.spline import Spline
from caloforge.flows.stacks import Kind, Order, vector_stack

__all__ = [
    "ActNorm",
    "BernoulliMADE",
    "Bijection",
    "Chain",
    "Convolution1x1",
    "Flatten",
    "Flow",
    "Kind",
    "Order",
    "Permutation",
    "Spline",
    "SplineCoupling",
    "SplineMADE",
    "Squeeze",
    "vector_stack",
]
