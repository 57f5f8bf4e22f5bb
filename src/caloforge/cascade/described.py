"""A description of a system, in words and as a table."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from caloforge.geometry import geometry_preset

if TYPE_CHECKING:
    from caloforge.cascade.system import System

__all__ = ["described", "described_as_html", "preset_of", "stage_groups"]


def preset_of(system: System) -> str | None:
    """The preset that has the system's configuration, such as "l2lflows/small"."""
    fitting = [
        size
        for size in system.sizes
        if size not in system.fixed_geometries
        or geometry_preset(system.fixed_geometries[size]).layers == system.geometry.layers
    ]
    same = (size for size in fitting if system.preset(size, system.geometry) == system.config)
    size = next(same, None)
    return f"{system.name}/{size}" if size else None


def stage_groups(system: System) -> dict[str, int]:
    """Number of parameters by group of stages: those that differ by their number are one."""
    groups: dict[str, list[str]] = {}
    for name in system.stages:
        groups.setdefault(re.sub(r"\d+$", "", name), []).append(name)
    counts = system.n_parameters
    return {
        names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}": sum(map(counts.get, names))  # type: ignore[arg-type]
        for names in groups.values()
    }


def _state(system: System) -> str:
    """Whether it is trained, and on what."""
    n, fitted = len(system.stages), sum(stage.is_fitted for stage in system.stages.values())
    if fitted < n:
        return "untrained" if not fitted else f"{fitted} of {n} stages trained"
    if system.trained is None:
        return "trained, on an unknown sample"
    return f"trained on {system.trained.n_showers:,} showers, {system.trained}"


def described(system: System) -> str:
    """Preset, geometry, parameters by group of stages, and what it was trained on."""
    groups = stage_groups(system)
    parts = ", ".join(f"{name} {count:,}" for name, count in groups.items())
    return (
        f"{type(system).__name__}({preset_of(system) or f'{system.name}, own settings'} for "
        f"{system.geometry.name}; {sum(groups.values()):,} parameters: {parts}; {_state(system)})"
    )


def described_as_html(system: System) -> str:
    """The same as a table for notebooks."""
    groups = stage_groups(system)
    name = preset_of(system) or f"{system.name}, own settings"
    rows = [*groups.items(), ("total", sum(groups.values()))]
    lines = "".join(
        f"<tr><td>{escape(group)}</td><td style='text-align:right'>{count:,}</td></tr>"
        for group, count in rows
    )
    return (
        f"<p><b>{escape(name)}</b> for {escape(system.geometry.name)}, {escape(_state(system))}</p>"
        f"<table><tr><th>stage</th><th>parameters</th></tr>{lines}</table>"
    )
