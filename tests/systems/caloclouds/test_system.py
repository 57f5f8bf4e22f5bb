"""CaloClouds: the published sizes, and what a trained system samples."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import caloforge as cf
from caloforge.cascade import Quantities, SamplingOptions, ShowerQuantities, build
from caloforge.cascade.seeds import Noise, Seeds
from caloforge.data import open_source
from caloforge.showers import ClusteredShowers, PointShowers
from caloforge.systems.caloclouds import CaloClouds
from caloforge.systems.caloclouds.calibration import CloudCalibration
from caloforge.systems.caloclouds.frame import boxed
from caloforge.systems.caloclouds.latent import LatentStage, depth
from caloforge.systems.caloclouds.points import PointsStage

ENERGIES = np.array([2e4, 5e4, 9e4, 3e4], dtype=np.float32)


@pytest.fixture
def system(caloclouds_run: Path) -> CaloClouds:
    loaded = cf.load(caloclouds_run)
    assert isinstance(loaded, CaloClouds)
    return loaded


@pytest.fixture
def bare(system: CaloClouds) -> CaloClouds:
    """The same, whose clusters stay points."""

    def kept(noise: Noise, given: Quantities, *_: object) -> Quantities:
        points = boxed(given["points"], system.config.half_width)
        return {"points": points, "n_points": given["n_points"]}

    system.stages["members"].decode = kept  # type: ignore[method-assign]
    return system


@torch.inference_mode()
def quantities(system: CaloClouds, options: SamplingOptions | None = None) -> Quantities:
    """What the stages sample for `system.generate(ENERGIES, seed=1)`."""
    system.prepare("cpu")
    return system.quantities(ENERGIES, seeds=Seeds.of(1, range(len(ENERGIES))), options=options)


def test_the_published_networks_have_their_sizes() -> None:
    """Sections 3.1 to 3.3 and figure 3, with the flows of the authors' code."""
    system = build("caloclouds/paper")
    assert system.geometry.name == "ild-ecal"
    sizes = {"shower": 8_572_480, "latent": 5_121_280, "points": 1_001_520 + 730_368}
    assert {name: n for name, n in system.n_parameters.items() if n} == sizes
    assert isinstance(system, CaloClouds)
    assert sum(p.numel() for p in system.points.network.parameters()) == 1_001_520
    assert sum(p.numel() for p in system.points.encoder.parameters()) == 730_368
    assert system.sequential_passes["points"] == 100
    encoder = system.config.points.encoder
    assert (encoder.divergence_weight, encoder.divergence_floor) == (1e-3, 1.0)  # equation 3.7
    assert system.config.latent.bound == 10


def test_the_published_preset_is_for_its_detector() -> None:
    with pytest.raises(ValueError, match=r"caloclouds/paper is for the voxels of ild-ecal, got"):
        build("caloclouds/paper", "ild-30")


@pytest.mark.parametrize("size", ["small", "tiny"])
@pytest.mark.parametrize("geometry", ["ild-ecal", "ild-30", "calochallenge-1-pions"])
def test_any_geometry_with_layers_will_do(size: str, geometry: str) -> None:
    system = build(f"caloclouds/{size}", geometry)
    assert system.geometry.name == geometry


def test_counts_and_energies_are_exactly_those_of_the_shower_flow(bare: CaloClouds) -> None:
    drawn = quantities(bare)
    clouds = bare.generate(ENERGIES, seed=1)
    assert np.array_equal(clouds.layer_counts(), drawn["layer_counts"].numpy())
    assert clouds.total_energy() == pytest.approx(drawn["visible_energy"].numpy(), rel=1e-6)
    assert np.array_equal(clouds.energy_inc, ENERGIES)
    assert clouds.direction.tolist() == [[0, 0, 1]] * 4


def test_clusters_are_made_of_members_which_have_their_energy(
    system: CaloClouds, bundled_points: PointShowers
) -> None:
    drawn = quantities(system)
    clouds = system.generate(ENERGIES, seed=1)
    assert clouds.total_energy() == pytest.approx(drawn["visible_energy"].numpy(), rel=1e-5)
    seen = system.training_sample(bundled_points)
    assert isinstance(seen, ClusteredShowers)
    members = len(clouds.energy) / float(drawn["layer_counts"].sum())
    assert members == pytest.approx(len(bundled_points.energy) / len(seen.energy), rel=0.5)
    assert not ((drawn["layer_counts"].numpy() == 0) & (clouds.layer_counts() > 0)).any()


def test_clusters_of_a_file_are_those_of_its_showers(
    system: CaloClouds, bundled_points: PointShowers, tmp_path: Path
) -> None:
    """Made when they are taken, so that no sample of them need lie in memory."""
    points, rows = bundled_points[:30], np.array([4, 29, 4])
    cf.write(tmp_path / "points.h5", points)
    seen = system.training_sample(open_source(tmp_path / "points.h5")).take(rows)
    expected = system.training_sample(points[rows])
    assert isinstance(expected, ClusteredShowers)
    for name in (*expected.columns, "offset", "members"):
        assert np.array_equal(getattr(seen, name), getattr(expected, name)), name


def test_without_clusters_nothing_happens_to_the_sample(bundled_points: PointShowers) -> None:
    system = build("caloclouds/tiny", bundled_points.geometry, overrides={"clusters": None})
    assert system.training_sample(bundled_points) is bundled_points


def test_without_postprocessing_points_are_as_they_were_sampled(
    bare: CaloClouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def noted(*arguments: Any) -> Tensor:
        seen.append(PointsStage.sampled(bare.points, *arguments))
        return seen[0]

    monkeypatch.setattr(bare.points, "sampled", noted)
    options = SamplingOptions(postprocess=False)
    drawn = quantities(bare, options)
    clouds = bare.showers(drawn, options)
    assert np.array_equal(clouds.energy, seen[0][:, 3].clamp_min(0).numpy())
    assert np.array_equal(clouds.layer, seen[0][:, 2].floor().clamp(0, 29).numpy())
    assert not np.array_equal(clouds.layer_counts(), drawn["layer_counts"].numpy())


def test_no_point_lies_beyond_the_box(system: CaloClouds, monkeypatch: pytest.MonkeyPatch) -> None:
    def far(*arguments: Any) -> Tensor:
        points = PointsStage.sampled(system.points, *arguments)
        points[::7, :2] *= 1e6
        return points

    monkeypatch.setattr(system.points, "sampled", far)
    options = SamplingOptions(postprocess=False)
    clouds = system.showers(quantities(system, options), options)
    assert np.abs(clouds.x).max() <= 200
    assert np.abs(clouds.y).max() <= 200
    assert len(clouds.project(clouds.geometry)) == 4  # no sensor is unknown


def test_the_calibration_is_fitted_after_training_and_kept(
    bare: CaloClouds, caloclouds_run: Path
) -> None:
    system = bare
    kept = json.loads((caloclouds_run / "stages" / "clouds" / "transforms.json").read_text())
    correction = system.stages["clouds"]
    assert isinstance(correction, CloudCalibration)
    assert correction.is_fitted
    assert correction.state() == kept
    before = system.generate(ENERGIES, seed=1)
    correction.shift += torch.tensor([1.5, 0.0])
    after = system.generate(ENERGIES, seed=1)
    inside = np.abs(before.x) < 150
    assert (after.x - before.x)[inside] == pytest.approx(1.5, abs=1e-4)
    assert np.array_equal(after.y, before.y)


def test_solvers_are_those_of_the_points(system: CaloClouds) -> None:
    few = SamplingOptions(solver="heun-2")
    assert system.passes(few)["points"] == 3
    assert system.passes(SamplingOptions())["points"] == system.sequential_passes["points"]
    other = system.generate(ENERGIES, seed=1, options=few)
    assert not np.array_equal(other.x, system.generate(ENERGIES, seed=1).x)
    for wrong in ("ddpm-100", "rk4-20"):
        with pytest.raises(ValueError, match=f"no solver '{wrong}' of these points.*: .* heun-N"):
            system.generate(ENERGIES, seed=1, options=SamplingOptions(solver=wrong))
    with pytest.raises(ValueError, match="caloclouds offers no choice of energy_solver"):
        system.chosen(SamplingOptions(energy_solver="rk4-4"))


def test_the_latent_flow_learns_draws_of_the_encoder(
    system: CaloClouds, bundled_points: PointShowers
) -> None:
    stage = system.stages["latent"]
    q = ShowerQuantities(bundled_points, stage.learns).all()
    upstream = system.upstream("latent")
    first, again, other = (
        stage.batch(q, upstream, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first["x"], again["x"])
    assert not torch.equal(first["x"], other["x"])
    assert first["x"].shape == (60, system.config.points.encoder.latent)
    assert first["x"].std().item() == pytest.approx(1, abs=0.2)
    # in sampling the number of points is the sum of the counts
    counts = ShowerQuantities(bundled_points, ("energy_inc", "layer_counts")).all()
    assert torch.allclose(stage.context(counts, upstream), first["context"])


def test_a_directed_system_sees_directions(
    bundled_points: PointShowers, small_caloclouds: dict[str, object], tmp_path: Path
) -> None:
    angle = np.linspace(0, 0.5, len(bundled_points), dtype=np.float32)
    tilted = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], 1)
    clouds = dataclasses.replace(bundled_points, direction=tilted)
    settings = {**small_caloclouds, "directed": True}
    system = cf.build("caloclouds/tiny", clouds.geometry, overrides=settings)
    assert system.is_directed
    cf.train(system, clouds, run=tmp_path / "run")
    loaded = cf.load(tmp_path / "run")
    drawn = loaded.generate(cf.Particles(ENERGIES, tilted[-4:]), seed=1)
    assert np.allclose(drawn.direction, tilted[-4:])
    straight = loaded.generate(ENERGIES, seed=1)
    assert straight.direction.tolist() == [[0, 0, 1]] * 4
    assert not np.array_equal(drawn.total_energy(), straight.total_energy())


def test_the_depth_is_that_of_the_points(bundled_points: PointShowers) -> None:
    counts = torch.from_numpy(bundled_points.layer_counts().astype(np.float32))
    counts = torch.cat([counts, torch.zeros(1, 30)])
    found = depth(counts).numpy()
    for number in (0, 17):
        layers = bundled_points[number : number + 1].layer
        assert found[number] == pytest.approx([layers.mean(), layers.std()], rel=1e-4)
    assert found[-1].tolist() == [0, 0]


def test_the_latent_flow_of_the_paper_does_not_see_the_depth(
    bundled_points: PointShowers, generator: torch.Generator
) -> None:
    plain = build("caloclouds/tiny", bundled_points.geometry, overrides={"latent.depth": False})
    seeing = build("caloclouds/tiny", bundled_points.geometry)
    q = ShowerQuantities(bundled_points, seeing.stages["latent"].learns).all()
    sizes = []
    for system in (plain, seeing):
        stage = system.stages["latent"]
        assert isinstance(stage, LatentStage)
        upstream = system.upstream("latent")
        upstream["conditions"].fit(ShowerQuantities(bundled_points, stage.learns), {}, generator)
        if stage.depth is not None:
            stage.depth.fit(lambda: [depth(q["layer_counts"])])
        sizes.append(stage.context(q, upstream).shape[1])
    assert sizes == [2, 4]


def test_points_where_clusters_are_drawn_are_refused(bundled_points: PointShowers) -> None:
    system = build("caloclouds/tiny", bundled_points.geometry)
    members = system.stages["members"]
    sample = ShowerQuantities(bundled_points, members.learns)
    with pytest.raises(TypeError, match=r"expected ClusteredShowers, got .*: fit on system.train"):
        members.fit(sample, {}, torch.Generator())
