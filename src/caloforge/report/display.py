"""Single showers for the interactive display: voxels at their places, packed for the browser."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.sample import Sample

__all__ = ["event_display", "pack_array"]


def event_display(samples: Mapping[str, Sample]) -> dict[str, Any]:
    """Collect the showers that the samples kept for display, as plain values for JSON.

    Arrays are base64 of little-endian numbers: float32 for positions [mm] and energies [MeV],
    uint32 for the numbers of voxels, which count those voxels alone that some shower has.

    Args:
        samples: observables by name, Geant4 first; shower i of all has similar incident energy.
    """
    reference = next(iter(samples.values()))
    geometry = reference.geometry
    voxels = np.unique(np.concatenate([sample.events.index for sample in samples.values()]))
    place = {
        "x": geometry.voxel_x[voxels],
        "y": geometry.voxel_y[voxels],
        "z": geometry.voxel_z[voxels],
    }
    showers = {name: _showers(sample, voxels) for name, sample in samples.items()}
    energies = np.concatenate([sample.events.energy for sample in samples.values()])
    energies = energies[energies > 0]
    across = max(float(np.abs(place["x"]).max()), float(np.abs(place["y"]).max())) * 1.05
    return {
        "names": list(showers),
        "voxels": {name: pack_array(values, "<f4") for name, values in place.items()},
        "depth": [0.0, float(max(geometry.z)) * 1.03],
        "across": across,
        "energy_range": [float(energies.min()), float(energies.max())],
        "events": [
            {name: of_sample[number] for name, of_sample in showers.items()}
            for number in range(min(len(of_sample) for of_sample in showers.values()))
        ],
    }


def _showers(sample: Sample, voxels: NDArray[Any]) -> list[dict[str, Any]]:
    events = sample.events
    return [
        {
            "energy_inc": float(shower.energy_inc[0]),
            "energy_dep": float(shower.total_energy()[0]),
            "voxel": pack_array(np.searchsorted(voxels, shower.index), "<u4"),
            "energy": pack_array(shower.energy, "<f4"),
        }
        for shower in events.batches(1)
    ]


def pack_array(values: NDArray[Any], kind: str) -> str:
    """The numbers of an array as text for the page."""
    return b64encode(values.astype(kind).tobytes()).decode("ascii")
