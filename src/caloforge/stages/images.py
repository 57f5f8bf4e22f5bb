"""Whether the showers of a sample may be rotated and mirrored."""

from __future__ import annotations

from typing import Any

from caloforge.cascade.quantities import ShowerQuantities
from caloforge.geometry import Geometry
from caloforge.preprocessing import check_centred
from caloforge.showers import ShowerSource

__all__ = ["check_images"]


def check_images(sample: ShowerSource[Any], geometry: Geometry, setting: str) -> None:
    """Refuse showers with a preferred side where they would be rotated and mirrored.

    Args:
        sample: the training sample.
        geometry: its voxels; where its layers differ, nothing is checked.
        setting: what switches rotations and reflections off.

    Raises:
        ValueError: see `check_centred`.
    """
    if geometry.is_regular:
        layers = ShowerQuantities(sample, ("showers",), budget=0)
        cyclic = geometry.cyclic_axis is not None
        summed = (q["showers"].sum(1) for q in layers.batches())
        check_centred(summed, cyclic=cyclic, settings=[setting])
