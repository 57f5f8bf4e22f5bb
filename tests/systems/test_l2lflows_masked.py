"""The masked autoregressive flows of L2LFlows: what they share with the couplings, and what not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

import caloforge as cf
from caloforge.cascade import Recipe, ShowerQuantities, System, build
from caloforge.cascade.registry import build_from_config, config_to_dict
from caloforge.cascade.seeds import Seeds
from caloforge.data import read
from caloforge.flows import SplineMADE
from caloforge.geometry import PolarLayer, geometry_preset
from caloforge.showers import VoxelShowers
from caloforge.systems.l2lflows.config import ConvolutionalFlow, MaskedFlow
from caloforge.systems.l2lflows.networks import layer_flow
from caloforge.systems.l2lflows.presets import preset
from caloforge.systems.l2lflows.stages import LayerStage

RECIPE = Recipe(epochs=1, batch_size=1, learning_rate=1e-3)
TINY = {
    "energies.blocks": 2,
    "energies.hidden": 12,
    "energies.recipe.epochs": 2,
    "energies.recipe.batch_size": 64,
    "layers.blocks": 2,
    "layers.bins": 4,
    "layers.hidden": 24,
    "layers.summary": 4,
    "layers.summary_hidden": 8,
    "layers.warm_start": False,
    "layers.recipe.epochs": 2,
    "layers.recipe.batch_size": 64,
}


def away_from_the_start(module: nn.Module, seed: int = 0) -> None:
    """Weights of a trained size; a MADE starts as the identity."""
    rng = torch.Generator().manual_seed(seed)
    for weights in module.parameters():
        scale = 1.5 / weights.shape[-1] ** 0.5 if weights.ndim > 1 else 0.2
        weights.data.copy_(scale * torch.randn(weights.shape, generator=rng))


# ---------------------------------------------------------------- what both kinds share


@pytest.fixture(scope="module")
def masked() -> System:
    return build("l2lflows/maf", "ild-core")


@pytest.fixture(scope="module")
def coupling() -> System:
    return build("l2lflows/small", "ild-core")


def test_only_the_flow_of_a_layer_differs_from_the_couplings(
    masked: System, coupling: System
) -> None:
    assert [*masked.stages, "spectrum"] == list(coupling.stages)
    for name, stage in masked.stages.items():
        other = coupling.stages[name]
        assert (stage.reads, stage.writes) == (other.reads, other.writes)
        assert type(stage) is type(other)
        assert stage.flow.shape == other.flow.shape
    assert masked.n_parameters["energies"] == coupling.n_parameters["energies"]


def test_both_kinds_see_the_same_showers_and_conditions(bundled: VoxelShowers) -> None:
    """So that their losses, in nats a voxel, compare."""
    batches = []
    for size in ("maf", "tiny"):
        config = replace(preset(size, bundled.geometry).layers, reflection=False)
        stage = LayerStage(config, bundled.geometry, 12)
        quantities = ShowerQuantities(bundled[:40], (*stage.reads, *stage.writes))
        stage.fit(quantities, {}, torch.Generator().manual_seed(0))
        rng = torch.Generator().manual_seed(1)
        batches.append(stage.batch(quantities.take(torch.arange(20)), {}, rng))
    masked, coupling = batches
    assert torch.equal(masked["x"], coupling["x"])
    assert torch.equal(masked["context"], coupling["context"])


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        # of the first layer, the second, and those that see five before them
        ("ild-core", {0: 1_306_096, 1: 1_360_048, 5: 1_411_248}),
        ("ild-30", {0: 5_630_064, 1: 5_770_032, 5: 6_230_832}),
    ],
)
def test_parameters_of_the_preset(name: str, sizes: dict[int, int]) -> None:
    geometry = geometry_preset(name)
    config = preset("maf", geometry).layers
    for n_previous, size in sizes.items():
        flow = layer_flow(config, geometry.shape[1:], n_previous, cyclic=False)
        assert sum(weights.numel() for weights in flow.parameters()) == size


# ---------------------------------------------------------------- the flow


@pytest.mark.parametrize("hidden", [50, 9], ids=["wide", "narrow"])
def test_a_voxel_does_not_depend_on_those_behind_it(hidden: int) -> None:
    """z_i of a block follows from x_1 … x_i alone, and the last z from nearly all of them."""
    config = MaskedFlow(RECIPE, blocks=3, bins=4, bound=6.0, hidden=hidden)
    flow = layer_flow(config, (4, 5), 2, cyclic=False).double()
    away_from_the_start(flow)
    context = flow.embedding(torch.randn(30, 4, 4, 5, dtype=torch.float64))
    blocks = [block for block in flow.modules() if isinstance(block, SplineMADE)]
    assert len(blocks) == 3
    for block in blocks:
        x = torch.randn(30, 20, dtype=torch.float64)
        slopes = torch.autograd.functional.jacobian(
            lambda x, block=block: block(x, context)[0].sum(0), x
        )
        jacobian = slopes.movedim(1, 0)  # (shower, z, x)
        assert not jacobian.triu(1).any()
        assert (jacobian.diagonal(dim1=1, dim2=2) > 0).all()
        assert jacobian[:, -1].any(0).sum() > 15


def test_blocks_meet_the_voxels_in_different_orders() -> None:
    torch.manual_seed(0)
    flow = layer_flow(MaskedFlow(RECIPE, blocks=4), (10, 10), 5, cyclic=False)
    order = [values for name, values in flow.state_dict().items() if name.endswith("order")]
    assert len(order) == 3
    for one in order:
        assert one.sort().values.tolist() == list(range(100))
    assert len({tuple(one.tolist()) for one in order}) == 3


def test_the_summary_reduces_the_earlier_layers_and_keeps_the_conditions() -> None:
    for n_previous, features in ((5, 66), (1, 66), (0, 2)):
        flow = layer_flow(MaskedFlow(RECIPE, summary=64), (6, 7), n_previous, cyclic=False)
        context = torch.randn(3, n_previous + 2, 6, 7)
        context[:, -2:] = torch.tensor([0.3, -0.7])[:, None, None]
        summary = flow.embedding(context)
        assert summary.shape == (3, features)
        assert torch.equal(summary[:, -2:], torch.tensor([0.3, -0.7]).expand(3, 2))


@pytest.mark.parametrize("layer", [0, 3, 12])
def test_draws_depend_on_all_that_a_stage_reads(layer: int, bundled: VoxelShowers) -> None:
    config = MaskedFlow(RECIPE, blocks=2, bins=4, hidden=24, summary=4, summary_hidden=8)
    stage = LayerStage(config, bundled.geometry, layer)
    sample = ShowerQuantities(bundled[:60], (*stage.reads, *stage.writes))
    stage.fit(sample, {}, torch.Generator().manual_seed(0))
    away_from_the_start(stage.flow)
    read = {name: sample.take(torch.arange(20))[name] for name in stage.reads}

    def sampled(quantities: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            return stage.eval().sample(quantities, {}, Seeds.of(1, range(20)), None)[stage.own]

    first = sampled(read)
    assert torch.equal(sampled(read), first)
    for name in read:
        assert not torch.equal(sampled({**read, name: read[name].flip(0)}), first), name


@pytest.mark.parametrize("layer", [0, 12])
def test_the_core_of_real_showers_comes_back_in_single_precision(
    layer: int, shared_data: Path
) -> None:
    whole = read(shared_data / "photons-10-100GeV_ild-30_test.h5")[:48]
    core, _ = whole.crop(geometry_preset("ild-core"))
    config = preset("maf", core.geometry).layers
    stage = LayerStage(config, core.geometry, layer)
    quantities = ShowerQuantities(core, (*stage.reads, *stage.writes))
    rng = torch.Generator().manual_seed(0)
    stage.fit(quantities, {}, rng)
    for weights in stage.flow.bijection.parameters():
        noise = torch.randn(weights.shape, generator=rng)
        weights.data += 0.5 * noise / weights.shape[-1] ** 0.5
    batch = stage.eval().batch(quantities.take(torch.arange(16)), {}, rng)
    with torch.no_grad():
        context = stage.flow._embed(batch["context"])
        z, _ = stage.flow.bijection(batch["x"], context)
        back, _ = stage.flow.bijection.inverse(z, context)
    assert float((back - batch["x"]).abs().max()) < 1e-3
    assert float((z - batch["x"].reshape(z.shape)).abs().mean()) > 0.3


# ---------------------------------------------------------------- the cost


def test_a_masked_layer_takes_one_pass_a_voxel_and_block(masked: System, coupling: System) -> None:
    assert masked.sequential_passes["layer_07"] == masked.config.layers.blocks * 100
    assert coupling.sequential_passes["layer_07"] == coupling.config.layers.blocks
    assert masked.sequential_passes["energies"] == coupling.sequential_passes["energies"] == 6 * 30
    assert list(masked.sequential_passes) == list(masked.stages)


# ---------------------------------------------------------------- the configuration


@pytest.mark.parametrize(("size", "kind"), [("maf", MaskedFlow), ("small", ConvolutionalFlow)])
def test_a_stored_configuration_names_its_kind(size: str, kind: type) -> None:
    config = preset(size, geometry_preset("ild-core"))
    stored = yaml.safe_load(yaml.safe_dump(config_to_dict(config)))
    assert build_from_config("l2lflows", stored, geometry_preset("ild-core")).config == config
    assert type(config.layers) is kind


def test_a_configuration_without_a_kind_is_convolutional() -> None:
    config = preset("tiny", geometry_preset("ild-core"))
    stored = config_to_dict(config)
    del stored["layers"]["kind"]
    assert build_from_config("l2lflows", stored, geometry_preset("ild-core")).config == config


def test_settings_of_the_other_kind_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"no setting 'layers.channels': expected one of .*hidden"):
        build("l2lflows/maf", "ild-core", overrides={"layers.channels": (4, 4)})
    with pytest.raises(ValueError, match=r"layers: .*kind must be convolutional or masked"):
        build("l2lflows/maf", "ild-core", overrides={"layers.kind": "made"})
    wrong = {"layers.hidden": "wide", "layers.recipe.epochs": 0}
    with pytest.raises(ValueError, match=r"layers\.hidden: .*integer.*'wide'") as raised:
        build("l2lflows/maf", "ild-core", overrides=wrong)
    assert "layers.recipe: " in str(raised.value)
    assert "convolutional" not in str(raised.value)


# ---------------------------------------------------------------- the chain


@pytest.fixture(scope="module")
def rings(slab: VoxelShowers) -> VoxelShowers:
    """The inner three rings of `slab`: few voxels, as they are sampled one after the other."""
    bins = slab.geometry.layers[0]
    assert isinstance(bins, PolarLayer)
    inner = PolarLayer(bins.r_edges[:4], bins.n_alpha)
    geometry = replace(slab.geometry, name="rings", layers=(inner,) * slab.geometry.n_layers)
    return VoxelShowers.from_dense(slab.energy_inc, slab.dense()[..., :3], geometry)


@pytest.fixture(scope="module")
def trained(rings: VoxelShowers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masked") / "rings"
    system = cf.build("l2lflows/maf", rings.geometry, seed=4, overrides=TINY)
    cf.train(system, rings, run=folder, seed=4)
    return folder


def test_a_trained_system_is_reloaded_and_draws_the_same(
    trained: Path, rings: VoxelShowers, tmp_path: Path
) -> None:
    again = cf.build("l2lflows/maf", rings.geometry, seed=4, overrides=TINY)
    cf.train(again, rings, run=tmp_path / "again", seed=4)
    folder = tmp_path / "moved"
    shutil.copytree(trained, folder)
    showers = [
        system.generate(rings.energy_inc[:8], seed=1, batch_size=4)
        for system in (again, cf.load(trained), cf.load(folder))
    ]
    assert showers[0].total_energy().min() > 0
    for other in showers[1:]:
        assert np.array_equal(other.index, showers[0].index)
        assert np.array_equal(other.energy, showers[0].energy)
    another = again.generate(rings.energy_inc[:8], seed=2, batch_size=8)
    assert not np.array_equal(another.dense(), showers[0].dense())


def test_a_layer_has_the_energy_that_was_drawn_for_it(trained: Path, rings: VoxelShowers) -> None:
    system = cf.load(trained)
    stage = system.stages["energies"]
    sampled: list[Tensor] = []
    sample = stage.sample

    def watched(*given: object) -> dict[str, Tensor]:
        quantities = sample(*given)
        sampled.append(quantities["layer_energies"])
        return quantities

    stage.sample = watched
    showers = system.draw(rings.energy_inc[:20], seeds=Seeds.of(1, range(20)))
    energies = showers.layer_energies()
    hit = energies > 0
    assert hit.mean() > 0.9
    assert energies[hit] == pytest.approx(sampled[0].numpy()[hit], rel=1e-4)


def test_training_learns_from_the_conditions(rings: VoxelShowers, tmp_path: Path) -> None:
    """The loss falls far below that of the start, and rises with the conditions of others."""
    overrides = {**TINY, "layers.recipe.epochs": 12, "layers.recipe.learning_rate": 5e-3}
    system = cf.build("l2lflows/maf", rings.geometry, seed=4, overrides=overrides)
    fresh = cf.build("l2lflows/maf", rings.geometry, seed=4, overrides=overrides)
    cf.train(system, rings, run=tmp_path / "run", stages=["layer_03"], seed=4)
    stage, start = system.stages["layer_03"], fresh.stages["layer_03"].eval()
    quantities = ShowerQuantities(rings, (*stage.reads, *stage.writes)).take(torch.arange(400))
    batch = stage.batch(quantities, {}, torch.Generator().manual_seed(0))
    shuffled = batch["context"].roll(1, 0)
    with torch.no_grad():
        learnt = stage.loss(batch, None)
        assert learnt < start.loss(batch, None) - 0.3
        assert learnt < stage.loss({**batch, "context": shuffled}, None) - 0.03


def test_a_warm_start_takes_the_orders_over_with_the_weights(rings: VoxelShowers) -> None:
    overrides = {**TINY, "layers.warm_start": True}
    system: System = build("l2lflows/maf", rings.geometry, overrides=overrides)
    first, second = system.stages["layer_02"], system.stages["layer_03"]
    assert second.needs == ("layer_02",)
    away_from_the_start(first)
    sample = ShowerQuantities(rings, (*second.reads, *second.writes))
    second.fit(sample, {"layer_02": first}, torch.Generator().manual_seed(0))
    mine, theirs = second.flow.state_dict(), first.flow.state_dict()
    orders = [name for name in mine if name.endswith("order")]
    assert orders
    assert all(torch.equal(mine[name], theirs[name]) for name in orders)
    other = {n for n in mine if mine[n].shape != theirs[n].shape}
    assert all(name.startswith("embedding") for name in other)
    assert all(torch.equal(mine[n], theirs[n]) for n in mine.keys() - other)
