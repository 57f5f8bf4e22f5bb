"""A trained system as it goes to another process: configuration, weights, and what was fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load, save

from caloforge.geometry import Geometry

if TYPE_CHECKING:
    from caloforge.cascade.system import System

__all__ = ["begun", "handed", "received"]


def begun(kind: type[System], config: Any, geometry: Geometry, seed: int) -> System:
    """A system with its initial weights, those of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # that of the CPU alone
        system = kind(config, geometry)
    system.seed = seed
    return system


def handed(system: System) -> dict[str, Any]:
    """What `received` makes the same system of, without tensors, which may lie anywhere."""
    return {
        "kind": type(system),
        "config": system.config,
        "geometry": system.geometry,
        "seed": system.seed,
        "usual": system.usual,
        "trained": system.trained,
        "stages": {
            name: (
                stage.state(),
                save({key: value.contiguous() for key, value in stage.state_dict().items()}),
            )
            for name, stage in system.stages.items()
        },
    }


def received(values: dict[str, Any]) -> System:
    """The system, on the CPU."""
    system = begun(values["kind"], values["config"], values["geometry"], values["seed"])
    system.usual, system.trained = values["usual"], values["trained"]
    for name, (state, weights) in values["stages"].items():
        stage = system.stages[name]
        stage.load_state(state)
        stage.load_state_dict(load(weights))
        stage.eval()
    return system
