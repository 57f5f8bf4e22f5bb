"""Catalogues: systems and their presets, geometries, detectors."""

from __future__ import annotations

import json
from typing import Any

from rich.table import Table

import caloforge as cf
from caloforge.cli.terminal import out
from caloforge.names import did_you_mean

__all__ = ["show_catalogue", "show_geometry", "show_presets"]


def show_catalogue(*, as_json: bool) -> None:
    """Systems with their presets, and geometries; which of these Geant4 can simulate."""
    from caloforge.cascade.registry import system_class, system_names
    from caloforge.simulation import detector_presets

    sizes = {name: list(system_class(name).sizes) for name in system_names()}
    detectors = detector_presets()
    if as_json:
        facts = {
            "systems": sizes,
            "geometries": list(cf.geometry_presets()),
            "detectors": list(detectors),
        }
        out.print_json(json.dumps(facts))
        return
    systems = Table("system", "presets", "what it is")
    for name, presets in sizes.items():
        systems.add_row(name, ", ".join(presets), _described(system_class(name)))
    out.print(systems)
    geometries = Table("geometry", "layers", "voxels", "detector of Geant4")
    for name in cf.geometry_presets():
        geometry = cf.geometry_preset(name)
        known = "yes" if name in detectors else ""
        geometries.add_row(name, f"{geometry.n_layers}", f"{geometry.n_voxels:,}", known)
    out.print(geometries)
    out.print("more of one: caloforge info l2lflows, l2lflows/small or calochallenge-2")
    out.print("trained already: caloforge models")


def show_presets(name: str, *, as_json: bool) -> None:
    """The presets of a system, each for the geometry that it is shown for."""
    from caloforge.cascade.registry import system_class

    found = system_class(name)
    rows = [_preset(name, size) for size in found.sizes]
    if as_json:
        out.print_json(json.dumps({"system": name, "presets": rows}))
        return
    table = Table(title=f"{name}: {_described(found)}")
    for heading in ("preset", "geometry"):
        table.add_column(heading, no_wrap=True)
    for heading in ("stages", "parameters", "passes"):
        table.add_column(heading, justify="right")
    for row in rows:
        place = row["geometry"] if row["only"] else f"{row['geometry']}, …"
        numbers = (row[heading] for heading in ("stages", "parameters", "passes"))
        table.add_row(row["preset"], place, *(f"{number:,}" for number in numbers))
    out.print(table)


def _preset(name: str, size: str) -> dict[str, Any]:
    import torch

    from caloforge.cascade.registry import default_geometry, system_class

    found, geometry = system_class(name), default_geometry(f"{name}/{size}")
    with torch.device("meta"):  # shapes alone, without memory for weights
        system = cf.build(f"{name}/{size}", geometry)
    return {
        "preset": f"{name}/{size}",
        "geometry": geometry,
        "only": size in found.fixed_geometries,
        "stages": len(system.stages),
        "parameters": sum(system.n_parameters.values()),
        "passes": sum(system.sequential_passes.values()),
    }


def show_geometry(name: str, *, as_json: bool) -> None:
    """Layers, voxels and depths of a geometry.

    Raises:
        ValueError: for a name that is neither a geometry nor anything else that `info` shows.
    """
    from caloforge.cascade import presets, system_names
    from caloforge.simulation import detector_presets
    from caloforge.training import best_models, model_folders

    if name not in cf.geometry_presets():
        others = (*system_names(), *presets(), *best_models(), *model_folders())
        meant = did_you_mean(name, (*cf.geometry_presets(), *others))
        raise ValueError(
            f"no system, preset, geometry, run folder, model or file {name!r}{meant}: "
            "`caloforge info` and `caloforge models` list what there is"
        )
    geometry = cf.geometry_preset(name)
    shapes = geometry.layer_shapes
    facts = {
        "geometry": name,
        "layers": geometry.n_layers,
        "voxels": geometry.n_voxels,
        "voxels_of_a_layer": list(shapes[0]) if geometry.is_regular else [a * b for a, b in shapes],
        "depth_mm": [min(geometry.z), max(geometry.z)],
        "threshold_MeV": geometry.threshold,
        "detector": name in detector_presets(),
    }
    if as_json:
        out.print_json(json.dumps(facts))
        return
    table = Table(show_header=False)
    facts["detector"] = "known to caloforge simulate" if facts["detector"] else "not known"
    for key, value in facts.items():
        table.add_row(key, str(value))
    out.print(table)


def _described(of: type[Any]) -> str:
    return (of.__doc__ or "").partition("\n")[0].rstrip(".")
