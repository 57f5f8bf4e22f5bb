"""The command line of coarse showers: made, generated, upsampled, resampled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import caloforge as cf
from caloforge.cascade import SamplingOptions
from caloforge.geometry import Coarsening
from caloforge.showers import VoxelShowers

Command = Callable[..., Any]  # arguments to exit code and what was printed


def test_coarse_showers_from_a_file_of_fine_ones(
    data: Path, slab: VoxelShowers, tmp_path: Path, caloforge: Command
) -> None:
    coarse = tmp_path / "coarse.h5"
    result = caloforge("coarsen", data, "--factors", "2,4,3", "-o", coarse)
    assert result.code == 0, result.err
    assert "24 voxels of 24, slab-2x4x3" in result.err
    coarsening = Coarsening(slab.geometry, (2, 4, 3))
    with cf.open_showers(coarse) as file:
        assert file.geometry == coarsening.geometry
        assert file.attributes["particle"] == "e-"
        expected = slab.coarsen(coarsening)
        assert np.array_equal(file[:].energy_inc, expected.energy_inc)
        assert np.array_equal(file[:].dense(), expected.dense())


def test_coarse_showers_keep_what_the_fine_ones_lack(
    slab: VoxelShowers, tmp_path: Path, caloforge: Command
) -> None:
    fine, coarse, outside = tmp_path / "fine.h5", tmp_path / "coarse.h5", np.linspace(0, 0.1, 3)
    cf.write(fine, slab[:3], columns={"outside": outside})
    assert caloforge("coarsen", fine, "--factors", "2,4,3", "-o", coarse).code == 0
    with cf.open_showers(coarse) as file:
        assert np.array_equal(file.column("outside"), outside)


def test_coarsening_takes_the_geometry_where_the_file_does_not_say(
    bundled: VoxelShowers, tmp_path: Path, caloforge: Command
) -> None:
    official, coarse = tmp_path / "official.h5", tmp_path / "coarse.h5"
    with h5py.File(official, "w") as file:
        file["incident_energies"] = bundled[:3].energy_inc[:, None]
        file["showers"] = bundled[:3].dense().reshape(3, -1)
    result = caloforge("coarsen", official, "-o", coarse)
    assert result.code == 2
    assert "does not state a known geometry" in result.err
    assert not coarse.exists()
    result = caloforge("coarsen", official, "-o", coarse, "--geometry", "calochallenge-2")
    assert result.code == 0, result.err
    assert cf.read(coarse).geometry.name == "calochallenge-2-5x2x1"


def test_upsampling_showers_from_anywhere(
    data: Path,
    slab: VoxelShowers,
    small: dict[str, object],
    small_supercalo: dict[str, object],
    tmp_path: Path,
    caloforge: Command,
) -> None:
    """A generator of coarse showers, one that upsamples, and both together."""
    coarse, generator, run = (tmp_path / name for name in ("coarse.h5", "l2l", "supercalo"))
    caloforge("coarsen", data, "--factors", "2,4,3", "-o", coarse)
    settings = {**small, "energies.recipe.epochs": 1, "layers.recipe.epochs": 1}
    overrides = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    result = caloforge("train", "l2lflows/tiny", *overrides, "--data", coarse, "-o", generator)
    assert result.code == 0, result.err
    settings = {k: v for k, v in small_supercalo.items() if k.startswith("upsample.")}
    settings |= {"energies": None, "coarse": None, "upsample.factors": (2, 4, 3)}
    settings |= {"upsample.layer_energies": "coarse"}
    overrides = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    result = caloforge("train", "supercalo/tiny", *overrides, "--data", data, "-o", run)
    assert result.code == 0, result.err

    cf.write(few := tmp_path / "few.h5", cf.read(coarse)[:7])
    system, options = cf.load(run), SamplingOptions(resample=2)
    result = caloforge("upsample", run, few, "-o", tmp_path / "a.h5", "--resample", 2, "--seed", 7)
    assert result.code == 0, result.err
    assert "a.h5: 14 showers" in result.err
    expected = cf.upsample(system, cf.read(few), seed=7, options=options)
    with cf.open_showers(tmp_path / "a.h5") as file:
        assert np.array_equal(file[:].energy, expected.energy)
        assert file.column("coarse_shower").tolist() == [i for i in range(7) for _ in range(2)]
        assert (file.attributes["run"], file.attributes["coarse_showers"]) == (
            "supercalo",
            "few.h5",
        )

    job = ["upsample", run, generator, "-o", tmp_path / "b.h5", "--seed", 7]
    result = caloforge(*job, "-n", 5, "--energy", "fixed:2e4")
    assert result.code == 0, result.err
    expected = cf.upsample(system, cf.load(generator), [2e4] * 5, seed=7)
    assert np.array_equal(cf.read(tmp_path / "b.h5").energy, expected.energy)
    # of a file only the energies are wanted, whatever its voxels
    for name, n in (("b", 3), ("few", 4)):
        cf.write(tmp_path / "like.h5", cf.read(tmp_path / f"{name}.h5")[:n])
        made = tmp_path / "like-made.h5"
        result = caloforge("generate", generator, "--like", tmp_path / "like.h5", "-o", made)
        assert result.code == 0, result.err
        assert np.array_equal(cf.read(made).energy_inc, cf.read(tmp_path / "like.h5").energy_inc)
    result = caloforge("generate", run, "-n", 3, "-o", tmp_path / "c.h5")
    assert result.code == 2
    assert "the stage upsample needs coarse_2x4x3" in result.err
    result = caloforge("upsample", run, generator, "-o", tmp_path / "c.h5")
    assert result.code == 2
    assert "either -n" in result.err


def test_resampling_a_generator(
    supercalo_run: Path, bundled: VoxelShowers, tmp_path: Path, caloforge: Command
) -> None:
    cf.write(like := tmp_path / "like.h5", bundled[:4])
    job = ["generate", supercalo_run, "--like", like, "-o", tmp_path / "a.h5"]
    result = caloforge(*job, "--resample", 3, "--memory", 1)
    assert result.code == 0, result.err
    assert "a.h5: 12 showers" in result.err
    with cf.open_showers(tmp_path / "a.h5") as file:
        assert np.array_equal(file.energy_inc, bundled[:4].energy_inc.repeat(3))
        assert file.column("coarse_shower").tolist() == [i for i in range(4) for _ in range(3)]


def test_a_job_does_not_take_what_was_made_of_its_output_for_its_own(
    caloforge: Command, bundled: VoxelShowers, tmp_path: Path
) -> None:
    cf.write(tmp_path / "fine.h5", bundled[:5], attributes={"request": "of a job", "seed": 3})
    caloforge("coarsen", tmp_path / "fine.h5", "-o", tmp_path / "coarse.h5")
    with cf.open_showers(tmp_path / "coarse.h5") as file:
        assert "request" not in file.attributes
        assert file.attributes["seed"] == 3
