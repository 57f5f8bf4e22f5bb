"""Symmetries of showers, that training may use to see more of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Symmetry", "check_centred", "reflect", "rotate"]

SIGNIFICANT = 6.0  # standard deviations of a mean
LARGE = 0.1  # standard deviations of a shower
FEW = 30  # showers whose spread is not known well enough


@dataclass(frozen=True)
class Symmetry:
    """Showers rotated and mirrored at random, as far as the voxels allow.

    Args:
        cyclic: whether the first axis of a layer wraps around.
        rotation: rotate showers about their axis, where it does.
        reflection: mirror them along that axis, or along both and their diagonal.
        section: of the configuration, in which `rotation` and `reflection` are set.
    """

    cyclic: bool
    rotation: bool
    reflection: bool
    section: str = ""

    def check(self, batches: Iterable[Tensor]) -> None:
        """Refuse layers that lean to one side, unless nothing is rotated or mirrored.

        Args:
            batches: voxel energies of one layer in many showers, shape (n, a, b) each.

        Raises:
            ValueError: see `check_centred`.
        """
        used = {"rotation": self.rotation and self.cyclic, "reflection": self.reflection}
        settings = [f"{self.section}.{name}" for name, is_used in used.items() if is_used]
        if settings:
            check_centred(batches, cyclic=self.cyclic, settings=settings)

    def __call__(self, showers: Tensor, rng: torch.Generator) -> Tensor:
        """Other showers, as likely as these; all layers of one shower move together.

        Args:
            showers: voxel energies, shape (n, layers, a, b).
            rng: source of the choice.
        """
        if self.rotation and self.cyclic:
            showers = rotate(showers, axis=2, rng=rng)
        if self.reflection:
            showers = reflect(showers, axes=(2,) if self.cyclic else (2, 3), rng=rng)
        return showers


def rotate(layers: Tensor, *, axis: int, rng: torch.Generator) -> Tensor:
    """Rotate each shower by a random number of bins along a cyclic axis.

    Perpendicular showers without a magnetic field have no preferred azimuth
    (Convolutional L2LFlows, section 3.3).

    Args:
        layers: voxel energies, shape (n, ...); all of one shower are rotated together.
        axis: the axis that wraps around, counted with the batch.
        rng: source of the angles.
    """
    bins = layers.shape[axis]
    shift = torch.randint(bins, (len(layers), 1), generator=rng, device=layers.device)
    source = (torch.arange(bins, device=layers.device) - shift) % bins
    shape = [len(layers)] + [1] * (layers.ndim - 1)
    shape[axis] = bins
    return layers.gather(axis, source.reshape(shape).expand_as(layers))


def reflect(layers: Tensor, *, axes: Sequence[int], rng: torch.Generator) -> Tensor:
    """Mirror each shower along each of the axes, and along their diagonal, or not: at random.

    Perpendicular showers at a corner or the middle of the central cells, without a magnetic field,
    have the symmetries of the square. The diagonal is left out where the axes differ in length.

    Args:
        layers: voxel energies, shape (n, ...); all of one shower are mirrored together.
        axes: one axis, or the two that span the layer, counted with the batch.
        rng: source of the choice.
    """

    def mirrored(layers: Tensor, image: Tensor) -> Tensor:
        chosen = torch.rand(len(layers), generator=rng, device=layers.device) < 0.5
        return torch.where(chosen.reshape(-1, *[1] * (layers.ndim - 1)), image, layers)

    for axis in axes:
        layers = mirrored(layers, layers.flip(axis))
    if len(axes) == 2 and layers.shape[axes[0]] == layers.shape[axes[1]]:
        layers = mirrored(layers, layers.transpose(*axes))
    return layers


def check_centred(batches: Iterable[Tensor], *, cyclic: bool, settings: Sequence[str] = ()) -> None:
    """Refuse layers that lean to one side: neither rotated nor mirrored showers are like them.

    Args:
        batches: voxel energies of one layer in many showers, shape (n, a, b) each.
        cyclic: whether the first axis wraps around: the sides are then those of the azimuth.
        settings: names of what rotates and mirrors them, for the advice.

    Raises:
        ValueError: if the energy-weighted means of the showers are off centre by more than a tenth
            of their spread, and by more than chance.
    """
    means = torch.cat([_leaning(layers.double(), cyclic) for layers in batches])
    if len(means) < FEW:
        return
    std, mean = torch.std_mean(means, dim=0)
    aside = mean.abs() / std.clamp_min(1e-12)
    if bool(((aside > LARGE) & (aside * math.sqrt(len(means)) > SIGNIFICANT)).any()):
        advice = "".join(f" {name}=false" for name in settings)
        raise ValueError(
            "rotating or mirroring showers in training needs showers that enter perpendicularly, "
            f"without a preferred side, but here a layer lies {float(aside.max()):.2f} of its "
            f"spread aside: switch off rotation and reflection{advice and ','}{advice}"
        )


def _leaning(layers: Tensor, cyclic: bool) -> Tensor:
    """Energy-weighted mean position of each shower that reaches the layer, shape (hit, 2)."""
    a, b = layers.shape[1:]
    total = layers.sum((1, 2))
    if cyclic:
        angle = (torch.arange(a, device=layers.device, dtype=layers.dtype) + 0.5) * 2 * math.pi / a
        profile = layers.sum(2)
        sides = torch.stack([profile @ angle.cos(), profile @ angle.sin()], 1)
    else:
        x, y = (torch.linspace(-1, 1, n, device=layers.device, dtype=layers.dtype) for n in (a, b))
        sides = torch.stack([layers.sum(2) @ x, layers.sum(1) @ y], 1)
    return sides[total > 0] / total[total > 0, None]
