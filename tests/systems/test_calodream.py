"""CaloDREAM: published sizes, what networks see, latent space."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import caloforge as cf
from caloforge.cascade import Learned, SamplingOptions, ShowerQuantities, System, build
from caloforge.cascade.seeds import Seeds
from caloforge.geometry import geometry_preset
from caloforge.matching import MIDPOINT, RungeKutta
from caloforge.showers import VoxelShowers
from caloforge.stages.conditions import RatioConditions
from caloforge.stages.pixels import HitPixels, voxel_pixels
from caloforge.stages.shape import ShapeStage
from caloforge.systems.calodream import CaloDREAM
from caloforge.systems.calodream.presets import FIXED_GEOMETRIES, SIZES, preset
from caloforge.training.split import split_numbers

DATASET_2 = geometry_preset("calochallenge-2")
ENERGIES, LEADERBOARD = 1_692_225, 2_384_705
NAMES = ("energy_inc", "layer_energies", "showers")


@pytest.fixture(scope="module")
def published() -> dict[str, System]:
    """The presets of the paper, without memory for their weights."""
    with torch.device("meta"):
        return {size: build(f"calodream/{size}") for size in FIXED_GEOMETRIES}


# ---------------------------------------------------------------- published sizes


@pytest.mark.parametrize(
    ("size", "energies", "shape", "tokens", "pixels"),
    [
        ("paper-calochallenge-2", ENERGIES, 26_042_688, 135, (1, 45, 16, 9)),
        ("paper-calochallenge-3", ENERGIES, 5_868_870, 1350, (1, 45, 50, 18)),
        ("leaderboard-calochallenge-2", LEADERBOARD, 26_042_688, 135, (1, 45, 16, 9)),
        ("latent-calochallenge-2", ENERGIES, 10_711_566, 405, (2, 15, 9, 9)),
        ("latent-calochallenge-3", ENERGIES, 10_720_224, 312, (2, 9, 26, 16)),
        ("latent-fine-calochallenge-3", ENERGIES, 10_720_224, 728, (2, 21, 26, 16)),
    ],
)
def test_the_networks_have_the_published_sizes(
    size: str,
    energies: int,
    shape: int,
    tokens: int,
    pixels: tuple[int, ...],
    published: dict[str, System],
) -> None:
    system = published[size]
    assert (system.n_parameters["energies"], system.n_parameters["shape"]) == (energies, shape)
    stage = ShapeStage.of(system.stages, "shape")
    assert stage.shape == pixels
    assert math.prod(stage.network.grid) == tokens
    assert stage.network.context[0].in_features == 46  # incident energy and 45 ratios
    for part in (system.config.shape, system.config.autoencoder):
        assert part is None or (part.rotation, part.reflection) == (False, False)  # ours


def test_the_published_solvers_are_the_defaults(published: dict[str, System]) -> None:
    for system in published.values():
        passes = system.sequential_passes
        assert passes["energies"] == 45 * (1 + 4 * 50)  # table 1
        assert passes["shape"] == 4 * 20  # table 2


def test_the_leaderboard_counts_both_networks(published: dict[str, System]) -> None:
    total = sum(published["leaderboard-calochallenge-2"].n_parameters.values())
    assert f"{total:.3e}" == "2.843e+07"


@pytest.mark.parametrize("size", [size for size in SIZES if size not in FIXED_GEOMETRIES])
@pytest.mark.parametrize("name", ["calochallenge-2", "calochallenge-3", "ild-30"])
def test_small_presets_fit_every_regular_geometry(size: str, name: str) -> None:
    with torch.device("meta"):
        system = build(f"calodream/{size}", name)
    latent = size.startswith("latent")
    assert ("autoencoder" in system.stages) == latent
    if size == "small":  # noise passes through the features of a token
        stage = ShapeStage.of(system.stages, "shape")
        entries = math.prod(stage.shape) // math.prod(stage.network.grid)
        assert entries <= stage.config.dim


@pytest.mark.parametrize(
    ("name", "patch"),
    [("calochallenge-2", (3, 16, 1)), ("calochallenge-3", (1, 50, 1)), ("ild-30", (2, 6, 6))],
)
def test_patches_of_small_follow_the_voxels(name: str, patch: tuple[int, int, int]) -> None:
    assert preset("small", geometry_preset(name)).shape.patch == patch


def test_presets_refuse_what_they_cannot_take(slab: VoxelShowers) -> None:
    with pytest.raises(ValueError, match=r"no preset 'calodream/large'; there are small"):
        preset("large", DATASET_2)
    with pytest.raises(ValueError, match=r"is for the voxels of calochallenge-2, got slab"):
        preset("paper-calochallenge-2", slab.geometry)
    with pytest.raises(ValueError, match=r"needs a regular geometry, calochallenge-1-photons"):
        preset("small", geometry_preset("calochallenge-1-photons"))


# ---------------------------------------------------------------- what the networks see


def test_all_networks_share_their_conditions(calodream_run: Path) -> None:
    """One stage holds the transform of energy ratios, and no other."""
    system = cf.load(calodream_run)
    learned = [name for name, stage in system.stages.items() if isinstance(stage, Learned)]
    assert learned == ["energies", "shape", "distilled"]
    assert all("conditions" in system.stages[name].needs for name in learned)
    kept = {
        name: json.loads((calodream_run / "stages" / name / "transforms.json").read_text())
        for name in system.stages
    }
    assert [name for name in kept if kept[name].keys() & {"energy_inc", "ratios"}] == ["conditions"]


def test_conditions_are_fitted_where_all_networks_learn(
    bundled: VoxelShowers, small_calodream: dict[str, Any], tmp_path: Path
) -> None:
    """On the training split, that of the largest share for validation."""
    settings = {**small_calodream, "shape.recipe.validation": 0.3}
    system = build("calodream/tiny", bundled.geometry, overrides=settings)
    cf.train(system, bundled[:60], run=tmp_path / "run", stages=["conditions"], seed=3)
    rows, _ = split_numbers(60, 0.3, 3)
    again = RatioConditions(bundled.geometry.n_layers, 2.85, system.config.energies.alpha)
    again.fit(ShowerQuantities(bundled[rows], NAMES), {}, torch.Generator())
    fitted = system.stages["conditions"].state()
    assert fitted["energy_inc"] == again.state()["energy_inc"]
    rows, _ = split_numbers(60, 0.1, 3)
    again.fit(ShowerQuantities(bundled[rows], NAMES), {}, torch.Generator())
    assert fitted["ratios"] != again.state()["ratios"]


def test_shapes_are_conditioned_alike_in_training_and_sampling(
    calodream_run: Path, bundled: VoxelShowers, generator: torch.Generator
) -> None:
    system = cf.load(calodream_run)
    stage, upstream = ShapeStage.of(system.stages, "shape"), system.upstream("shape")
    quantities = ShowerQuantities(bundled[:20], NAMES).all()
    trained = stage.batch(quantities, upstream, generator)["context"]
    sampled = stage.context({k: v for k, v in quantities.items() if k != "showers"}, upstream)
    assert trained.equal(sampled)
    assert sampled.shape == (20, 1 + bundled.geometry.n_layers)
    assert float(sampled[:, 0].min()) > -0.5
    assert float(sampled[:, 0].max()) < 1.5


@pytest.mark.parametrize("pixels", ["shares", "hits"])
def test_pixels_are_the_showers_again(pixels: str, bundled: VoxelShowers) -> None:
    config = preset("tiny", bundled.geometry).shape
    config = dataclasses.replace(config, pixels=pixels)
    showers = ShowerQuantities(bundled[:50], NAMES).all()
    voxels = voxel_pixels(config, bundled.geometry.shape)
    voxels.fit(lambda: [showers["showers"]])
    image = voxels.image(showers["showers"])
    assert image.shape == (50, voxels.channels, *bundled.geometry.shape)
    again = voxels.showers(image, showers["layer_energies"])
    # the logit keeps shares to a few times their smallest, alpha
    loss = 1e-6 * float(showers["layer_energies"].max()) if pixels == "shares" else 0.0
    torch.testing.assert_close(again, showers["showers"], rtol=2e-5, atol=loss)


def test_standardised_shares_have_mean_0_and_spread_1(bundled: VoxelShowers) -> None:
    config = dataclasses.replace(preset("tiny", bundled.geometry).shape, pixels="shares")
    showers = ShowerQuantities(bundled, NAMES).all()["showers"]
    voxels = voxel_pixels(config, bundled.geometry.shape)
    voxels.fit(lambda: [showers])
    std, mean = torch.std_mean(voxels.image(showers), 0)
    hit = std > 0  # a voxel that no shower hits is shifted alone
    torch.testing.assert_close(std[hit], torch.ones_like(std[hit]), atol=1e-3, rtol=0)
    assert float(mean.abs().max()) < 1e-3


def test_hits_are_bits_and_energies(bundled: VoxelShowers) -> None:
    voxels = voxel_pixels(preset("tiny", bundled.geometry).shape, bundled.geometry.shape)
    showers = ShowerQuantities(bundled, NAMES).all()["showers"]
    voxels.fit(lambda: showers.split(100))
    bit, energy = voxels.image(showers).unbind(1)
    hit = showers > 0
    assert bit.eq(torch.where(hit, 1.0, -1.0)).all()
    assert energy[~hit].eq(0).all()
    std, mean = torch.std_mean(energy[hit])
    assert abs(float(mean)) < 1e-4
    assert abs(float(std) - 1) < 1e-3


def hit_pixels() -> HitPixels:
    config = preset("tiny", DATASET_2).shape
    voxels = voxel_pixels(config, DATASET_2.shape)
    assert isinstance(voxels, HitPixels)
    return voxels


def test_hits_that_know_nothing_of_each_other_are_drawn_exactly(
    generator: torch.Generator,
) -> None:
    """With an output that is the same everywhere, the flow ends in what the output says."""
    odds, mean, std = -1.0, 0.5, 0.3
    output = torch.tensor([odds, mean, math.log(std)], dtype=torch.float64)
    noise = torch.randn(1, 2, 20, 50, 50, generator=generator, dtype=torch.float64)
    voxels = hit_pixels()

    def velocity(x: Tensor, t: Tensor, _: Tensor | None) -> Tensor:
        wide = output.reshape(1, 3, 1, 1, 1).expand(-1, -1, *x.shape[2:])
        return voxels.velocity(wide, x, t)

    bit, energy = RungeKutta(MIDPOINT, 100)(velocity, noise, None)[0]
    hit = bit > 0
    assert float(hit.double().mean()) == pytest.approx(1 / (1 + math.e), abs=0.005)
    assert float((bit.abs() - 1).abs().mean()) < 0.03
    assert float(energy[hit].mean()) == pytest.approx(mean, abs=0.02)
    assert float(energy[hit].std()) == pytest.approx(std, abs=0.02)
    assert float(energy[~hit].abs().mean()) < 0.03


@given(
    t=st.floats(0, 1),
    output=st.lists(st.floats(-100, 100), min_size=3, max_size=3),
    x=st.lists(st.floats(-5, 5), min_size=2, max_size=2),
)
def test_the_velocity_of_hits_is_finite(t: float, output: list[float], x: list[float]) -> None:
    def wide(values: list[float]) -> Tensor:
        return torch.tensor(values).reshape(1, -1, 1, 1, 1)

    given_output = wide(output).requires_grad_()
    velocity = hit_pixels().velocity(given_output, wide(x), torch.tensor([t]))
    assert velocity.isfinite().all()
    velocity.sum().backward()
    assert given_output.grad is not None
    assert given_output.grad.isfinite().all()


def test_a_layer_with_energy_has_a_hit() -> None:
    voxels = hit_pixels()
    voxels.transform.load_state({"0": {}, "1": {"mean": [0.0], "std": [1.0]}})
    image = torch.tensor([[[-0.9, -0.2], [-0.3, 0.4]], [[0.0, 1.0], [2.0, 0.5]]])
    image = image[None, :, :, :, None]  # two layers of two voxels
    showers = voxels.showers(image, torch.tensor([[7.0, 7.0]]))[0, ..., 0]
    torch.testing.assert_close(showers, torch.tensor([[0.0, 10.0], [0.0, 10**0.5]]))
    without = voxels.showers(image, torch.tensor([[0.0, 7.0]]))[0, ..., 0]
    assert without[0].tolist() == [0, 0]


def test_shares_are_moved_by_the_velocity_itself(bundled: VoxelShowers) -> None:
    config = dataclasses.replace(preset("tiny", bundled.geometry).shape, pixels="shares")
    voxels = voxel_pixels(config, bundled.geometry.shape)
    output = torch.randn(2, 1, 3, 4, 5)
    assert voxels.velocity(output, torch.zeros_like(output), torch.ones(2)) is output


@pytest.mark.parametrize("rescale", ["hits", "voxels"])
def test_layers_have_the_energies_that_were_sampled(rescale: str, bundled: VoxelShowers) -> None:
    overrides = {"shape.rescale": rescale, "shape.solver": "euler-1", "shape.blocks": 1}
    system = build("calodream/tiny", bundled.geometry, overrides=overrides)
    stage = ShapeStage.of(system.stages, "shape")
    quantities = ShowerQuantities(bundled[:40], NAMES)
    upstream = system.upstream("shape")
    for fitted in (*upstream.values(), stage):
        fitted.fit(quantities, upstream, torch.Generator().manual_seed(1))
    known = quantities.all()
    with torch.inference_mode():
        sampled = stage.sample(known, upstream, Seeds.of(1, range(40)), SamplingOptions())
    layers = sampled["showers"].sum((2, 3))
    threshold = bundled.geometry.threshold
    expected = torch.where(known["layer_energies"] < threshold, 0.0, known["layer_energies"])
    reached = layers > 0
    torch.testing.assert_close(layers[reached], expected[reached], rtol=1e-5, atol=0)
    assert not layers[expected == 0].any()
    positive = sampled["showers"] > 0
    assert float(sampled["showers"][positive].min()) >= threshold * (1 - 1e-6)


def test_half_precision_draws_nearly_the_same(calodream_run: Path) -> None:
    system = cf.load(calodream_run)
    energies = [2e4, 5e4, 8e4] * 4
    full, half = (
        system.generate(energies, seed=1, options=SamplingOptions(precision=precision)).dense()
        for precision in ("32", "bf16")
    )
    assert not (full == half).all()
    assert ((full > 0) == (half > 0)).mean() > 0.97
    both = (full > 0) & (half > 0)
    assert abs(half[both] / full[both] - 1).mean() < 0.05


def test_precision_is_for_systems_that_have_it(run: Path, calodream_run: Path) -> None:
    with pytest.raises(ValueError, match=r"precision='fp8': expected 32 or bf16, got 'fp8'"):
        cf.load(calodream_run).generate([5e4], seed=1, options={"precision": "fp8"})
    with pytest.raises(ValueError, match=r"l2lflows offers no choice of precision"):
        cf.load(run).generate([5e4], seed=1, options=SamplingOptions(precision="bf16"))


# ---------------------------------------------------------------- latent space


def test_the_latent_variant_trains_and_draws(bundled: VoxelShowers, tmp_path: Path) -> None:
    overrides = {
        "energies.recipe.epochs": 1,
        "shape.recipe.epochs": 1,
        "shape.dim": 12,
        "autoencoder.recipe.epochs": 1,
        "autoencoder.channels": (4, 4),
    }
    system = build("calodream/latent-tiny", bundled.geometry, overrides=overrides)
    assert isinstance(system, CaloDREAM)
    cf.train(system, bundled[:64], run=tmp_path / "run", seed=3)
    loaded = cf.load(tmp_path / "run")
    showers = loaded.generate([2e4, 5e4], seed=1)
    assert (showers.energy > 0).all()
    assert ShapeStage.of(loaded.stages, "shape").shape == loaded.stages["autoencoder"].grid_shape
    assert showers.geometry == bundled.geometry


def test_conditions_are_their_own_inverse(bundled: VoxelShowers) -> None:
    conditions = RatioConditions(bundled.geometry.n_layers, 2.85, 1e-6)
    sample = ShowerQuantities(bundled, NAMES)
    conditions.fit(sample, {}, torch.Generator())
    known = sample.all()
    again = conditions.layer_energies(conditions.transformed_ratios(known), known["energy_inc"])
    total = known["layer_energies"].sum(1, keepdim=True)
    torch.testing.assert_close(again / total, known["layer_energies"] / total, rtol=0, atol=2e-6)
