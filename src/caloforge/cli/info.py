"""The command `info`: a preset, a trained run or a file of showers described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

import caloforge as cf
from caloforge.cli.terminal import Quiet, out
from caloforge.pdg import kinds_of

if TYPE_CHECKING:
    from caloforge.cascade import System, TrainedRange
    from caloforge.cascade.usual import UsualParticle

__all__ = ["info"]


def info(
    preset: Annotated[
        str | None,
        typer.Argument(
            help="System, or system and preset, geometry, run folder, model, or file of showers; "
            "without it, all of them."
        ),
    ] = None,
    geometry: Annotated[
        str | None,
        typer.Option(help="By default the preset's own, or calochallenge-2."),
    ] = None,
    as_json: Quiet = False,
) -> None:
    """Show all systems, geometries and detectors; or one preset, run, geometry or file.

    Of a preset, a trained run or a model: geometry, stages, parameters, how many network passes
    have to follow each other to sample a shower, what can be chosen at generation, and the incident
    particles of the training. Of a file of showers: its metadata.

    Example: caloforge info

    Example: caloforge info l2lflows/small --json
    """
    from caloforge.cascade.registry import config_to_dict, default_geometry, system_names
    from caloforge.cli.catalogue import show_catalogue, show_geometry, show_presets
    from caloforge.training import RunFolder, best_models, find_run, model_folders
    from caloforge.training.sharing import is_address

    if preset is None:
        show_catalogue(as_json=as_json)
        return
    if Path(preset).is_file():
        _show_file(Path(preset), geometry, as_json=as_json)
        return
    is_model = is_address(preset) or preset in model_folders() or preset in best_models()
    folder = RunFolder(find_run(preset) if is_model else preset)
    if not folder.exists and preset in system_names() and geometry is None:
        show_presets(preset, as_json=as_json)
        return
    if not folder.exists and "/" not in preset and preset not in system_names():
        show_geometry(preset, as_json=as_json)
        return
    system = (
        folder.outline()
        if folder.exists
        else cf.build(preset, geometry or default_geometry(preset))
    )
    trained = folder.trained_range() if folder.exists else None
    if not as_json:
        _show_system(preset, system)
        _show_choices(system)
        if folder.exists:
            out.print(_trained_on(trained, folder.usual_particle()))
        return
    counts, passes = system.n_parameters, system.sequential_passes
    facts = {
        "preset": preset,
        "system": system.name,
        "geometry": system.geometry.name,
        "parameters": {"total": sum(counts.values()), "stages": counts},
        "sequential_passes": {"total": sum(passes.values()), "stages": passes},
        "choices": {
            name: {"default": choice.default, "what": choice.what, "offered": choice.offered}
            for name, choice in system.choices.items()
        },
        "trained": None if trained is None else trained.to_dict(),
        "usual_particle": folder.usual_particle().to_dict() if folder.exists else None,
        "config": config_to_dict(system.config),
    }
    out.print_json(json.dumps(facts))


def _show_system(name: str, system: System) -> None:
    counts, passes = system.n_parameters, system.sequential_passes
    table = Table("stage")
    for heading in ("parameters", "passes"):
        table.add_column(heading, justify="right")
    table.add_column("reads")
    for stage_name, stage in system.stages.items():
        numbers = (f"{counts[stage_name]:,}", f"{passes[stage_name]:,}")
        table.add_row(stage_name, *numbers, ", ".join(stage.reads))
    table.add_section()
    table.add_row("total", f"{sum(counts.values()):,}", f"{sum(passes.values()):,}", "")
    out.print(f"{name} for {system.geometry.name}:", table)


def _show_choices(system: System) -> None:
    table = Table("choice", "default", "what", "available")
    for name, choice in system.choices.items():
        default = choice.default
        written = str(default).lower() if isinstance(default, bool) else str(default)
        table.add_row(name, written, choice.what, ", ".join(choice.offered))
    if table.row_count:
        out.print("can be chosen at generation:", table)


def _trained_on(trained: TrainedRange | None, usual: UsualParticle) -> str:
    if trained is None:
        return "trained range: unknown, the run is older than this record"
    return f"trained on {trained.n_showers:,} showers, {trained}, of {kinds_of([usual.pdg])}"


def _show_file(path: Path, geometry: str | None, *, as_json: bool) -> None:
    from caloforge.data import open_file

    with open_file(path, geometry) as file:
        particles = file.particles
        energies = particles.energy
        facts: dict[str, Any] = {
            "file": str(path),
            "geometry": file.geometry.name,
            "showers": len(file),
            "particles": kinds_of(set(particles.pdg.tolist())),
            "energy_inc_MeV": [float(energies.min()), float(energies.max())]
            if len(energies)
            else None,
            "attributes": {name: _plain(value) for name, value in file.attributes.items()},
        }
    if as_json:
        out.print_json(json.dumps(facts))
        return
    table = Table(show_header=False)
    name, attributes = facts.pop("file"), facts.pop("attributes")
    for key, value in (facts | attributes).items():
        table.add_row(key, str(value))
    out.print(f"{name}:", table)


def _plain(value: Any) -> Any:
    """An attribute in JSON's types."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return value if isinstance(value, str | int | float | bool) else str(value)
