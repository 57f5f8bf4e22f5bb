"""The CaloChallenge's XML files of bins."""

from __future__ import annotations

import dataclasses
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from caloforge.geometry.layers import PolarLayer
from caloforge.geometry.presets import geometry_preset, geometry_presets
from caloforge.geometry.readout import Geometry

_PARTICLES = {"11": "e-", "22": "gamma", "211": "pi+"}  # the codes of the Particle Data Group


def read_calochallenge_xml(path: str | Path, *, preset: str | None = None) -> Geometry:
    """Read the bins of a CaloChallenge binning file.

    The file holds neither depths nor threshold nor energies. If its bins are those of a geometry
    preset, that preset is the answer. Other bins take what the file does not say from `preset`, or
    else lie at the depth of their layer's number [mm], with no threshold and any energy.

    Args:
        path: the XML file.
        preset: name of the geometry preset that lends what the file does not say.

    Raises:
        ValueError: if the file is not a CaloChallenge binning, or has not the preset's layers.
    """
    particle, layers = _read_layers(path)
    bins, layer_ids = tuple(layers.values()), tuple(layers)
    for name in geometry_presets() if preset is None else (preset,):
        known = geometry_preset(name)
        if (known.layers, known.layer_ids) == (bins, layer_ids):
            return known
    if preset is None:
        return Geometry(
            name=Path(path).stem,
            layers=bins,
            z=tuple(float(number) for number in layer_ids),
            threshold=0.0,
            energy_range=(0.0, math.inf),
            particle=particle,
            layer_ids=layer_ids,
        )
    if known.layer_ids != layer_ids:
        raise ValueError(
            f"{path} has voxels in the layers {layer_ids}, the preset {preset!r} in "
            f"{known.layer_ids}: choose the preset of the same calorimeter, or none"
        )
    return dataclasses.replace(known, name=Path(path).stem, layers=bins)


def _read_layers(path: str | Path) -> tuple[str, dict[int, PolarLayer]]:
    """Name of the particle and, by their numbers, the layers that have voxels."""
    layers: dict[int, PolarLayer] = {}
    try:
        entries = ElementTree.parse(path).getroot().find("Bin")
        if entries is None:
            raise ValueError("no <Bin>")
        for entry in entries.iter("Layer"):
            edges = tuple(float(edge) for edge in entry.attrib["r_edges"].split(","))
            if len(edges) > 1:  # a lone edge marks a layer without voxels
                bins = PolarLayer(edges, int(entry.attrib["n_bin_alpha"]))
                layers[int(entry.attrib["id"])] = bins
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} is not a CaloChallenge binning ({error}); expected "
            "<Bins><Bin pid=…><Layer id=… r_edges=… n_bin_alpha=… /></Bin></Bins>"
        ) from error
    return _PARTICLES.get(entries.attrib.get("pid", ""), "unknown"), layers
