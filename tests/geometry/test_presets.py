"""The presets against the published tables of the detectors."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from caloforge.geometry import (
    PolarLayer,
    geometry_preset,
    geometry_presets,
    ild_silicon_depths,
    read_calochallenge_xml,
)

FILES = {
    "calochallenge-1-photons": "binning_dataset_1_photons.xml",
    "calochallenge-1-pions": "binning_dataset_1_pions.xml",
    "calochallenge-2": "binning_dataset_2.xml",
    "calochallenge-3": "binning_dataset_3.xml",
}

XML = """<Bins><Bin pid="22" name="photon">
  <Layer id="0" r_edges="0,5,10" n_bin_alpha="4" />
  <Layer id="1" r_edges="0" n_bin_alpha="1" />
  <Layer id="7" r_edges="0,20" n_bin_alpha="1" />
</Bin></Bins>"""


@pytest.mark.parametrize(
    ("name", "n_voxels", "n_layers", "threshold"),
    [
        ("calochallenge-1-photons", 368, 5, 1.0),
        ("calochallenge-1-pions", 533, 7, 1.0),
        ("calochallenge-2", 6480, 45, 0.5e-3 / 0.033),
        ("calochallenge-3", 40500, 45, 0.5e-3 / 0.033),
        ("ild-30", 27000, 30, 0.1),
        ("ild-core", 3000, 30, 0.1),
        ("ild-ecal", 632448, 30, 0.1),
    ],
)
def test_published_numbers(name, n_voxels, n_layers, threshold):
    geometry = geometry_preset(name)
    assert geometry.name == name
    assert geometry.n_voxels == n_voxels
    assert geometry.n_layers == n_layers
    assert geometry.threshold == pytest.approx(threshold, rel=1e-12)


def test_regular_presets_are_blocks_of_layer_alpha_r_or_layer_x_y():
    shapes = {
        name: geometry_preset(name).shape
        for name in geometry_presets()
        if geometry_preset(name).is_regular
    }
    assert shapes == {
        "calochallenge-2": (45, 16, 9),
        "calochallenge-3": (45, 50, 18),
        "ild-30": (30, 30, 30),
        "ild-core": (30, 10, 10),
    }


@pytest.mark.parametrize("name", FILES)
def test_bins_are_those_of_the_official_file(name, shared_reference):
    bins = [
        (int(entry.attrib["id"]), entry.attrib["r_edges"], int(entry.attrib["n_bin_alpha"]))
        for entry in ElementTree.parse(shared_reference / FILES[name]).iter("Layer")
        if "," in entry.attrib["r_edges"]
    ]
    geometry = geometry_preset(name)
    assert geometry.layer_ids == tuple(number for number, _, _ in bins)
    for layer, (_, edges, n_alpha) in zip(geometry.layers, bins, strict=True):
        assert isinstance(layer, PolarLayer)
        assert layer.n_alpha == n_alpha
        assert layer.r_edges == tuple(float(edge) for edge in edges.split(","))


@pytest.mark.parametrize("name", FILES)
def test_the_official_file_is_recognised(name, shared_reference):
    path = shared_reference / FILES[name]
    assert read_calochallenge_xml(path) == geometry_preset(name)
    assert read_calochallenge_xml(path, preset=name) == geometry_preset(name)


def test_calochallenge_layers_are_two_plates_of_tungsten_and_silicon_deep():
    geometry = geometry_preset("calochallenge-2")
    assert geometry.z[0] == pytest.approx(1.7)
    assert np.diff(geometry.z) == pytest.approx(2 * (1.4 + 0.3))


def test_ild_layers_lie_at_the_published_depths(shared_reference):
    bottom = np.array(json.loads((shared_reference / "ild" / "layer_bottom_mm.json").read_text()))
    expected = bottom - bottom[0] + 2.3  # the first silicon lies 2.3 mm behind the front face
    assert ild_silicon_depths() == pytest.approx(expected, abs=5e-4)
    assert geometry_preset("ild-30").z == pytest.approx(expected + 0.525 / 2, abs=5e-4)


def test_ild_cells_are_five_millimetres_around_a_common_corner():
    geometry = geometry_preset("ild-30")
    for edges in (geometry.layers[0].x_edges, geometry.layers[0].y_edges):
        assert np.diff(edges) == pytest.approx(5.0)
        assert edges[15] == 0.0


def test_the_core_of_the_ild_is_ten_cells_around_the_impact_point():
    core, whole = geometry_preset("ild-core"), geometry_preset("ild-30")
    assert core.layers[0].x_edges == core.layers[0].y_edges == whole.layers[0].x_edges[10:21]
    assert core.layers[0].x_edges[0] == -25.0
    assert (core.z, core.threshold) == (whole.z, whole.threshold)


def test_an_unknown_preset_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no geometry 'calo-2': choose one of .*calochallenge-2"):
        geometry_preset("calo-2")


def test_a_file_of_other_bins_has_a_name_of_its_own(tmp_path):
    path = tmp_path / "mine.xml"
    path.write_text(XML)
    geometry = read_calochallenge_xml(path)
    assert geometry.name == "mine"
    assert geometry.layer_ids == (0, 7)
    assert geometry.z == (0.0, 7.0)
    assert geometry.layers == (PolarLayer((0, 5, 10), 4), PolarLayer((0, 20), 1))


def test_a_preset_lends_what_the_file_does_not_say(tmp_path, shared_reference):
    text = (shared_reference / FILES["calochallenge-2"]).read_text()
    path = tmp_path / "fine.xml"
    path.write_text(text.replace('n_bin_alpha="16"', 'n_bin_alpha="32"'))
    geometry, official = (
        read_calochallenge_xml(path, preset="calochallenge-2"),
        geometry_preset("calochallenge-2"),
    )
    assert geometry.name == "fine"
    assert geometry.shape == (45, 32, 9)
    assert (geometry.z, geometry.threshold) == (official.z, official.threshold)


def test_a_preset_of_other_layers_is_refused(tmp_path):
    path = tmp_path / "mine.xml"
    path.write_text(XML)
    with pytest.raises(ValueError, match=r"mine.xml has voxels in the layers \(0, 7\), the preset"):
        read_calochallenge_xml(path, preset="calochallenge-2")


@pytest.mark.parametrize(
    "text",
    [
        "no xml",
        "<Bins></Bins>",
        XML.replace("r_edges", "edges"),
        XML.replace("0,5,10", "0,5,ten"),
        XML.replace("0,5,10", "0,10,5"),
        XML.replace("0,5,10", "0,5,nan"),
        XML.replace('n_bin_alpha="4"', 'n_bin_alpha="4.5"'),
        XML.replace('id="7"', 'id="0"'),  # twice
        XML.replace('id="1"', 'id="0"'),  # twice, once without voxels
        XML.replace('id="1"', 'id="9"'),  # not in the order of the voxels
        XML.replace("0,5,10", "0").replace("0,20", "0"),  # without voxels
        '<!DOCTYPE a [<!ENTITY e "1">]>' + XML.replace("0,5,10", "0,&e;"),
        XML + " " * (1 << 20),
    ],
    ids=lambda text: text[-40:] if len(text) < 1000 else "huge",
)
def test_what_is_no_binning_is_refused_by_its_name(text, tmp_path):
    path = tmp_path / "bins.xml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"bins.xml is not a CaloChallenge binning \("):
        read_calochallenge_xml(path)


SEVERAL = XML.replace(
    "</Bins>",
    """<Bin pid="211" name="pion"><Layer id="0" r_edges="0,7" n_bin_alpha="1" /></Bin>
    <Bin pid="11" etaMin="0" name="electron"><Layer id="0" r_edges="0,8" n_bin_alpha="1" /></Bin>
    <Bin pid="11" etaMin="20" name="electron"><Layer id="0" r_edges="0,9" n_bin_alpha="1" /></Bin>
    </Bins>""",
)


@pytest.mark.parametrize("particle", ["pion", "211", "pi+"])
def test_one_of_several_particles_is_chosen_by_its_name(particle, tmp_path):
    path = tmp_path / "bins.xml"
    path.write_text(SEVERAL)
    geometry = read_calochallenge_xml(path, particle=particle)
    assert geometry.layers == (PolarLayer((0, 7), 1),)


@pytest.mark.parametrize(("particle", "n"), [(None, 4), ("electron", 2), ("kaon", 0)])
def test_several_particles_are_not_guessed(particle, n, tmp_path):
    path = tmp_path / "bins.xml"
    path.write_text(SEVERAL)
    with pytest.raises(ValueError, match=rf"bins.xml has {n} <Bin>.*pid='211' name='pion'.*choose"):
        read_calochallenge_xml(path, particle=particle)


def test_the_bins_of_a_preset_are_the_preset_whatever_the_particle(tmp_path, shared_reference):
    text = (shared_reference / FILES["calochallenge-2"]).read_text()
    path = tmp_path / "photons.xml"
    path.write_text(text.replace('pid="11"', 'pid="22"'))
    assert read_calochallenge_xml(path) == geometry_preset("calochallenge-2")
