"""What a system refuses to learn from, before the first of its stages is trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from caloforge.cascade.usual import PARALLEL, UsualParticle
from caloforge.showers import PointShowers, ShowerSource

if TYPE_CHECKING:
    from caloforge.cascade.system import System

__all__ = ["check_sample", "check_showers"]

BLOCK = 1000  # showers read at once
FEWEST = 2  # showers with energy


def check_showers(system: System, showers: ShowerSource[Any]) -> None:
    """Refuse showers that a system cannot learn from, with any stages.

    Raises:
        ValueError: for showers of another kind or geometry, without energy, or of directions that
            the system reads nothing of.
    """
    kind = type(showers.take(np.arange(0)))
    if not issubclass(kind, system.kind):
        points, voxels = "point clouds", "showers in voxels"
        is_cloud = issubclass(kind, PointShowers)
        fitting, given = (voxels, points) if is_cloud else (points, voxels)
        raise ValueError(f"{system.name} learns from {fitting}, got {given}: train another system")
    if showers.geometry != system.geometry:
        raise ValueError(
            f"the showers are of {showers.geometry.name}, the system is built for "
            f"{system.geometry.name}: build it with geometry=showers.geometry"
        )
    n_filled = sum(int((block.total_energy() > 0).sum()) for block in showers.blocks(BLOCK))
    if n_filled < FEWEST:
        raise ValueError(
            f"{n_filled} of {len(showers)} training showers hold energy, expected {FEWEST} or "
            "more: is it the right file?"
        )
    _check_direction(system, showers)


def check_sample(system: System, showers: ShowerSource[Any], stages: Iterable[str]) -> None:
    """Refuse a training sample that a stage cannot learn from.

    Args:
        system: the system.
        showers: what `check_showers` takes.
        stages: names of those that are to be trained.

    Raises:
        ValueError: saying what each of them refuses.
    """
    refused: dict[type[Any], str] = {}  # stages of one kind say the same, each of its layer
    for stage in (system.stages[name] for name in stages):
        try:
            stage.check(showers)
        except ValueError as error:
            refused.setdefault(type(stage), str(error))
    if refused:
        raise ValueError("; ".join(dict.fromkeys(refused.values())))


def _check_direction(system: System, showers: ShowerSource[Any]) -> None:
    """Refuse particles of several directions, and clouds of inclined ones, that no stage reads."""
    if system.is_directed:
        return
    of_points = issubclass(system.kind, PointShowers)
    usual = UsualParticle() if of_points else UsualParticle.of(showers.particles)
    others = usual.angles_to(showers.particles) > PARALLEL
    if others.any():
        choose = f"choose showers {'along the depth' if of_points else 'of one direction'}"
        remedy = "set directed=true" if hasattr(system.config, "directed") else choose
        raise ValueError(
            f"{int(others.sum())} of {len(showers)} particles do not fly along {usual.direction}, "
            f"and this {system.name} reads no direction: {remedy}"
        )
