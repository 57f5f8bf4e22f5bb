"""Systems by name, built from presets or from a stored configuration."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from caloforge.geometry import Geometry, geometry_preset
from caloforge.systems.base import System

__all__ = [
    "build",
    "build_from_config",
    "config_to_dict",
    "presets",
    "read_config",
    "system_names",
]

# Where each system lives; imported only when it is asked for.
_HOMES = {
    "l2lflows": ("caloforge.systems.l2lflows", "L2LFlows"),
    "calodream": ("caloforge.systems.calodream", "CaloDREAM"),
    "supercalo": ("caloforge.systems.supercalo", "SuperCalo"),
    "caloclouds": ("caloforge.systems.caloclouds", "CaloClouds"),
}


def system_names() -> tuple[str, ...]:
    """Names of the systems."""
    return tuple(_HOMES)


def _system_class(name: str) -> type[System]:
    if name not in _HOMES:
        raise ValueError(f"no system {name!r}; there are {', '.join(_HOMES)}")
    module, attribute = _HOMES[name]
    found: type[System] = getattr(importlib.import_module(module), attribute)
    return found


def presets() -> tuple[str, ...]:
    """Names of all presets, such as "l2lflows/small"."""
    return tuple(f"{name}/{size}" for name in _HOMES for size in _system_class(name).sizes)


def default_geometry(preset: str) -> str:
    """The geometry that a preset is shown for: its own, or its system's where it fits many."""
    name, _, size = preset.partition("/")
    system_class = _system_class(name)
    return system_class.homes.get(size, system_class.home)


def build(
    preset: str,
    geometry: Geometry | str | None = None,
    *,
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
) -> System:
    """Build an untrained system.

    Args:
        preset: system and preset, such as "l2lflows/small".
        geometry: the voxels, or the name of a geometry preset; may be left out where the preset is
            for one geometry alone.
        seed: of the initial weights and permutations; the global random state is not touched.
        overrides: values that differ from the preset, by dotted name, such as
            {"layers.recipe.epochs": 3}.

    Raises:
        ValueError: for an unknown preset, a geometry that the system cannot take, or overrides
            that do not fit; every wrong one is named.
    """
    name, _, size = preset.partition("/")
    system_class = _system_class(name)
    wanted = system_class.homes.get(size) if geometry is None else geometry
    if wanted is None:
        raise ValueError(
            f"{preset} fits many geometries: say which, such as geometry='calochallenge-2'"
        )
    voxels = geometry_preset(wanted) if isinstance(wanted, str) else wanted
    config = system_class.preset(size, voxels)
    values = config_to_dict(config)
    misplaced = [_override(values, key, value) for key, value in (overrides or {}).items()]
    problems = [problem for problem in misplaced if problem] + _problems(system_class, values)
    if problems:
        raise ValueError(_do_not_fit(name, problems))
    return build_from_config(name, values, voxels, seed=seed)


def build_from_config(
    name: str, config: Mapping[str, Any], geometry: Geometry, *, seed: int = 0
) -> System:
    """Build an untrained system from a complete configuration, as `config_to_dict` gives it.

    Raises:
        ValueError: for values that do not fit; every wrong one is named.
    """
    system_class = _system_class(name)
    checked = read_config(name, config)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # that of the CPU alone
        system = system_class(checked, geometry)
    system.seed = seed
    return system


def read_config(name: str, values: Mapping[str, Any]) -> Any:
    """The configuration that `config_to_dict` wrote; settings newer than it have their defaults.

    Raises:
        ValueError: for values that do not fit; every wrong one is named.
    """
    system_class = _system_class(name)
    if problems := _problems(system_class, values):
        raise ValueError(_do_not_fit(name, problems))
    return TypeAdapter(system_class.Config).validate_python(values)


def _problems(system_class: type[System], config: Any) -> list[str]:
    """What is wrong with a configuration, a line each."""
    try:
        TypeAdapter(system_class.Config).validate_python(config)
    except ValidationError as error:
        return [
            f"{'.'.join(str(part) for part in problem['loc']) or 'as a whole'}: {problem['msg']}, "
            f"got {_shown(problem['input'])}"
            for problem in error.errors()
        ]
    return []


def _shown(value: Any) -> str:
    # what pydantic hands on where a dataclass itself refuses its values
    return repr(getattr(value, "kwargs", value))


def _do_not_fit(name: str, problems: Sequence[str]) -> str:
    return f"the configuration of {name} does not fit:\n  " + "\n  ".join(problems)


def config_to_dict(config: Any) -> dict[str, Any]:
    """A configuration in JSON's types, complete."""
    values: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return values


def _override(values: dict[str, Any], key: str, value: Any) -> str | None:
    """Set a value by its dotted name; returns what is wrong with the name."""
    *path, last = key.split(".")
    for depth, part in enumerate(path):
        if not isinstance(values.get(part), dict):
            where = ".".join(path[:depth]) or "the configuration"
            return f"no setting {key!r}: {where} has {', '.join(values)}"
        values = values[part]
    if last not in values:
        return f"no setting {key!r}: expected one of {', '.join(values)}"
    values[last] = value
    return None
