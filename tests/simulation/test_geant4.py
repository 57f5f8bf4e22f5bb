"""Geant4 itself: energy is conserved, the gun's place and direction count, what lacks is named."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import caloforge as cf
from caloforge.geometry import CartesianLayer, Geometry
from caloforge.simulation import (
    Detector,
    Fixed,
    Gun,
    Material,
    Plate,
    Uniform,
    detector_preset,
)
from caloforge.simulation.geant4 import Geant4, check_physics, read_steps
from caloforge.simulation.geant4 import geant4_data as geant4_data_folder

# read-outs of the field are narrower than showers
pytestmark = pytest.mark.filterwarnings("ignore::caloforge.simulation.LossWarning")

WHOLE = CartesianLayer((-2000.0, 2000.0), (-2000.0, 2000.0))


def block(material: str | Material, thickness: float) -> Detector:
    """One plate that is read out as a whole."""
    geometry = Geometry("block", (WHOLE,), (thickness / 2,), 0.0)
    return Detector((Plate(material, thickness, layer=0),), geometry, axis="detector")


def response(showers: cf.VoxelShowers) -> np.ndarray:
    return showers.total_energy() / showers.energy_inc


@pytest.mark.parametrize("particle", ["e-", "gamma"])
def test_a_thick_block_takes_all_the_energy(geant4_data: Path, particle: str) -> None:
    # 100 radiation lengths; a few MeV come back out of the front as soft photons.
    made = cf.simulate(block("W", 350.0), particle=particle, energy=Fixed(1e3), n=20, seed=1)
    assert response(made).max() <= 1 + 1e-5
    assert response(made).mean() == pytest.approx(1.0, abs=0.01)


def test_a_positron_brings_the_energy_of_its_annihilation(geant4_data: Path) -> None:
    # At rest it leaves two photons of 0.511 MeV together: 1.022 MeV more than its kinetic energy.
    made = cf.simulate(block("W", 350.0), particle="e+", energy=Fixed(10.0), n=200, seed=1)
    assert made.total_energy().max() == pytest.approx(11.022, abs=1e-3)
    electrons = cf.simulate(block("W", 350.0), particle="e-", energy=Fixed(10.0), n=200, seed=1)
    assert electrons.total_energy().max() == pytest.approx(10.0, abs=1e-3)


def test_electrons_lose_what_landau_says_in_a_thin_foil(geant4_data: Path) -> None:
    # Most probable loss in 1 mm of silicon (PDG, Passage of particles through matter, eq. 34.12):
    # xi (log(2 m beta² gamma² / I) + log(xi / I) + 0.2 - beta² - delta), all in MeV.
    electron_mass, ionisation, gamma = 0.51100, 173e-6, 1 + 10 / 0.51100
    beta_gamma = np.sqrt(gamma**2 - 1)
    x = np.log10(beta_gamma)
    density_effect = 2 * np.log(10) * x - 4.4351 + 0.14921 * (2.8715 - x) ** 3.2546
    xi = 0.307075 / 2 * 14 / 28.0855 * 0.233
    expected = xi * (
        np.log(2 * electron_mass * beta_gamma**2 / ionisation)
        + np.log(xi / ionisation)
        + 0.2
        - (beta_gamma / gamma) ** 2
        - density_effect
    )
    made = cf.simulate(block("Si", 1.0), particle="e-", energy=Fixed(10.0), n=4000, seed=1)
    losses = made.total_energy()
    grid = np.linspace(0.2, 0.4, 401)
    most_probable = grid[np.argmax(stats.gaussian_kde(losses[losses < 0.6], 0.1)(grid))]
    assert most_probable == pytest.approx(expected, rel=0.03)


def test_mixtures_are_what_their_elements_are(geant4_data: Path) -> None:
    silicon = Material("SiliconByHand", 2.33, (("Si", 1.0),))
    by_name = cf.simulate(block("Si", 5.0), particle="e-", energy=Fixed(50.0), n=500, seed=1)
    by_hand = cf.simulate(block(silicon, 5.0), particle="e-", energy=Fixed(50.0), n=500, seed=2)
    means = by_name.total_energy().mean(), by_hand.total_energy().mean()
    assert means[0] == pytest.approx(means[1], rel=0.05)


def test_the_energy_of_a_step_lies_at_its_middle() -> None:
    line = np.array(
        [(0, 2.0, (1, 2, 3), (3, 2, 5)), (1, 4.0, (0, 0, 0), (0, 1, 0))],
        dtype=[("event", "u8"), ("value", "f8"), ("start", "f8", 3), ("end", "f8", 3)],
    )
    point = np.array(
        [(1, 0.5, (7, 8, 9))], dtype=[("event", "u8"), ("value", "f8"), ("position", "f8", 3)]
    )
    found = {
        "World.A": SimpleNamespace(line=line[:1], point=point[:0]),
        "World.B": SimpleNamespace(line=line[1:], point=point),
    }
    steps = read_steps(found, {"World.A": 4, "World.B": 5})
    assert steps.event.tolist() == [0, 1, 1]
    assert steps.layer.tolist() == [4, 5, 5]
    assert steps.energy.tolist() == [2.0, 4.0, 0.5]
    # calzone's cm have become mm.
    assert steps.position.tolist() == [[20.0, 20.0, 40.0], [0.0, 5.0, 0.0], [70.0, 80.0, 90.0]]
    assert len(read_steps({}, {}).energy) == 0


def test_cells_of_the_detector_see_where_the_gun_stands(geant4_data: Path) -> None:
    made = cf.simulate(
        "ild-30", energy=Fixed(5e3), n=10, seed=1, position=(20.0, -35.0, -1.0), particle="e-"
    )
    total = made.dense().sum(axis=(0, 1), dtype=np.float64)
    centres = np.arange(30) * 5.0 - 72.5
    assert total.sum(axis=1) @ centres / total.sum() == pytest.approx(20.0, abs=2.5)
    assert total.sum(axis=0) @ centres / total.sum() == pytest.approx(-35.0, abs=2.5)


def test_voxels_around_the_particle_follow_a_tilted_gun(geant4_data: Path) -> None:
    detector = detector_preset("calochallenge-2")

    def centre(axis: str) -> float:
        made = cf.simulate(
            dataclasses.replace(detector, axis=axis),  # type: ignore[arg-type]
            particle="e-",
            energy=Fixed(5e3),
            n=10,
            seed=1,
            direction=(0.3, 0.0, 1.0),
        )
        return float(np.average(made.geometry.voxel_x[made.index], weights=made.energy))

    # The shower's maximum lies some 30 mm deep, where a slope of 0.3 has led 9 mm aside.
    assert centre("particle") == pytest.approx(0.0, abs=1.5)
    assert centre("detector") == pytest.approx(9.0, abs=3.0)


def test_the_cylinder_responds_like_the_planes(geant4_data: Path) -> None:
    options = {"particle": "e-", "energy": Fixed(2e3), "n": 80}
    made = [
        cf.simulate(detector_preset("calochallenge-2", shape=shape), seed=i, **options)  # type: ignore[arg-type, call-overload]
        for i, shape in enumerate(("planes", "cylinder"))
    ]
    planes, cylinder = (response(showers) for showers in made)
    error = np.hypot(planes.std(), cylinder.std()) / np.sqrt(80)
    assert abs(planes.mean() - cylinder.mean()) < 3.5 * error
    depth = [s.layer_energies().sum(axis=0) @ s.geometry.z / s.total_energy().sum() for s in made]
    assert depth[0] == pytest.approx(depth[1], abs=3.0)


def test_the_far_wall_of_the_cylinder_is_not_read_out(geant4_data: Path) -> None:
    gun = Gun("e-", Fixed(3e3))
    geant4 = Geant4(detector_preset("calochallenge-2", shape="cylinder"))
    everything = geant4._simulation.run(
        geant4._calzone.particles(20, pid="e-", energy=3e3, position=(0, 0, -0.1))
    )
    reached = [found.line["end"][:, 2].min() for found in everything.deposits.values()]
    assert min(reached) < -80.0, "no particle crossed the hollow: the check below is empty"
    ((_, steps),) = geant4.run(np.full(20, 3e3, np.float32), gun, seed=1)
    assert steps.position[:, 2].min() > -800.0


def test_bunches_change_nothing(geant4_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def once() -> cf.VoxelShowers:
        return cf.simulate("calochallenge-2", energy=Uniform(500, 1500), n=12, seed=4)

    whole = once()
    monkeypatch.setattr("caloforge.simulation.geant4.MAX_BUNCH_ENERGY", 2000.0)
    np.testing.assert_array_equal(once().dense(), whole.dense())


def test_a_lower_production_cut_makes_more_and_smaller_steps(geant4_data: Path) -> None:
    energy = np.full(5, 1e3, np.float32)
    gun = Gun("e-", Fixed(1e3))
    n_steps = [
        sum(
            len(steps.energy)
            for _, steps in Geant4(detector_preset("calochallenge-2"), cut=cut).run(energy, gun, 1)
        )
        for cut in (0.7, 0.01)
    ]
    assert n_steps[1] > 1.2 * n_steps[0]


def test_a_gun_outside_the_world_is_refused(geant4_data: Path) -> None:
    for position in ((0.0, 0.0, -5000.0), (600.0, 0.0, -1.0)):
        with pytest.raises(ValueError, match="the gun must stand within"):
            cf.simulate("calochallenge-2", energy=Fixed(1e3), n=1, position=position)


@pytest.mark.parametrize(
    ("physics", "models"),
    [
        ("standard", ("standard", None)),
        ("option4", ("option4", None)),
        ("FTFP_BERT", ("standard", "FTFP_BERT")),
        ("QGSP_BIC+livermore", ("livermore", "QGSP_BIC")),
    ],
)
def test_physics_lists_have_an_electromagnetic_and_a_hadronic_model(
    physics: str, models: tuple[str, str | None]
) -> None:
    assert check_physics(physics) == models


@pytest.mark.parametrize(
    "physics", ["", "best", "FTFP_BERT+best", "option4+FTFP_BERT", "+standard"]
)
def test_unknown_physics_are_refused(physics: str) -> None:
    with pytest.raises(ValueError, match="physics must be one of standard"):
        check_physics(physics)


def test_without_data_the_error_says_where_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GEANT4_DATA_DIR", raising=False)
    with pytest.raises(FileNotFoundError, match=r"not set .*python -m calzone download.*GEANT4_D"):
        geant4_data_folder()
    monkeypatch.setenv("GEANT4_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"GEANT4_DATA_DIR is .*nowhere"):
        geant4_data_folder()


def test_downloaded_data_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / ".local/share/calzone/data"
    (folder / "G4EMLOW8.8").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GEANT4_DATA_DIR", raising=False)
    assert geant4_data_folder() == folder


def test_physics_that_need_more_data_are_refused_before_geant4_gives_up(
    geant4_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "G4EMLOW8.8").mkdir()
    monkeypatch.setenv("GEANT4_DATA_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="only what the physics 'standard' needs"):
        cf.simulate("calochallenge-2", energy=Fixed(1e3), n=1, physics="option4")


def test_without_calzone_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calzone", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'caloforge\[geant4\]'"):
        cf.simulate("calochallenge-2", energy=Fixed(1e3), n=1)
