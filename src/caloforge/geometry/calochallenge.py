"""The CaloChallenge's XML files of bins."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from caloforge.geometry.layers import PolarLayer
from caloforge.geometry.presets import geometry_preset, geometry_presets
from caloforge.geometry.readout import Geometry
from caloforge.pdg import particle_name, pdg_code

_LARGEST = 1 << 20  # bytes of a file, a hundred times those of the official ones


def read_calochallenge_xml(
    path: str | Path, *, preset: str | None = None, particle: str | None = None
) -> Geometry:
    """Read the bins of a CaloChallenge binning file.

    The file holds neither depths nor threshold. If its bins are those of a geometry preset, that
    preset is the answer, whatever the particle. Other bins take what the file does not say from
    `preset`, or else lie at the depth of their layer's number [mm], with no threshold.

    Args:
        path: the XML file.
        preset: name of the geometry preset that supplies what the file does not state.
        particle: which of several `<Bin>` is meant: its `name` or `pid`, or the particle's symbol,
            such as "photon", "22" or "gamma".

    Raises:
        ValueError: if the file is not a CaloChallenge binning, has several `<Bin>` of which none is
            chosen, a layer twice, or not the preset's layers.
    """
    with _blaming(path):
        entries = _read_entries(Path(path))
    chosen = _choose(path, entries, particle)
    with _blaming(path):
        layers = _read_layers(chosen)
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
            layer_ids=layer_ids,
        )
    if known.layer_ids != layer_ids:
        raise ValueError(
            f"{path} has voxels in the layers {layer_ids}, the preset {preset!r} in "
            f"{known.layer_ids}: choose the preset of the same calorimeter, or none"
        )
    return dataclasses.replace(known, name=Path(path).stem, layers=bins)


class _Plain(ElementTree.TreeBuilder):
    """Builds the elements of a file that declares nothing, which bombs of entities would do."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        raise ValueError(f"it declares a document type {name}, which no binning does")


@contextmanager
def _blaming(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(
            f"{path} is not a CaloChallenge binning ({error}); expected "
            "<Bins><Bin pid=…><Layer id=… r_edges=… n_bin_alpha=… /></Bin></Bins>"
        ) from error


def _read_entries(path: Path) -> list[ElementTree.Element]:
    """The `<Bin>` of a file, of which there is one at the least."""
    if not path.is_file():
        raise ValueError("there is no such file")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST} bytes")
    root = ElementTree.parse(path, ElementTree.XMLParser(target=_Plain())).getroot()
    if not (entries := root.findall("Bin")):
        raise ValueError("no <Bin>")
    return entries


def _read_layers(chosen: ElementTree.Element) -> dict[int, PolarLayer]:
    """The layers that have voxels, by their numbers."""
    layers: dict[int, PolarLayer | None] = {}
    for entry in chosen.findall("Layer"):
        number, layer = _read_layer(entry)
        if number in layers:
            raise ValueError(f"the layer {number} is there twice: remove one")
        if layers and number < max(layers):
            raise ValueError(f"the layer {number} follows the layer {max(layers)}: sort them")
        layers[number] = layer
    with_voxels = {number: layer for number, layer in layers.items() if layer is not None}
    if not with_voxels:
        raise ValueError("no <Layer> with voxels")
    return with_voxels


def _read_layer(entry: ElementTree.Element) -> tuple[int, PolarLayer | None]:
    """Number and bins of a layer, None for one without voxels."""
    missing = [name for name in ("id", "r_edges", "n_bin_alpha") if name not in entry.attrib]
    if missing:
        raise ValueError(f"a <Layer> {entry.attrib} has no {' and no '.join(missing)}")
    try:
        number = int(entry.attrib["id"])
        edges = tuple(float(edge) for edge in entry.attrib["r_edges"].split(","))
        if len(edges) == 1:  # a lone edge marks a layer without voxels
            return number, None
        return number, PolarLayer(edges, int(entry.attrib["n_bin_alpha"]))
    except ValueError as error:
        raise ValueError(f"layer {entry.attrib['id']}: {error}") from error


def _pid(entry: ElementTree.Element) -> str:
    return entry.get("pid", "").strip()


def _symbol(pid: str) -> str | None:
    """The particle's name, None where no code is given."""
    try:
        return particle_name(pdg_code(pid))
    except ValueError:
        return None


def _choose(
    path: str | Path, entries: list[ElementTree.Element], particle: str | None
) -> ElementTree.Element:
    """The `<Bin>` of a particle; the only one, where none is named."""
    names = [(e.get("name", "").strip(), _pid(e), _symbol(_pid(e))) for e in entries]
    fitting = [e for e, known in zip(entries, names, strict=True) if particle in (None, *known)]
    if len(fitting) != 1:
        there = ", ".join(
            " ".join(f"{name}={value!r}" for name, value in entry.attrib.items()) or "one unnamed"
            for entry in entries
        )
        asked = "" if particle is None else f" of {particle!r}"
        raise ValueError(
            f"{path} has {len(fitting)} <Bin>{asked} where one is needed, all in all {there}: "
            "choose one with particle=…, its name or pid, or keep only that one in the file"
        )
    return fitting[0]
