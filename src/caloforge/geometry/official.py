"""Particles and energies of the field's official samples, by detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caloforge.geometry.presets import geometry_preset, geometry_presets
from caloforge.geometry.readout import Geometry
from caloforge.units import GeV, MeV, TeV

__all__ = ["OfficialSample", "official_sample"]


@dataclass(frozen=True)
class OfficialSample:
    """The particles of an official sample.

    Args:
        particle: their name, such as "e-".
        energy_range: lowest and highest incident energy [MeV].
    """

    particle: str
    energy_range: tuple[float, float]


# One preset of every detector: the other presets of it have layers at the same depths.
_SAMPLES = {
    "calochallenge-1-photons": OfficialSample("gamma", (2**8 * MeV, 2**22 * MeV)),
    "calochallenge-1-pions": OfficialSample("pi+", (2**8 * MeV, 2**22 * MeV)),
    "calochallenge-2": OfficialSample("e-", (1 * GeV, 1 * TeV)),
    "ild-30": OfficialSample("gamma", (10 * GeV, 100 * GeV)),
}


def official_sample(geometry: Geometry) -> OfficialSample | None:
    """The official sample of the detector that a geometry reads out, None for other detectors.

    A detector is known by the depths of its layers, each alone or as many at a time taken together.
    So its name does not matter, nor how a layer is cut into voxels, as in a core, in coarse voxels,
    or around another impact point. Some of its layers are known where they are in the voxels of a
    preset.
    """
    for name, sample in _SAMPLES.items():
        if _is_whole(geometry, geometry_preset(name)):
            return sample
    for name in geometry_presets():
        if _is_part(geometry, geometry_preset(name)):
            return official_sample(geometry_preset(name))
    return None


def _is_whole(geometry: Geometry, preset: Geometry) -> bool:
    together, left = divmod(preset.n_layers, geometry.n_layers)
    if left or not together:
        return False
    means = np.reshape(preset.z, (-1, together)).mean(1)
    return np.allclose(means, geometry.z, rtol=0, atol=1e-6)


def _is_part(geometry: Geometry, preset: Geometry) -> bool:
    if geometry.z[0] not in preset.z:
        return False
    first = preset.z.index(geometry.z[0])
    run = slice(first, first + geometry.n_layers)
    return (preset.z[run], preset.layers[run]) == (geometry.z, geometry.layers)
