"""The facts about a model in its run folder."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from caloforge.cascade import System
from caloforge.cascade.described import preset_of
from caloforge.cascade.usual import UsualParticle
from caloforge.data import open_file, open_source
from caloforge.geometry import Geometry
from caloforge.pdg import kinds_of
from caloforge.training import RunFolder

__all__ = ["detector", "model", "particles", "training"]

Facts = dict[str, Any]


def model(name: str, run: RunFolder, system: System, weights: str) -> Facts:
    """The system, its size, and what distinguishes its weights from all others.

    Args:
        name: name of the model.
        run: the run folder.
        system: as it was loaded.
        weights: hash of its weights.
    """
    counts = system.n_parameters
    return {
        "name": name,
        "system": system.name,
        "preset": preset_of(system),
        "what": (inspect.getdoc(type(system)) or "").partition("\n\n")[0].replace("\n", " "),
        "papers": list(system.papers),
        "caloforge": run.config().get("caloforge"),
        "parameters": {"total": sum(counts.values()), "stages": counts},
        "sequential_passes": sum(system.sequential_passes.values()),
        "weights_bytes": run.size(),
        "weights": weights,
    }


def detector(geometry: Geometry) -> Facts:
    """Where energy is read out."""
    return {
        "name": geometry.name,
        "layers": geometry.n_layers,
        "voxels": geometry.n_voxels,
        "depth_mm": [min(geometry.z), max(geometry.z)],
        "threshold_MeV": geometry.threshold,
    }


def particles(run: RunFolder) -> Facts:
    """The incident particles of the training; None where the run is older than the record."""
    trained, usual = run.trained_range(), run.usual_particle()
    return {
        "kinds": kinds_of([usual.pdg]),
        "pdg": usual.pdg,
        "direction": list(usual.direction),
        "directions": None if trained is None or not trained.direction else trained.direction,
        "energy_inc_MeV": None if trained is None else list(trained.energy_inc),
        "words": _words(str(trained) if trained else "", usual),
    }


def _words(trained: str, usual: UsualParticle) -> str:
    return f"{kinds_of([usual.pdg])}, {trained or 'of energies that the run does not record'}"


def training(run: RunFolder, files: Sequence[str | Path] = ()) -> Facts:
    """The training sample, and what the training took.

    Args:
        run: the run folder.
        files: where the sample lies now; by default where it lay.

    Raises:
        ValueError: if these files hold other showers than those that were trained on.
    """
    config, effort, trained = run.config(), run.effort(), run.trained_range()
    data: Mapping[str, Any] = config.get("data", {})
    geometry = Geometry.from_dict(config["geometry"])
    found, note = _given(data, geometry, files) if files else _found(data, geometry)
    return {
        "files": found,
        "note": note,
        "fingerprint": data.get("fingerprint"),
        "n_showers": effort.get("n_training_showers"),
        "n_learned": None if trained is None else trained.n_showers,
        "minutes": effort.get("training_minutes"),
        "hardware": config.get("hardware"),
        "seed": config.get("seed"),
    }


def _given(
    data: Mapping[str, Any], geometry: Geometry, files: Sequence[str | Path]
) -> tuple[list[Facts], str]:
    """The metadata of files that a user names."""
    if (origins := _origins(data, geometry, files)) is None:
        raise ValueError(
            f"{', '.join(map(str, files))}: not the showers that were trained on, which have the "
            f"fingerprint {data.get('fingerprint')}"
        )
    return origins, ""


def _found(data: Mapping[str, Any], geometry: Geometry) -> tuple[list[Facts], str]:
    """The metadata of the files that the run names, and what is not known about them.

    They are asked only where they lie as they lay, with the showers that were trained on.
    """
    text = str(data.get("showers", ""))
    if text in ("", "in memory"):
        return [], "the showers were in memory: no file is known"
    paths = [Path(part) for part in text.split(", ")]
    names: list[Facts] = [{"name": path.name} for path in paths]
    if not all(path.is_file() for path in paths):
        return names, "the files are not where they were: what made them is not known (--training)"
    try:
        origins = _origins(data, geometry, paths)
    except ValueError:
        return names, "the files cannot be read any more: what made them is not known"
    if origins is None:
        return names, "the files hold other showers now: what made them is not known"
    return origins, ""


def _origins(
    data: Mapping[str, Any], geometry: Geometry, files: Sequence[str | Path]
) -> list[Facts] | None:
    """The metadata of files, None if they hold other showers than the training sample."""
    with closing(open_source(files, geometry)) as source:
        if source.fingerprint() != data.get("fingerprint"):
            return None
        return [_origin(path, geometry) for path in source.paths]


def _origin(path: Path, geometry: Geometry) -> Facts:
    """What made a file of showers, by its metadata."""
    with open_file(path, geometry) as file:
        said = {name: str(file.attributes.get(name, "")) for name in ("command", "generator")}
        return {"name": path.name, "n_showers": len(file), **{k: v for k, v in said.items() if v}}
