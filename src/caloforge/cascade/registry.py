"""Systems by name, built from presets or from a stored configuration."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from itertools import groupby
from operator import methodcaller
from typing import Any

from pydantic import TypeAdapter, ValidationError

from caloforge.cascade.handed import begun
from caloforge.cascade.system import System
from caloforge.geometry import Geometry, geometry_preset
from caloforge.names import did_you_mean

__all__ = [
    "build",
    "build_from_config",
    "config_to_dict",
    "presets",
    "read_config",
    "system_names",
]

FOLDER = "caloforge.systems"  # of the systems of this package
GROUP = FOLDER  # entry points of systems in other packages, "module:Class" by name


@cache
def _modules() -> dict[str, str]:
    """The module of each system; imported only when it is asked for.

    The folders of `caloforge.systems`, and what other packages name as entry points.
    """
    own = {
        module.name: f"{FOLDER}.{module.name}"
        for module in pkgutil.iter_modules(importlib.import_module(FOLDER).__path__)
        if module.ispkg
    }
    others = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    if twice := sorted(own.keys() & others.keys()):
        raise ValueError(
            f"another package has a system {', '.join(twice)}, which is a system of caloforge: "
            f"uninstall it ({', '.join(others[name] for name in twice)}), or rename its entry point"
        )
    return own | others


def system_names() -> tuple[str, ...]:
    """Names of the systems, those of other packages included."""
    return tuple(_modules())


def system_class(name: str) -> type[System]:
    """The class of a system.

    Raises:
        ValueError: for an unknown name, or an entry point that is no system.
    """
    if name not in _modules():
        raise ValueError(
            f"no system {name!r}{did_you_mean(name, _modules())}; there are {', '.join(_modules())}"
        )
    place = _modules()[name]
    module, _, attribute = place.partition(":")
    inside = vars(importlib.import_module(module))
    named = [inside.get(attribute)] if attribute else list(inside.values())
    found = [value for value in named if isinstance(value, type) and issubclass(value, System)]
    if len(found) != 1:
        raise ValueError(f"expected the class of one System at {place}, got {len(found)}")
    return found[0]


def presets() -> tuple[str, ...]:
    """Names of all presets, such as "l2lflows/small"."""
    return tuple(f"{name}/{size}" for name in _modules() for size in system_class(name).sizes)


def _named(preset: str) -> tuple[type[System], str]:
    """System and size of a preset; the first size where a system alone is named."""
    name, _, size = preset.partition("/")
    found = system_class(name)
    return found, size or found.sizes[0]


def default_geometry(preset: str) -> str:
    """The geometry that a preset is described for: its own, or its system's default."""
    found, size = _named(preset)
    return found.fixed_geometries.get(size, found.default_geometry)


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
            {"layers.recipe.epochs": 3}; those of a configuration come after its choice, as in
            {"energies": "quantile-flow", "energies.blocks": 6}.

    Raises:
        ValueError: for an unknown preset, a geometry that the system cannot take, or overrides
            that do not fit; every wrong one is named.
    """
    found, size = _named(preset)
    wanted = found.fixed_geometries.get(size) if geometry is None else geometry
    if wanted is None:
        raise ValueError(
            f"{preset} fits many geometries: name one, such as geometry='calochallenge-2'"
        )
    voxels = geometry_preset(wanted) if isinstance(wanted, str) else wanted
    overrides = overrides or {}
    values, misplaced = config_to_dict(found.preset(size, voxels)), []
    for keys in _by_depth(overrides):
        misplaced += [_override(values, key, overrides[key]) for key in keys]
        if not _problems(found, values):  # what was chosen has settings of its own
            values = config_to_dict(read_config(found.name, values))
    if problems := [problem for problem in misplaced if problem] + _problems(found, values):
        raise ValueError(_do_not_fit(found.name, problems))
    return build_from_config(found.name, values, voxels, seed=seed)


def build_from_config(
    name: str, config: Mapping[str, Any], geometry: Geometry, *, seed: int = 0
) -> System:
    """Build an untrained system from a complete configuration, as `config_to_dict` gives it.

    Raises:
        ValueError: for values that do not fit; every wrong one is named.
    """
    return begun(system_class(name), read_config(name, config), geometry, seed)


def read_config(name: str, values: Mapping[str, Any]) -> Any:
    """The configuration that `config_to_dict` wrote; settings newer than it have their defaults.

    Raises:
        ValueError: for values that do not fit; every wrong one is named.
    """
    found = system_class(name)
    if problems := _problems(found, values):
        raise ValueError(_do_not_fit(name, problems))
    return TypeAdapter(found.Config).validate_python(values)


def _problems(of: type[System], config: Any) -> list[str]:
    """What is wrong with a configuration, a line each."""
    try:
        TypeAdapter(of.Config).validate_python(config)
    except ValidationError as error:
        return [
            f"{'.'.join(str(part) for part in problem['loc']) or 'as a whole'}: {problem['msg']}, "
            f"got {_shown(problem['input'])}"
            for problem in error.errors()
        ]
    return []


def _shown(value: Any) -> str:
    # what pydantic passes on where a dataclass itself refuses its values
    return repr(getattr(value, "kwargs", value))


def _do_not_fit(name: str, problems: Sequence[str]) -> str:
    return f"the configuration of {name} does not fit:\n  " + "\n  ".join(problems)


def config_to_dict(config: Any) -> dict[str, Any]:
    """A configuration in JSON's types, complete."""
    values: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return values


def _by_depth(names: Iterable[str]) -> Iterator[list[str]]:
    """Dotted names, those of configurations before those of their settings."""
    depth = methodcaller("count", ".")
    return (list(alike) for _, alike in groupby(sorted(names, key=depth), depth))


def _override(values: dict[str, Any], key: str, value: Any) -> str | None:
    """Set a value by its dotted name; returns what is wrong with the name."""
    *path, last = key.split(".")
    meant = did_you_mean(key, _dotted(values))
    for depth, part in enumerate(path):
        if not isinstance(values.get(part), dict):
            where = ".".join(path[:depth]) or "the configuration"
            return f"no setting {key!r}: {where} has {', '.join(values)}{meant}"
        values = values[part]
    if last not in values:
        return f"no setting {key!r}: expected one of {', '.join(values)}{meant}"
    values[last] = value
    return None


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Names of all settings, such as "layers.recipe.epochs"."""
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
