"""Post-processing that gives layers, or other groups of voxels, the energy they should have."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Rescaled", "rescale"]

Rescaled = Literal["none", "hits", "voxels"]
"""Which voxels are scaled: none, those above the threshold, or all."""


def rescale(
    voxels: Tensor, energies: Tensor, threshold: float, which: Literal["hits", "voxels"]
) -> Tensor:
    """Scale each group of voxels, such as a layer, to its energy and mask what is empty.

    With x_(1) >= x_(2) >= … the voxels of a group and S_k the sum of the first k, the most voxels
    are kept that lie above the threshold when they share the group's energy E:

        largest k with x_(k) E / S_k >= threshold, then x -> x E / S_k for these, 0 for the rest

    (Convolutional L2LFlows, section 3.4; the rule is that of arXiv:2302.11594, appendix B.3). An
    energy below the threshold empties the group; an empty group stays empty.

    Args:
        voxels: voxel energies [MeV], shape (n, n_groups, ...).
        energies: energy of each group [MeV], shape (n, n_groups).
        threshold: read-out threshold [MeV].
        which: "voxels" as published: a voxel below the threshold may be lifted above it.
            "hits": voxels below the threshold are emptied first, and none is lifted.
    """
    flat = voxels.flatten(2)
    if which == "hits":
        flat = torch.where(flat < threshold, 0.0, flat)
    total = flat.sum(2)
    factor = energies / total.clamp_min(torch.finfo(total.dtype).tiny)
    smallest = torch.where(flat > 0, flat, torch.inf).amin(2)
    rescaled = flat * factor[..., None]
    # most groups keep all their hits, and need no order of them; NaN is not above
    masked = ~((total > 0) & (smallest * factor >= threshold))
    some = masked.nonzero(as_tuple=True)  # once: an accelerator is waited for
    rescaled[some] = _share_of_largest(flat[some], energies[some], threshold)
    return rescaled.reshape(voxels.shape)


def _share_of_largest(groups: Tensor, energies: Tensor, threshold: float) -> Tensor:
    """`rescale` of single groups, shape (n, n_voxels), to their energies, shape (n,)."""
    descending, order = groups.sort(1, descending=True)
    sums = descending.cumsum(1)
    scaled = descending * energies[:, None] / sums.clamp_min(torch.finfo(sums.dtype).tiny)
    # scaled falls with k, so that those above the threshold come first
    first = scaled >= threshold
    total = sums.gather(1, (first.sum(1, keepdim=True) - 1).clamp_min(0))
    kept = torch.zeros_like(first).scatter(1, order, first)  # of equal voxels not more than those
    rescaled = torch.where(kept, groups * energies[:, None] / total, 0.0)
    return torch.where(groups.isnan(), groups, rescaled)
