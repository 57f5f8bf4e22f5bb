"""Checks that all presets share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from caloforge.geometry import Geometry, geometry_preset
from caloforge.names import did_you_mean

__all__ = ["check_preset"]


def check_preset(
    system: str,
    size: str,
    geometry: Geometry,
    *,
    sizes: Sequence[str],
    fixed_geometries: Mapping[str, str],
    regular: bool = True,
) -> None:
    """Refuse a preset that does not exist, or that is not for a geometry.

    Args:
        system: name of the system.
        size: name of the preset, such as "small".
        geometry: the voxels.
        sizes: names of the system's presets.
        fixed_geometries: name of the geometry of each preset that is for one alone.
        regular: whether the system needs layers of one shape.

    Raises:
        ValueError: for an unknown preset, or a geometry that it cannot take.
    """
    if size not in sizes:
        raise ValueError(
            f"no preset '{system}/{size}'{did_you_mean(size, sizes)}; there are {', '.join(sizes)}"
        )
    if (fixed := fixed_geometries.get(size)) and geometry.layers != geometry_preset(fixed).layers:
        raise ValueError(
            f"{system}/{size} is for the voxels of {fixed}, got {geometry.name}: take "
            f"{system}/small, which fits any {'regular ' if regular else ''}geometry"
        )
    if regular and not geometry.is_regular:
        raise ValueError(
            f"{system} needs a regular geometry, {geometry.name} has layers of different shapes "
            f"{sorted(set(geometry.layer_shapes))}: project the showers into equal layers"
        )
