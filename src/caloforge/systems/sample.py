"""What a system refuses to learn from, before the first of its stages is trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from caloforge.showers import PointShowers, Showers

if TYPE_CHECKING:
    from caloforge.systems.base import System
    from caloforge.systems.calibration import Calibration
    from caloforge.systems.stage import Stage

__all__ = ["check_contents", "check_parts"]

PARALLEL = 1e-3  # angle to the depth that is none
FEWEST = 2  # showers with energy


def check_contents(system: System, showers: Showers) -> None:
    """Refuse showers that a system cannot learn from, whatever its stages are.

    Raises:
        ValueError: if they are without energy, or of directions that the system reads nothing of.
    """
    n_filled = int((showers.total_energy() > 0).sum())
    if n_filled < FEWEST:
        raise ValueError(
            f"{n_filled} of {len(showers)} training showers hold energy, expected {FEWEST} or "
            "more: is it the right file?"
        )
    _check_direction(system, showers)


def check_parts(system: System, showers: Showers, stages: Iterable[str]) -> None:
    """Refuse a training sample that a stage, or what is fitted after training, cannot learn from.

    Args:
        system: the system.
        showers: showers of its kind and geometry.
        stages: names of those that are to be trained; what is fitted after training is always
            asked.

    Raises:
        ValueError: saying what each of them refuses.
    """
    refused: dict[type[Any], str] = {}  # stages of one kind say the same, each of its layer
    parts: list[Stage | Calibration] = [system.stages[name] for name in stages]
    for part in (*parts, *system.calibrations.values()):
        try:
            part.check(showers)
        except ValueError as error:
            refused.setdefault(type(part), str(error))
    if refused:
        raise ValueError("; ".join(dict.fromkeys(refused.values())))


def _check_direction(system: System, showers: Showers) -> None:
    """Refuse inclined particles where no stage would know."""
    if not isinstance(showers, PointShowers) or system.is_directed:
        return
    x, y, z = showers.direction.T
    inclined = (np.hypot(x, y) > PARALLEL) | (z < 0)
    if inclined.any():
        raise ValueError(
            f"{int(inclined.sum())} of {len(showers)} particles do not fly along the depth, and "
            f"this {system.name} reads no direction: set directed=true"
        )
