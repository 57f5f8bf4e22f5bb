"""A parametrisation is right on average, and its spots are independent of each other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import poisson

import caloforge as cf
from caloforge.cascade import ShowerQuantities, build
from caloforge.geometry import geometry_preset, geometry_presets
from caloforge.showers import PointShowers, Showers, VoxelShowers
from caloforge.systems.parametric.energies import depth_and_width
from caloforge.systems.parametric.spots import _poisson

VOXELS = ["parametric_run", "binned_run"]
POINTS = ["parametric_points_run", "binned_points_run"]
TIMES = 2  # showers of each incident energy


def means(showers: Showers) -> dict[str, np.ndarray]:
    """Observables of each shower, which does not depend on its energy alone."""
    event = np.repeat(np.arange(len(showers)), np.diff(showers.offset))
    if isinstance(showers, VoxelShowers):
        r = showers.geometry.voxel_r[showers.index]
    else:
        r = np.hypot(showers.x, showers.y)
    energy = showers.energy.astype(np.float64)
    total = np.bincount(event, energy, len(showers))
    depth, width = depth_and_width(showers.layer_energies().astype(np.float64))
    return {
        "response": total / showers.energy_inc,
        "hits": np.bincount(event, minlength=len(showers)) / np.sqrt(showers.energy_inc),
        "radius": np.bincount(event, energy * r, len(showers)) / total,
        "depth": depth,
        "width": width,
    }


@pytest.mark.parametrize("run", VOXELS + POINTS)
def test_showers_are_right_on_average(
    run: str, bundled: VoxelShowers, bundled_points: PointShowers, request: pytest.FixtureRequest
) -> None:
    """Within five standard deviations of the training showers' mean, and 2 % of modelling."""
    sample: Showers = bundled_points if run in POINTS else bundled[:200]
    system = cf.load(request.getfixturevalue(run))
    made = means(system.generate(np.tile(sample.energy_inc, TIMES), seed=2))
    for name, values in means(sample).items():
        error = np.hypot(values.std(), made[name].std() / np.sqrt(TIMES)) / np.sqrt(len(values))
        allowed = 5 * error + 0.02 * values.mean()
        assert abs(made[name].mean() - values.mean()) < allowed, name


@pytest.mark.parametrize("run", VOXELS + POINTS)
def test_layers_have_their_energies(run: str, request: pytest.FixtureRequest) -> None:
    """Spots outside of all voxels, and below the threshold, are the only ones that are lost."""
    system = cf.load(request.getfixturevalue(run))
    system.prepare("cpu")
    energies = torch.full((4,), 5e4)
    n_layers = system.geometry.n_layers
    layers = torch.linspace(1, 900, n_layers).repeat(4, 1)
    sampled = system.draw(
        energies.numpy(),
        seeds=cf.cascade.seeds.Seeds.of(1, range(4)),
        given={"layer_energies": layers},
    )
    np.testing.assert_allclose(sampled.layer_energies(), layers, rtol=5e-3)


def test_the_number_of_spots_is_a_poisson_one(rng: np.random.Generator) -> None:
    u = rng.random(2000)
    for mean in (0.0, 1e-3, 0.7, 12.0, 99.0):
        np.testing.assert_array_equal(_poisson(u, np.full(2000, mean)), poisson.ppf(u, mean))
    many = _poisson(u, np.full(2000, 400.0))
    assert np.abs(many - poisson.ppf(u, 400.0)).max() <= 3  # a normal one: skewness 1/20


def test_the_number_of_spots_is_bounded(bundled: VoxelShowers, tmp_path: Path) -> None:
    system = build("parametric/binned", bundled.geometry, overrides={"most_spots": 50})
    cf.train(system, bundled[:50], run=tmp_path / "run")
    made = system.generate(np.full(20, bundled.energy_inc[:50].max()), seed=1)
    # and one at the least in each of the 45 layers
    assert np.diff(made.offset).max() <= 50 + 45 + 5 * np.sqrt(50)


@pytest.mark.parametrize("preset", ["library/layers", "parametric", "parametric/binned"])
@pytest.mark.parametrize(
    "geometry", [name for name in geometry_presets() if name not in ("ild-30", "calochallenge-2")]
)
def test_other_geometries_are_taken(
    preset: str, geometry: str, bundled_points: PointShowers
) -> None:
    """Irregular layers and staggered cells, too: points of the ILD, cut into other voxels."""
    cells = geometry_preset(geometry)
    points = bundled_points[:30]
    layer = points.layer.astype(np.int64) * cells.n_layers // points.geometry.n_layers
    index = cells.find_voxels(layer, points.x, points.y)
    event = np.repeat(np.arange(30), np.diff(points.offset))
    dense = np.zeros((30, cells.n_voxels), np.float32)
    np.add.at(dense, (event[index >= 0], index[index >= 0]), 30 * points.energy[index >= 0])
    showers = VoxelShowers.from_dense(points.energy_inc, dense, cells)
    system = build(preset, geometry)
    fit(system, showers)
    made = system.generate(points.energy_inc, seed=1)
    ratio = made.total_energy().sum() / showers.total_energy().sum()
    assert 0.9 < ratio < 1.1
    radius = [
        np.average(cells.voxel_r, weights=d.sum(0)) for d in (made.dense().reshape(30, -1), dense)
    ]
    assert 0.8 < radius[0] / radius[1] < 1.25


def fit(system: Any, showers: Showers) -> None:
    for stage in system.stages.values():
        learns = stage.learns or (*stage.reads, *stage.writes)
        stage.fit(ShowerQuantities(showers, learns), {}, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "settings",
    [
        {"most_spots": 0},
        {"shape.bins": 0},
        {"energies.quantiles": 1},
        {"energies.bins": 0},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"(1|2) or more, got \d"):
        build("parametric/binned", "ild-30", overrides=settings)


@pytest.mark.parametrize(
    "preset",
    [
        *("library/layers", "library/layers-points"),
        *("parametric", "parametric/points", "parametric/binned", "parametric/binned-points"),
    ],
)
@pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning")
def test_few_odd_showers_of_one_energy_are_learned_from(
    preset: str, bundled: VoxelShowers, bundled_points: PointShowers
) -> None:
    """An empty one, one of a single hit, and one of ordinary size."""
    showers: Any = bundled_points if preset.endswith("points") else bundled
    names = {name: getattr(showers[:1], name) for name in showers.columns}
    parts = [
        type(showers)(
            showers.energy_inc[:1],
            [0, n],
            geometry=showers.geometry,
            **{name: values[:n] for name, values in names.items()},
        )
        for n in (0, 1, len(names["energy"]))
    ]
    sample = type(showers).concatenate(parts)
    system = build(preset, showers.geometry)
    fit(system, sample)
    made = system.generate(np.array([5e3, 5e4, 5e4]), seed=1)
    assert np.isfinite(made.total_energy()).all()
    assert made.total_energy().max() > 0


@pytest.mark.parametrize(
    ("run", "stage", "name"),
    [
        ("parametric_run", "energies", "weights"),
        ("binned_run", "energies", "nodes"),
        ("binned_run", "spots", "lateral.shapes"),
        ("binned_points_run", "spots", "spectra"),
    ],
)
def test_what_no_showers_have_is_refused(
    run: str, stage: str, name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    shutil.copytree(request.getfixturevalue(run), tmp_path / "run")
    path = tmp_path / "run" / "stages" / stage / "weights.safetensors"
    rows = load_file(path)
    save_file({**rows, name: -rows[name] - 1}, path)
    with pytest.raises(ValueError, match=r"impossible: train it again"):
        cf.load(tmp_path / "run")
