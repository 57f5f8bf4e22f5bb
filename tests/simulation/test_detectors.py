"""Detectors: the presets are the field's stacks, a description that makes no sense is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from caloforge.geometry import CartesianLayer, Geometry
from caloforge.simulation import (
    Detector,
    Material,
    Plate,
    detector_preset,
    detector_presets,
    place_plates,
    sandwich,
)

ONE_CELL = CartesianLayer((-50.0, 50.0), (-50.0, 50.0))


def readout(n_layers: int) -> Geometry:
    depths = tuple(float(i) for i in range(n_layers))
    return Geometry("test", (ONE_CELL,) * n_layers, depths, 0.0)


def fronts(detector: Detector, material: object) -> np.ndarray:
    found = zip(detector.plates, detector.borders, strict=False)
    return np.array([front for plate, front in found if plate.material == material])


@pytest.mark.parametrize("name", ["calochallenge-2", "calochallenge-3"])
def test_calochallenge_is_90_times_tungsten_and_silicon(name: str) -> None:
    detector = detector_preset(name)
    assert detector.depth == pytest.approx(153.0)
    assert [(p.material, p.thickness) for p in detector.plates] == [("W", 1.4), ("Si", 0.3)] * 90
    layers = [plate.layer for plate in detector.plates if plate.layer is not None]
    assert layers == [i // 2 for i in range(90)]
    assert detector.sampling_fraction == 0.033
    assert detector.voxel_threshold == pytest.approx(0.01515, rel=1e-3)


def test_ild_silicon_is_where_it_was_measured(shared_reference: Path) -> None:
    bottoms = np.array(json.loads((shared_reference / "ild/layer_bottom_mm.json").read_text()))
    detector = detector_preset("ild-30")
    np.testing.assert_allclose(fronts(detector, "Si"), bottoms - bottoms[0] + 2.3, atol=1e-3)


def test_ild_tungsten_ends_a_fifth_of_a_millimetre_before_its_silicon() -> None:
    detector = detector_preset("ild-30")
    tungsten = [plate.thickness for plate in detector.plates if plate.material == "W"]
    assert tungsten == [2.1] * 20 + [4.2] * 10
    backs = fronts(detector, "W") + np.array(tungsten)
    np.testing.assert_allclose(fronts(detector, "Si") - backs, 0.2, atol=1e-9)


def test_ild_boards_stand_behind_every_second_layer_but_the_last() -> None:
    detector = detector_preset("ild-30")
    (board,) = {plate.material for plate in detector.plates if isinstance(plate.material, Material)}
    silicon_backs = fronts(detector, "Si") + 0.525
    np.testing.assert_allclose(fronts(detector, board), silicon_backs[1:29:2] + 0.5, atol=1e-9)


@pytest.mark.parametrize("name", detector_presets())
def test_read_out_depths_lie_in_the_middle_of_the_silicon_or_of_its_group(name: str) -> None:
    detector = detector_preset(name)
    for i, depth in enumerate(detector.readout.z):
        active = [k for k, plate in enumerate(detector.plates) if plate.layer == i]
        # Two groups of W and Si share a layer of the CaloChallenge, which begins with its tungsten.
        first = active[0] - 1 if len(active) == 2 else active[0]
        middle = (detector.borders[first] + detector.borders[active[-1] + 1]) / 2
        assert depth == pytest.approx(middle, abs=1e-3)


def test_sandwich_shares_layers() -> None:
    plates = sandwich(4, Plate("Pb", 2.0), Plate("G4_POLYSTYRENE", 3.0, layer=0), per_layer=2)
    assert [plate.layer for plate in plates] == [None, 0, None, 0, None, 1, None, 1]


def test_gaps_are_filled_with_the_medium() -> None:
    plates = place_plates([(1.0, Plate("W", 2.0)), (3.0, Plate("Si", 0.5))], "air")
    assert [(p.material, p.thickness) for p in plates] == [("air", 1.0), ("W", 2.0), ("Si", 0.5)]


def test_overlapping_plates_are_refused() -> None:
    with pytest.raises(ValueError, match="begins inside the one before"):
        place_plates([(0.0, Plate("W", 2.0)), (1.0, Plate("Si", 0.5))], "air")


def test_every_read_out_layer_must_be_fed() -> None:
    with pytest.raises(ValueError, match="must feed each of the 2 read-out layers"):
        Detector((Plate("W", 2.0), Plate("Si", 0.5, layer=0)), readout(2))
    with pytest.raises(ValueError, match=r"got plates for \[0, 1\]"):
        Detector((Plate("W", 2.0, layer=1), Plate("Si", 0.5, layer=0)), readout(1))


@pytest.mark.parametrize(
    "change", [{"shape": "sphere"}, {"axis": "beam"}, {"sampling_fraction": 0.0}, {"width": -1.0}]
)
def test_a_detector_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    detector = Detector((Plate("Si", 0.5, layer=0),), readout(1))
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(detector, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("thickness", [0.0, -1.0, np.nan])
def test_a_plate_has_a_thickness(thickness: float) -> None:
    with pytest.raises(ValueError, match="positive thickness"):
        Plate("W", thickness)


def test_mass_fractions_add_up_to_one() -> None:
    with pytest.raises(ValueError, match=r"add up to 1, got 1.7 and 0.8"):
        Material("Board", 1.7, (("Si", 0.5), ("O", 0.3)))
    with pytest.raises(ValueError, match="begins with a capital"):
        Material("board 2", 1.7, (("Si", 1.0),))


def test_an_unknown_detector_names_those_that_are_known() -> None:
    with pytest.raises(ValueError, match="calochallenge-2, calochallenge-3, ild-30"):
        detector_preset("calochallenge-1-photons")
