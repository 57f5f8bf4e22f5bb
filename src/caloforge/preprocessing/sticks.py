"""How parts share a whole, as unconstrained numbers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = ["break_sticks", "is_free", "join_sticks"]


def is_free(hit: Tensor) -> Tensor:
    """Which parts can share the whole freely: those that are hit, but for the last of them.

    Args:
        hit: shape (..., D).

    Returns:
        Shape (..., D - 1).
    """
    after = hit.flip(-1).cumsum(-1).flip(-1)[..., 1:] > 0
    free: Tensor = hit[..., :-1] & after
    return free


def break_sticks(parts: Tensor, *, rng: torch.Generator) -> Tensor:
    """How each part divides what the parts before it leave: a stick broken piece by piece.

        z_j = log x_j - log(x_j+1 + … + x_D),   j = 1 … D - 1

    the logit of x_j in units of what is left. Unlike the fractions x_j / sum(x), which sum to one,
    the z have a density. Parts that are not free, see `is_free`, get standard normal numbers.

    Args:
        parts: non-negative, of any unit, shape (..., D).
        rng: source of the normal numbers.

    Returns:
        Shape (..., D - 1).
    """
    left = parts.flip(-1).cumsum(-1).flip(-1)[..., 1:]  # from the end: no difference loses digits
    own = parts[..., :-1]
    normal = torch.randn(own.shape, generator=rng, device=own.device, dtype=own.dtype)
    free = is_free(parts > 0)
    return torch.where(free, own.log() - left.log(), normal)


def join_sticks(z: Tensor, hit: Tensor) -> Tensor:
    """Inverse of `break_sticks` up to the unit: fractions that sum to one, shape (..., D).

        x_j = u_j times the product of 1 - u_k over the free parts k before it,   u = sigmoid(z)

    and u = 1 for the last part that is hit.

    Args:
        z: shape (..., D - 1).
        hit: which parts are not zero, one of each at least, shape (..., D).
    """
    free = is_free(hit)
    nothing = torch.zeros_like(z[..., :1])
    left = torch.where(free, logsigmoid(-z), 0.0).cumsum(-1)
    taken = torch.where(free, logsigmoid(z), 0.0)
    shares = (torch.cat([nothing, left], -1) + torch.cat([taken, nothing], -1)).exp()
    return torch.where(hit, shares, 0.0)
