"""The autoencoder of CaloDREAM as a stage, on real showers."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from caloforge.cascade import build as build_system
from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import ShowerQuantities
from caloforge.cascade.recipe import Recipe
from caloforge.geometry import geometry_preset
from caloforge.preprocessing import rotate
from caloforge.showers import VoxelShowers
from caloforge.stages.conditions import RatioConditions
from caloforge.stages.config import ShapeNetwork
from caloforge.stages.shares import to_shares
from caloforge.systems.calodream.autoencoder import AutoencoderStage, LeastHit
from caloforge.systems.calodream.config import Autoencoder
from caloforge.systems.calodream.latent import LatentShapeStage
from caloforge.training import StageFolder
from caloforge.training.loop import StageTraining

CONFIG = Autoencoder(
    Recipe(epochs=2, batch_size=16, learning_rate=5e-3),
    kernel=(2, 2, 1),
    stride=(2, 2, 1),
    padding=(0, 1, 0),
    channels=(4, 6),
)


def build(geometry, **changes: object) -> AutoencoderStage:
    torch.manual_seed(1)
    conditions = RatioConditions(geometry.n_layers, 2.85, 1e-6)
    return AutoencoderStage(dataclasses.replace(CONFIG, **changes), geometry, conditions)


def needed(sample: ShowerQuantities) -> dict[str, RatioConditions]:
    """The conditions of a sample, which all stages need."""
    conditions = RatioConditions(sample.showers.geometry.n_layers, 2.85, 1e-6)
    conditions.fit(sample, {}, torch.Generator())
    return {"conditions": conditions}


@pytest.fixture(scope="module")
def sample(slab: VoxelShowers) -> ShowerQuantities:
    return ShowerQuantities(slab[:200], AutoencoderStage.learns)


@pytest.fixture(scope="module")
def upstream(sample: ShowerQuantities) -> dict[str, RatioConditions]:
    return needed(sample)


@pytest.fixture
def stage(slab: VoxelShowers) -> AutoencoderStage:
    return build(slab.geometry)


@pytest.mark.parametrize(
    ("name", "kernel", "stride", "padding", "latent"),
    [
        ("calochallenge-2", (3, 2, 1), (3, 2, 1), (0, 1, 0), (2, 15, 9, 9)),
        ("calochallenge-3", (5, 2, 3), (2, 2, 1), (0, 1, 0), (2, 21, 26, 16)),
        ("calochallenge-3", (5, 2, 3), (5, 2, 1), (0, 1, 0), (2, 9, 26, 16)),
        ("ild-30", (3, 2, 2), (3, 2, 2), (0, 0, 0), (2, 10, 15, 15)),
    ],
)
def test_latent_grids_are_those_of_table_4(name, kernel, stride, padding, latent) -> None:
    geometry = geometry_preset(name)
    stage = build(geometry, kernel=kernel, stride=stride, padding=padding)
    assert stage.grid_shape == latent


def test_loss_without_knowledge_is_that_of_even_odds(stage, sample, upstream, generator) -> None:
    """Logits of 0 cost log 2 a voxel whatever its share, mean 1 and variance 1 cost 1/2 a pixel."""
    with torch.no_grad():
        for layer in (stage.net.to_logits, stage.net.to_latent):
            layer.weight.zero_()
            layer.bias.zero_()
        stage.net.to_latent.bias[:2] = 1
    batch = stage.batch(sample.all(), upstream, generator)
    pixels, voxels = math.prod(stage.grid_shape), math.prod(batch["x"].shape[1:])
    for beta in (0.0, 0.5):
        stage.config = dataclasses.replace(stage.config, beta=beta)
        loss = stage.loss(batch, generator).item()
        assert loss == pytest.approx(voxels * math.log(2) + beta * pixels / 2, rel=1e-5)


def test_training_lowers_the_loss(slab, tmp_path) -> None:
    stage = build(slab.geometry)
    sample = ShowerQuantities(slab, stage.learns)
    folder = StageFolder(tmp_path)
    training = StageTraining("autoencoder", stage, sample, needed(sample), folder, seed=1)
    training.run()
    losses = [row["validation"] for row in training.rows]
    # shares have an entropy, which no decoder goes below
    entropy = torch.special.entr(x := to_shares(sample.all()["showers"]))
    entropy = (entropy + torch.special.entr(1 - x)).sum((1, 2, 3)).mean().item()
    assert entropy < losses[-1] < losses[0]
    assert losses[-1] - entropy < 0.9 * (losses[0] - entropy)


def test_latent_pixels_follow_the_encoder(stage, sample, upstream, generator) -> None:
    """Mean and variance of many samples of one shower are those that the encoder names."""
    one = {name: q[:1].expand(300, *q.shape[1:]) for name, q in sample.all().items()}
    with torch.no_grad():
        stage.net.to_latent.bias[2:] = math.log(4.0)
        sampled = stage.encode(one, upstream, generator, memory_budget=1)
        quantities = {name: q[:1] for name, q in sample.all().items()}
        mean, log_variance = stage.net.encode(
            to_shares(quantities["showers"]), stage.context(quantities, upstream)
        )
    assert sampled.shape == (300, *stage.grid_shape)
    error = (log_variance / 2).exp() / 300**0.5
    assert ((sampled.mean(0) - mean).abs() < 6 * error).all()
    torch.testing.assert_close(sampled.var(0)[None], log_variance.exp(), rtol=0.6, atol=0)


def test_decoding_draws_nothing_and_hangs_on_no_budget(stage, sample, upstream, generator) -> None:
    quantities = sample.all()
    quantities["latent"] = stage.encode(quantities, upstream, generator)
    first = stage.decode({}, quantities, upstream, stage.chosen({}))["showers"]
    in_pieces = stage.chosen({"memory_budget": 5 * 4 * stage.image_size})
    again = stage.decode({}, quantities, upstream, in_pieces)["showers"]
    torch.testing.assert_close(first, again, rtol=1e-3, atol=1e-3)


def test_reconstruction_has_the_layer_energies_and_no_noise(
    stage, slab, sample, upstream, generator
) -> None:
    """Empty layers stay empty, and no voxel lies below the threshold."""
    quantities = sample.all()
    quantities["showers"][:5, 1] = 0
    quantities["layer_energies"] = quantities["showers"].sum((2, 3))
    showers = stage.reconstruct(quantities, upstream, generator)
    threshold = slab.geometry.threshold
    wanted = quantities["layer_energies"].where(quantities["layer_energies"] >= threshold, 0.0)
    torch.testing.assert_close(showers.sum((2, 3)), wanted, rtol=1e-5, atol=0)
    assert showers[showers > 0].min() >= threshold * (1 - 1e-6)
    assert (showers[:5, 1] == 0).all()


def test_small_shares_are_cut(stage, sample, upstream, generator) -> None:
    quantities = sample.all()
    stage.config = dataclasses.replace(stage.config, cut=0.5)
    raw = stage.reconstruct(quantities, upstream, generator, SamplingOptions(postprocess=False))
    energies = quantities["layer_energies"][..., None, None].expand_as(raw)
    assert (raw[raw > 0] >= 0.5 * energies[raw > 0] * (1 - 1e-6)).all()
    assert (raw == 0).float().mean() > 0.99


def test_training_turns_whole_showers(slab, sample, upstream) -> None:
    stage = build(slab.geometry, rotation=True)
    quantities = sample.all()
    batch = stage.batch(quantities, upstream, torch.Generator().manual_seed(5))
    turned = rotate(quantities["showers"], axis=2, rng=torch.Generator().manual_seed(5))
    torch.testing.assert_close(batch["x"], to_shares(turned))
    assert (batch["x"] != to_shares(quantities["showers"])).any()


def test_latent_pixels_of_turned_showers(stage, slab, sample, upstream, generator) -> None:
    """The shape network's symmetries are those of voxels: what it learns is encoded thereafter."""
    config = ShapeNetwork(
        CONFIG.recipe, patch=(1, 1, 1), dim=12, hidden=12, blocks=1, rotation=True
    )
    shape = LatentShapeStage(config, stage.grid_shape, slab.geometry, upstream["conditions"])
    with torch.no_grad():
        stage.net.to_latent.weight[2:] = 0
        stage.net.to_latent.bias[2:] = -100  # the encoder's mean, no noise
    upstream = {**upstream, "autoencoder": stage}
    shape.fit(sample, upstream, generator)
    quantities = sample.all()
    batch = shape.batch(quantities, upstream, torch.Generator().manual_seed(5))
    turned = rotate(quantities["showers"], axis=2, rng=torch.Generator().manual_seed(5))
    with torch.no_grad():
        latent = stage.encode({**quantities, "showers": turned}, upstream, generator)
        unturned = stage.encode(quantities, upstream, generator)
    torch.testing.assert_close(batch["x"], shape.pixels(latent), rtol=1e-4, atol=1e-3)
    assert (batch["x"] - shape.pixels(unturned)).abs().mean() > 0.1


def test_a_saved_stage_reconstructs_the_same(stage, slab, sample, upstream) -> None:
    other = build(slab.geometry)
    with torch.no_grad():
        stage.net.to_logits.weight += 0.1
    other.load_state_dict(stage.state_dict())
    other.load_state(stage.state())
    quantities = sample.all()
    showers = [
        s.reconstruct(quantities, upstream, torch.Generator().manual_seed(2))
        for s in (stage, other)
    ]
    assert torch.equal(*showers)


def test_decoded_showers_have_as_many_hits_as_geant4(bundled) -> None:
    """And no layer loses its energy, however little it has."""
    system = build_system("calodream/latent-tiny", bundled.geometry)
    stage, threshold = system.stages["autoencoder"], bundled.geometry.threshold
    config = dataclasses.replace(stage.config, hit_showers=60)
    least = LeastHit(config, threshold)
    sample = ShowerQuantities(bundled[:60], stage.learns)
    upstream = {**needed(sample), "autoencoder": stage}
    draw = Draw(system, bundled[:60], 3)
    least.fit(sample, upstream, torch.Generator(), draw)
    quantities = sample.all()
    rng = torch.Generator().manual_seed(3)
    raw = stage.reconstruct(quantities, upstream, rng, SamplingOptions(postprocess=False))
    hits = (quantities["showers"] > 0).sum().item()
    assert (raw >= least.energy).sum() == pytest.approx(hits, rel=1e-3)
    emptied = least(raw)
    assert (emptied < raw).any()
    torch.testing.assert_close(emptied.amax((2, 3)), raw.amax((2, 3)), rtol=0, atol=0)
    assert ((emptied == raw) | (emptied == 0)).all()
    again = LeastHit(config, threshold)
    again.load_state(least.state())
    torch.testing.assert_close(again(raw), emptied, rtol=0, atol=0)


@pytest.mark.parametrize("showers", [0, 20])
def test_hits_are_calibrated_where_showers_are_set_aside_for_it(showers: int, bundled) -> None:
    overrides = {"autoencoder.hit_showers": showers}
    system = build_system("calodream/latent-tiny", bundled.geometry, overrides=overrides)
    assert ("hits" in system.stages) == (showers > 0)
