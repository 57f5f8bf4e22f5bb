"""The CaloChallenge's XML files of bins."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from caloforge.geometry.layers import PolarLayer
from caloforge.geometry.presets import geometry_preset
from caloforge.geometry.readout import Geometry


def read_calochallenge_xml(path: str | Path, *, preset: str | None = None) -> Geometry:
    """Read the bins of a CaloChallenge binning file.

    The file holds neither depths nor threshold nor energies: they come from `preset`, or, without
    one, layers lie at depth 0, 1, 2, … mm with no threshold.

    Args:
        path: the XML file.
        preset: name of the geometry preset that lends what the file does not say.

    Raises:
        ValueError: if the file is not a CaloChallenge binning, or does not fit the preset.
    """
    try:
        particle = ElementTree.parse(path).getroot().find("Bin")  # noqa: S314 - no entities used
        assert particle is not None
        layers, ids = [], []
        for entry in particle.iter("Layer"):
            edges = tuple(float(edge) for edge in entry.attrib["r_edges"].split(","))
            if len(edges) > 1:  # a lone edge marks a layer without voxels
                layers.append(PolarLayer(edges, int(entry.attrib["n_bin_alpha"])))
                ids.append(int(entry.attrib["id"]))
    except (ElementTree.ParseError, KeyError, ValueError, AssertionError) as error:
        raise ValueError(
            f"{path} is not a CaloChallenge binning ({error}); expected "
            "<Bins><Bin><Layer id= r_edges= n_bin_alpha= /></Bin></Bins>"
        ) from error
    if preset is None:
        names = {"11": "e-", "22": "gamma", "211": "pi+"}
        name = names.get(particle.attrib.get("pid", ""), "unknown")
        depths = tuple(float(i) for i in range(len(layers)))
        return Geometry(
            Path(path).stem, tuple(layers), depths, 0.0, (0.0, np.inf), name, tuple(ids)
        )
    known = geometry_preset(preset)
    if known.n_layers != len(layers):
        raise ValueError(
            f"{path} has {len(layers)} layers with voxels, the preset {preset!r} {known.n_layers}"
        )
    return dataclasses.replace(known, layers=tuple(layers), layer_ids=tuple(ids))
