"""Every example runs, and does what it says."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import caloforge as cf
from caloforge.showers import PointShowers, VoxelShowers, clustered
from caloforge.systems.caloclouds import MemberLibrary

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_has_a_test_and_says_how_to_call_it() -> None:
    source = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f'example("{path.stem}")' in source
        assert f"    python examples/{path.name}" in path.read_text()


@pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning")
def test_suspicious_showers_are_ranked(
    run: Path, slab: VoxelShowers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cf.write(tmp_path / "reference.h5", slab[:200])
    cf.write(tmp_path / "showers.h5", slab[200:])
    script = example("rank_suspicious_showers")
    files = [str(tmp_path / "showers.h5"), "--reference", str(tmp_path / "reference.h5")]
    script.main([*files, "--run", str(run), "--plant", "20", "--top", "7"])
    printed = capsys.readouterr().out
    ranks = re.findall(r"│ (\d+) +│ ([\d.]+) +│ ([\d.]+|inf) +│ (energies|layer_0\d) +│", printed)
    assert len(ranks) == 7
    suspicion = [float(rank[2]) for rank in ranks]
    assert suspicion == sorted(suspicion, reverse=True)
    areas = dict(re.findall(r"│ ([a-z -]+?) +│ 20 +│ ([\d.]+) ", printed))
    assert set(areas) == set(script.DEFECTS)
    assert float(areas["dead layer"]) > 0.9  # what two epochs of training see


def test_defects_are_what_they_are_called(slab: VoxelShowers) -> None:
    script = example("rank_suspicious_showers")
    spoiled, kind = script.plant(slab, 30, seed=1)
    before, after = slab.dense(), spoiled.dense()
    layers = slab.layer_energies(), spoiled.layer_energies()
    assert [(kind == name).sum() for name in ("", *script.DEFECTS)] == [280, 30, 30, 30, 30]
    untouched = (kind == "") | (kind == "wrong energy")
    assert np.array_equal(after[untouched], before[untouched])
    died = (layers[0] > 0) & (layers[1] == 0)
    assert np.array_equal(died.sum(1), kind == "dead layer")
    hotter = (after - before)[kind == "hot voxel"].reshape(30, -1)
    assert np.allclose(hotter.sum(1) / slab.energy_inc[kind == "hot voxel"], 0.05, rtol=1e-4)
    assert np.array_equal((hotter != 0).sum(1), np.ones(30))
    piled = kind == "pile-up"
    assert (after[piled] >= before[piled]).all()
    assert (spoiled.total_energy()[piled] > slab.total_energy()[piled]).all()
    ratio = spoiled.energy_inc / slab.energy_inc
    assert set(ratio[kind == "wrong energy"]) == {0.5, 2.0}
    assert (ratio[kind != "wrong energy"] == 1).all()


def test_stages_that_find_a_shower_suspicious_add_up() -> None:
    """In squares, and those that find it likelier than most say nothing."""
    script = example("rank_suspicious_showers")
    z = {"energies": np.array([3.0, -3, 0]), "layer_00": np.array([4.0, -1, np.inf])}
    assert script.suspicion(z) == pytest.approx([5, 0, np.inf])


@pytest.fixture(scope="module")
def steps(geant4_data: Path) -> cf.PointShowers:
    """Every step of a few photons."""
    return cf.simulate("ild-ecal", energy=1e4, n=4, points=True, pitch=None, seed=1)


def test_finer_clusters_close_better(
    steps: cf.PointShowers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cf.write(tmp_path / "steps.h5", steps)
    script = example("closure_of_preclustering")
    picture = tmp_path / "closure.png"
    script.main([str(tmp_path / "steps.h5"), "--picture", str(picture), "--layer", "10"])
    assert picture.read_bytes().startswith(b"\x89PNG")
    rows = dict(
        re.findall(r"│ (points of a shower|the same by energy) +│(.*)│", capsys.readouterr().out)
    )
    n_points = [int(n.replace(",", "")) for n in rows["points of a shower"].split("│")]
    assert len(steps.energy) / len(steps) > n_points[0] > n_points[2]
    changes = [float(change.split()[0]) for change in rows["the same by energy"].split("│")]
    assert changes[0] < changes[2]


def test_steps_close_with_themselves(steps: cf.PointShowers) -> None:
    script = example("closure_of_preclustering")
    cells = steps.project(steps.geometry)
    same = script.closure(steps, cells, layer=10)
    assert (same.energy, same.hits, same.hits_error, same.overlay_mean) == (0, 0, 0, 0)
    filled = ~np.isnan(same.ratio)
    assert filled.sum() > 10
    assert (same.ratio[filled] == 1).all()
    without = cells[np.arange(len(cells)) < 0]
    assert script.matched(cells, cells)[0].sum() == pytest.approx(cells.total_energy().sum())
    assert script.matched(without, without)[0].shape == (0,)


def test_a_ratio_of_the_same_cells_errs_by_those_that_moved() -> None:
    script = example("closure_of_preclustering")
    before, after = np.array([1, 1, 1, 0], bool), np.array([1, 0, 0, 1], bool)
    ratio, error = script.count_ratio(before, after)
    assert ratio == pytest.approx(2 / 3)
    assert error == pytest.approx(np.sqrt(3) / 3)


def test_cells_of_two_showers_are_matched(steps: cf.PointShowers) -> None:
    script = example("closure_of_preclustering")
    geometry = steps.geometry
    a = cf.VoxelShowers([1e3, 1e3], [0, 1, 2], [5, 5], [1.0, 2.0], geometry)
    b = cf.VoxelShowers([1e3, 1e3], [0, 1, 2], [5, 9], [4.0, 8.0], geometry)
    assert np.array_equal(script.matched(a, b), [[1, 2, 0], [4, 0, 8]])


def test_translated_showers_are_counted_in_every_kind_of_cells(
    bundled_points: PointShowers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a sample beside itself with twice the energy: cells below half a MIP come in."""
    few = bundled_points[:25]
    cf.write(tmp_path / "geant4.h5", few)
    cf.write(tmp_path / "fake.h5", dataclasses.replace(few, energy=2 * few.energy))
    script = example("translate_showers")
    files = [str(tmp_path / "geant4.h5"), str(tmp_path / "fake.h5")]
    script.main([*files, "-o", str(tmp_path / "there.png")])
    printed = capsys.readouterr().out
    number, share = r" ([\d.]+) ± ([\d.]+) +│", r" ([\d.]+)% │"
    rows = re.findall(rf"│ (ild-[^│]+?) +│{number}{share}{number}{share}", printed)
    assert [row[0] for row in rows] == [
        "ild-30",
        "ild-30, shifted by half a cell",
        "ild-ecal at (0.0, 40.0) mm",
        "ild-ecal at (37.5, -36.1) mm",
    ]
    for _, hits, _, lost, more, _, same in rows:
        assert float(more) > float(hits)
        assert lost == same
    cells = few.project(cf.geometry_preset("ild-30"))
    expected = np.diff(cells.above(0.1).offset)
    assert float(rows[0][1]) == pytest.approx(expected.mean(), abs=0.06)
    assert float(rows[0][2]) == pytest.approx(expected.std(ddof=1) / 5, abs=0.06)
    assert (tmp_path / "there.png").stat().st_size > 10_000


def test_points_on_their_own_hit_more_cells_than_clusters(
    bundled_points: PointShowers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cf.write(tmp_path / "points.h5", bundled_points)
    script = example("points_on_their_own")
    script.WIDTH = 0.5
    script.main([str(tmp_path / "points.h5")])
    rows = re.findall(r"│ (\d\.\d+) +│ (\d+) +│ ([+-]\d+)% +│ ([\d.]+) +│", capsys.readouterr().out)
    sampled, hits, _, highest = np.array(rows, dtype=float).T
    assert sampled[:2].tolist() == [1, 1]
    assert sampled[2] < sampled[3] < 1
    assert hits[1] > 1.15 * hits[0]
    assert hits[3] == pytest.approx(hits[0], rel=0.05)
    assert highest[2] > 1.3 * highest[3]  # as the core of a layer is there twice, or not at all


def test_reassigned_clusters_keep_numbers_and_energies(
    bundled_points: PointShowers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = example("points_on_their_own")
    clusters = clustered(bundled_points, 2.0, 12)
    library = MemberLibrary(1000)
    library.keep(clusters, torch.Generator().manual_seed(1))
    found = script.reassigned(clusters, library, 1)
    assert found.total_energy() == pytest.approx(bundled_points.total_energy(), rel=1e-4)
    assert len(found.energy) > 1.3 * len(clusters.energy)
    other = script.reassigned(clusters, library, 2)
    assert not np.array_equal(found.layer_counts(), other.layer_counts())
    cf.write(tmp_path / "points.h5", bundled_points)
    with pytest.raises(SystemExit):
        script.main([str(tmp_path / "points.h5"), "--energy", "1e6"])
    assert "has 0 showers near 1e+06 MeV" in capsys.readouterr().err
