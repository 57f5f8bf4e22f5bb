"""What is done to points after the diffusion: layers by counts, energies by their sum (3.3)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

__all__ = ["calibrated", "uncalibrated"]


def calibrated(
    points: Tensor,
    n_points: Tensor,
    layer_counts: Tensor,
    visible_energy: Tensor,
    shift: Tensor | None = None,
    layer_energies: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The post-diffusion calibration of all clouds of a batch (CaloClouds, section 3.3).

    Negative energies become 0. The points of a cloud are ordered by their depth: the first as many
    as the counts of layer 0 ask for are of that layer, the next of layer 1 and so on, and those
    that no layer asks for, the deepest, are dropped. Energies are scaled to their given sum, those
    of each layer first to that of the layer, and all points are shifted along x and y.

    Args:
        points: x [mm], y [mm], depth and energy [MeV] of all clouds, shape (points, 4).
        n_points: points of each cloud, shape (n,).
        layer_counts: points that each layer is to have, no more than the cloud has, shape (n, L).
        visible_energy: sum of the energies of a cloud [MeV], shape (n,).
        shift: added to x and y [mm], shape (n, 2); None for nothing.
        layer_energies: sum of the energies of each layer of a cloud [MeV], shape (n, L); None, as
            published, to leave layers as they are.

    Returns:
        Points with layers from 0 to L - 1 in place of depths, ordered by cloud and layer, and the
        number of them in each cloud.
    """
    n, n_layers = layer_counts.shape
    counts = layer_counts.long()
    surplus = n_points - counts.sum(1)
    numbers = torch.arange(n_layers + 1, device=points.device).repeat(n)
    # an accelerator would have to be asked how many points there are in all
    each = partial(torch.repeat_interleave, output_size=len(points))
    layer = each(numbers, torch.cat([counts, surplus[:, None]], 1).flatten())
    cloud = each(torch.arange(n, device=points.device), n_points)
    by_depth = points[:, 2].argsort()
    order = by_depth[cloud[by_depth].argsort(stable=True)]
    kept = (layer < n_layers).nonzero()[:, 0]
    order, layer, cloud = order[kept], layer[kept], cloud[kept]
    x, y, _, energy = points[order].unbind(1)
    energy = energy.double().clamp_min(0)
    if layer_energies is not None:
        energy = _scaled(energy, cloud * n_layers + layer, layer_energies.flatten())
    energy = _scaled(energy, cloud, visible_energy)
    if shift is not None:
        x, y = x + shift[cloud, 0], y + shift[cloud, 1]
    columns = (x, y, layer.to(x), energy.to(x))
    return torch.stack(columns, 1), counts.sum(1)


def _scaled(energy: Tensor, group: Tensor, wanted: Tensor) -> Tensor:
    """Energies scaled to the wanted sum of each group, in double precision."""
    total = energy.new_zeros(len(wanted)).index_add_(0, group, energy)
    return energy * torch.where(total > 0, wanted / total, 0.0)[group]


def uncalibrated(points: Tensor, n_layers: int) -> Tensor:
    """Points as the network samples them, in the layer that they lie in or next to.

    Args:
        points: x [mm], y [mm], depth and energy [MeV], shape (points, 4).
        n_layers: number of layers.

    Returns:
        The same with layers in place of depths, and no negative energies.
    """
    x, y, depth, energy = points.unbind(1)
    layer = depth.floor().clamp(0, n_layers - 1)
    return torch.stack([x, y, layer, energy.clamp_min(0)], 1)
