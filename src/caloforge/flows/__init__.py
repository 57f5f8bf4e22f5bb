"""Normalizing flows: bijections with exact Jacobians, and the densities they make."""

from caloforge.flows.autoregressive import SplineMADE
from caloforge.flows.base import Bijection, Chain, Flow
from caloforge.flows.bernoulli import BernoulliMADE
from caloforge.flows.coupling import Coupling
from caloforge.flows.elementwise import Elementwise
from caloforge.flows.linear import ActNorm, Convolution1x1, Flatten, Permutation, Squeeze
from caloforge.flows.spline import LinearSpline, Spline
from caloforge.flows.stacks import Kind, Order, affine_stack, vector_stack
from caloforge.flows.univariate import Affine, Univariate

__all__ = [
    "ActNorm",
    "Affine",
    "BernoulliMADE",
    "Bijection",
    "Chain",
    "Convolution1x1",
    "Coupling",
    "Elementwise",
    "Flatten",
    "Flow",
    "Kind",
    "LinearSpline",
    "Order",
    "Permutation",
    "Spline",
    "SplineMADE",
    "Squeeze",
    "Univariate",
    "affine_stack",
    "vector_stack",
]
