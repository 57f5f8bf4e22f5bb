"""What distinguishes the systems and particles of two generations."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.cascade.registry import config_to_dict
from caloforge.cascade.system import System
from caloforge.showers import Particles

__all__ = ["particle_hashes", "settings_hash", "weights_hash"]


def settings_hash(system: System) -> str:
    """Distinguishes systems with the same weights that sample in another way or in other voxels."""
    described = {"config": config_to_dict(system.config), "geometry": system.geometry.to_dict()}
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def weights_hash(system: System) -> str:
    """Distinguishes trained systems, so that no file mixes the showers of two."""
    digest = hashlib.sha256()
    for stage in system.stages.values():
        digest.update(json.dumps(stage.state(), sort_keys=True).encode())
        for value in stage.state_dict().values():
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def particle_hashes(particles: Particles) -> dict[str, str]:
    """The particles of a request, as its identity states them."""
    columns = {"energies": particles.energy, "direction": particles.direction, "pdg": particles.pdg}
    return {name: _hash(values) for name, values in columns.items()}


def _hash(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for values in arrays:
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
