"""The detector of a file: by its metadata, as given, and whether both agree."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caloforge.data.hdf5 import ShowerFileError
from caloforge.geometry import Geometry, geometry_preset, geometry_presets

__all__ = ["agreed_geometry", "unknown_geometry"]


def agreed_geometry(
    path: Path, attributes: Mapping[str, Any], given: Geometry | None
) -> Geometry | None:
    """The given geometry, or else what a file says; None if neither is there.

    What the file says must agree with what is given only where it is said in caloforge's terms.

    Raises:
        ShowerFileError: if both are there and differ.
    """
    stored = _stored_geometry(attributes)
    if given is None or stored is None:
        return given or stored
    if given.name != stored.name:
        raise ShowerFileError(
            f"{path} holds showers of {stored.name}, not of {given.name}: "
            "leave the geometry out, or choose the right file"
        )
    if given.layers != stored.layers:
        raise ShowerFileError(
            f"{path} holds showers in other voxels than those of the given {given.name}: "
            "leave the geometry out, or choose the right file"
        )
    return given


def unknown_geometry(
    path: Path, attributes: Mapping[str, Any], n_voxels: int | None, usual: str
) -> ShowerFileError:
    """The error of a file that does not state its geometry: the presets that it may be of."""
    like = [name for name in geometry_presets() if geometry_preset(name).n_voxels == n_voxels]
    said = _named_geometry(attributes)
    hints = [f"its attribute says {said!r}"] if said is not None else []
    hints += [f"{n_voxels} voxels, as in {' and '.join(like)}"] if like else []
    hint = f" ({'; '.join(hints)})" if hints else ""
    return ShowerFileError(
        f"{path} does not state a known geometry{hint}: "
        f"give one, for example geometry={(like or [usual])[0]!r}"
    )


def _stored_geometry(attributes: Mapping[str, Any]) -> Geometry | None:
    """The geometry in a file's metadata, None where there is none or other names are used."""
    if "geometry_definition" in attributes:
        return Geometry.from_dict(json.loads(attributes["geometry_definition"]))
    named = _named_geometry(attributes)
    return geometry_preset(named) if named in geometry_presets() else None


def _named_geometry(attributes: Mapping[str, Any]) -> str | None:
    named = attributes.get("geometry")
    if isinstance(named, bytes):
        return named.decode(errors="replace")
    return None if named is None else str(named)
