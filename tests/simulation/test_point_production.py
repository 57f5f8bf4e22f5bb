"""Points and voxels are made of the same steps; the seed alone decides about both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caloforge as cf
from caloforge.data import open_points
from caloforge.simulation import LogUniform, Progress, cluster

# read-outs of the field are narrower than showers
pytestmark = pytest.mark.filterwarnings("ignore::caloforge.simulation.LossWarning")

REQUEST: dict[str, Any] = {"energy": LogUniform(1200, 3000), "n": 7, "chunk_size": 3, "seed": 5}
COLUMNS = ("energy_inc", "offset", "direction", *cf.PointShowers.columns)


def make(**changes: Any) -> cf.PointShowers:
    return cf.simulate("ild-ecal", points=True, **{**REQUEST, **changes})


def write(output: Path, **changes: Any) -> Path:
    return cf.simulate("ild-ecal", points=True, output=output, **{**REQUEST, **changes})


def assert_same(a: cf.PointShowers, b: cf.PointShowers) -> None:
    assert a.geometry == b.geometry
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.fixture(scope="module")
def clouds(geant4_data: Path) -> cf.PointShowers:
    return make()


@pytest.mark.parametrize("geometry", ["ild-30", "calochallenge-2"])
def test_projected_steps_are_the_simulated_voxels(geometry: str, geant4_data: Path) -> None:
    steps = cf.simulate(geometry, points=True, pitch=None, box=np.inf, **REQUEST)
    voxels = cf.simulate(geometry, **REQUEST)
    projected = steps.project(steps.geometry)
    if geometry == "calochallenge-2":
        projected = projected.above(projected.geometry.threshold)
    np.testing.assert_array_equal(projected.energy_inc, voxels.energy_inc)
    np.testing.assert_array_equal(projected.offset, voxels.offset)
    np.testing.assert_array_equal(projected.index, voxels.index)
    np.testing.assert_allclose(projected.energy, voxels.energy, rtol=1e-5)


def test_real_cells_are_filled_as_far_as_they_are_known(geant4_data: Path) -> None:
    """Some layers' sensors end at x = 336 mm, in the middle of these showers."""
    aside = {**REQUEST, "position": (336.0, 0.0, -1.0)}
    cells = cf.simulate("ild-ecal", **aside)
    steps = cf.simulate("ild-ecal", points=True, pitch=None, box=np.inf, **aside)
    x, y = np.float64(steps.x) + 336, np.float64(steps.y)
    lost = 0
    for number, sensors in enumerate(cells.geometry.layers):
        known = (steps.layer == number) & (x < sensors.x_edges[-1])
        hit = sensors.find(x[known], y[known]) >= 0
        expected = steps.energy[known][hit].sum(dtype=np.float64)
        assert cells.layer_energies()[:, number].sum() == pytest.approx(expected, rel=1e-4)
        lost += ((steps.layer == number) & ~known).sum()
    assert 0.05 < lost / len(x) < 0.95


def test_points_are_the_clustered_steps(clouds: cf.PointShowers) -> None:
    assert_same(cluster(make(pitch=None, box=np.inf), 5 / 6).within(200), clouds)


def test_the_seed_decides_and_neither_processes_nor_the_box(clouds: cf.PointShowers) -> None:
    assert_same(make(), clouds)
    assert_same(make(processes=2), clouds)
    assert_same(make(box=50), clouds.within(50))
    assert not np.array_equal(make(seed=6).x, clouds.x)


def test_a_random_grid_comes_from_the_seed(clouds: cf.PointShowers) -> None:
    moved = make(random_grid=True)
    assert_same(make(random_grid=True, processes=2), moved)
    np.testing.assert_array_equal(moved.energy_inc, clouds.energy_inc)
    phase = np.float64(moved.x) / (5 / 6) % 1
    for shower in range(len(moved)):
        own = phase[moved.offset[shower] : moved.offset[shower + 1]]
        assert np.abs(np.exp(2j * np.pi * (own - own[0])) - 1).max() < 0.01
    assert len(np.unique(phase[moved.offset[:-1]].round(3))) == len(moved)


def test_a_file_holds_the_same_and_says_how_it_was_made(
    clouds: cf.PointShowers, tmp_path: Path
) -> None:
    output = write(tmp_path / "made.h5", box=50)
    with open_points(output) as file:
        assert_same(file[:], clouds.within(50))
        attributes, outside = file.attributes, file.column("outside")
        assert file.particles.kinds == (22,)
    share = 1 - clouds.within(50).total_energy() / make(box=np.inf).total_energy()
    assert share.max() > 0.01
    np.testing.assert_allclose(outside, share, atol=1e-6)
    assert (attributes["geometry"], attributes["particle"]) == ("ild-ecal", "gamma")
    assert attributes["pitch_mm"] == pytest.approx(0.83333, abs=1e-5)
    assert (attributes["box_mm"], attributes["threshold_MeV"]) == (50, 0)
    assert "--points --pitch 0.8333333333333334 --box 50" in attributes["command"]
    assert [path.name for path in tmp_path.iterdir()] == ["made.h5"]


@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupted_run_resumes_to_the_same_file(
    clouds: cf.PointShowers, tmp_path: Path, processes: int
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done >= 3:
            raise KeyboardInterrupt

    output = tmp_path / "made.h5"
    with pytest.raises(KeyboardInterrupt):
        write(output, progress=interrupt, processes=processes)
    assert not output.exists()
    with pytest.raises(ValueError, match=r"box_mm: 200.* then, 100 now"):
        write(output, resume=True, box=100)
    seen: list[Progress] = []
    write(output, resume=True, progress=seen.append)
    assert 0 < seen[-1].made < seen[-1].n
    whole = write(tmp_path / "whole.h5")
    with open_points(output) as a, open_points(whole) as b:
        assert_same(a[:], clouds)
        np.testing.assert_array_equal(a.column("outside"), b.column("outside"))
        assert str(a.attributes) == str(b.attributes)


def test_a_pitch_without_points_is_refused(geant4_data: Path) -> None:
    for change in ({"pitch": 1.0}, {"box": 100.0}, {"random_grid": True}):
        with pytest.raises(ValueError, match="ask for points, or leave them out"):
            cf.simulate("ild-ecal", **REQUEST, **change)
