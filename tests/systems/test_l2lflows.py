"""Convolutional L2LFlows: published sizes, one conditioning, post-processing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from caloforge.cascade import Recipe, SamplingOptions, ShowerQuantities, System, build
from caloforge.cascade.seeds import Seeds
from caloforge.data import read
from caloforge.geometry import geometry_preset
from caloforge.showers import VoxelShowers
from caloforge.stages.energies import EnergyFlow, energy_flow
from caloforge.systems.l2lflows.config import ConvolutionalFlow
from caloforge.systems.l2lflows.networks import layer_flow
from caloforge.systems.l2lflows.presets import FIXED_GEOMETRIES, preset
from caloforge.systems.l2lflows.stages import LayerStage
from caloforge.training import load

RECIPE = Recipe(epochs=1, batch_size=1, learning_rate=1e-3)
DATASET_3 = ConvolutionalFlow(RECIPE, squeeze=(2, 2), down_sampling=((5, 3), (5, 3)))
ILD = ConvolutionalFlow(RECIPE, squeeze=(2, 2), down_sampling=((3, 3), (5, 5)))


def n_parameters(module: nn.Module) -> int:
    return sum(weights.numel() for weights in module.parameters())


# ---------------------------------------------------------------- published sizes (table 9)


@pytest.mark.parametrize(("n_layers", "published"), [(45, 447_042), (30, 306_732)])
def test_energy_flow_has_the_published_size(n_layers: int, published: int) -> None:
    assert n_parameters(energy_flow(EnergyFlow(RECIPE), n_layers)) == published


@pytest.mark.parametrize(
    ("config", "shape", "published"),
    [
        (DATASET_3, (50, 18), {0: 4_307_632, 1: 4_322_920, 5: 4_322_952}),
        (ILD, (30, 30), {0: 5_421_744, 1: 5_437_032, 5: 5_437_064}),
    ],
    ids=["dataset 3", "ILD"],
)
def test_layer_flows_have_the_published_size(
    config: ConvolutionalFlow, shape: tuple[int, int], published: dict[int, int]
) -> None:
    for n_previous, size in published.items():
        flow = layer_flow(config, shape, n_previous, cyclic=shape[0] == 50)
        assert n_parameters(flow) == size


@pytest.mark.parametrize(
    ("name", "energies", "layers"),
    [
        ("paper-calochallenge-3", 447_042, 194_964_482 - 447_042),  # table 9
        ("paper-calochallenge-2", 447_042, 158_100_482 - 447_042),
        # Table 9 has 163,269,320 in all, which leaves 172,800 for the energy flow: no setting near
        # table 3 has so many, and table 3's own have 306,732.
        ("paper-ild", 306_732, 163_096_520),
    ],
)
def test_the_presets_of_the_paper_have_the_published_size(
    name: str, energies: int, layers: int
) -> None:
    with torch.device("meta"):
        counts = build(f"l2lflows/{name}").n_parameters
    assert counts.pop("energies") == energies
    assert sum(counts.values()) == layers


@pytest.mark.parametrize(("embed_tiles", "reached"), [(False, [1, 2, 3, 4]), (True, [2, 3, 4])])
def test_an_embedding_of_tiles_sees_a_voxel_through_its_tile_alone(
    embed_tiles: bool, reached: list[int]
) -> None:
    """One 3 x 3 convolution of tiles after it; another one of voxels before takes it further."""
    config = dataclasses.replace(DATASET_3, embed_tiles=embed_tiles)
    torch.manual_seed(0)
    embedding = layer_flow(config, (50, 18), 5, cyclic=True).embedding
    context = torch.zeros(2, 7, 50, 18)
    context[1, 3, 0, 6] = 1.0  # in the left column of tile 3
    plain, other = embedding(context)
    changed = (plain != other).any(0)
    assert changed.any(0).nonzero()[:, 0].tolist() == reached
    assert {0, 1, 24} <= set(changed.any(1).nonzero()[:, 0].tolist())


@pytest.mark.parametrize("size", FIXED_GEOMETRIES)
def test_a_preset_of_the_paper_is_for_its_own_voxels(size: str) -> None:
    other = "ild-30" if size != "paper-ild" else "calochallenge-2"
    with pytest.raises(
        ValueError, match=f"{size} is for the voxels of {FIXED_GEOMETRIES[size]}, got {other}"
    ):
        build(f"l2lflows/{size}", other)
    with pytest.raises(ValueError, match="fits many geometries: name one"):
        build("l2lflows/small")


def test_padded_bins_reach_neither_conditions_nor_showers(bundled: VoxelShowers) -> None:
    """Training: noise in the padding is seen by the flow alone. Sampling: it is cut off."""
    names = ("energy_inc", "layer_energies", *(f"layer_{i:02d}" for i in range(12)))
    settings = {"layers.channels": (4, 4, 4), "layers.blocks": 2}
    stage = build("l2lflows/paper-calochallenge-2", overrides=settings).stages["layer_11"]
    rng = torch.Generator().manual_seed(0)
    stage.fit(ShowerQuantities(bundled[:40], names), {}, rng)
    quantities = ShowerQuantities(bundled[40:60], names).take(torch.arange(20))
    batch = stage.eval().batch(quantities, {}, rng)
    assert batch["x"].shape == (20, 1, 16, 12)
    filled = stage.voxels.inverse(batch["x"])[:, 0, :, 9:]
    assert (filled > 0).all()
    assert filled.max() < 0.015  # MeV: noise, below the threshold
    context = stage.context(quantities, {})
    assert context.shape == (20, 7, 16, 12)
    empty = stage.previous_voxels(torch.zeros(1, 5, 16, 12))[0, :, 0, 0]
    for images in (context, batch["context"]):
        assert torch.equal(images[:, :5, :, 9:], empty[:, None, None].expand(20, 5, 16, 3))
    sampled = stage.sample(quantities, {}, Seeds.of(1, range(20)), SamplingOptions())
    assert sampled["layer_11"].shape == (20, 16, 9)


# ---------------------------------------------------------------- conditioning


@pytest.mark.parametrize(
    ("noise", "mean", "std"), [("uniform", 0.25, 0.5 / 12**0.5), ("gaussian", 0.1, 0.01)]
)
def test_layer_energies_get_the_noise_of_the_configuration(
    noise: str, mean: float, std: float, bundled: VoxelShowers, generator: torch.Generator
) -> None:
    kinds = {"noise_width": 0.5, "noise_mean": 0.1, "noise_std": 0.01}
    settings = {f"energies.{name}": value for name, value in {"noise": noise, **kinds}.items()}
    stage = build("l2lflows/tiny", bundled.geometry, overrides=settings).stages["energies"]
    energies = torch.ones(200, bundled.geometry.n_layers)
    added = stage.add_noise({"layer_energies": energies}, generator)["layer_energies"] - energies
    assert float(added.mean()) == pytest.approx(mean, abs=5 * std / added.numel() ** 0.5)
    assert float(added.std()) == pytest.approx(std, rel=0.05)


def test_a_layer_learns_from_what_noise_leaves_of_energies_and_earlier_layers(
    bundled: VoxelShowers,
) -> None:
    """The conditions are those of the showers that the flow sees, not of those without noise."""
    names = ("energy_inc", "layer_energies", *(f"layer_{i:02d}" for i in range(7, 13)))
    settings = {"layers.rotation": False, "layers.reflection": False}
    stage = build("l2lflows/tiny", bundled.geometry, overrides=settings).stages["layer_12"]
    rng = torch.Generator().manual_seed(0)
    stage.fit(ShowerQuantities(bundled[:40], names), {}, rng)
    known = ShowerQuantities(bundled[40:60], names).take(torch.arange(20))
    batch = stage.batch(known, {}, rng)
    noised = stage.voxels.inverse(batch["x"][:, 0])
    read_out = torch.where(noised >= stage.threshold, noised, 0.0).sum((1, 2))
    condition = batch["context"][:, -1, 0, 0]
    torch.testing.assert_close(condition, stage.layer_energy(read_out), rtol=1e-4, atol=1e-4)
    true = known["layer_energies"][:, 12]
    has_energy = true > 0
    assert (condition != stage.layer_energy(true))[has_energy].all()
    earlier = torch.stack([known[name] for name in stage.previous], 1)
    images = batch["context"][:, : len(stage.previous)]
    assert (images > stage.previous_voxels(earlier))[earlier == 0].all()  # noise, never nothing


@pytest.fixture(scope="module")
def system(bundled: VoxelShowers) -> System:
    """With fitted transforms and weights that are not those of the start."""
    system = build("l2lflows/tiny", bundled.geometry)
    rng = torch.Generator().manual_seed(0)
    names = ("energy_inc", "layer_energies", *(f"layer_{i:02d}" for i in range(45)))
    sample = ShowerQuantities(bundled[:80], names)
    for name in ("energies", "layer_00", "layer_03", "layer_12"):
        stage = system.stages[name]
        stage.fit(sample, {}, rng)
        for weights in stage.parameters():
            weights.data += 0.05 * torch.randn(weights.shape, generator=rng)
        stage.eval()
    return system


@pytest.fixture(scope="module")
def quantities(bundled: VoxelShowers) -> dict[str, Tensor]:
    names = ("energy_inc", "layer_energies", *(f"layer_{i:02d}" for i in range(45)))
    return ShowerQuantities(bundled[100:130], names).take(torch.arange(30))


@pytest.mark.parametrize(("layer", "before"), [(0, []), (3, [0, 1, 2]), (12, [7, 8, 9, 10, 11])])
def test_a_layer_reads_up_to_five_layers_before_it(
    layer: int, before: list[int], system: System
) -> None:
    stage = system.stages[f"layer_{layer:02d}"]
    assert stage.reads == ("energy_inc", "layer_energies", *(f"layer_{i:02d}" for i in before))
    assert stage.writes == (f"layer_{layer:02d}",)


@pytest.mark.parametrize("name", ["energies", "layer_00", "layer_03", "layer_12"])
def test_context_depends_on_what_a_stage_reads_alone(
    name: str, system: System, quantities: dict[str, Tensor]
) -> None:
    stage = system.stages[name]
    read = {key: quantities[key] for key in stage.reads}
    assert torch.equal(stage.context(read, {}), stage.context(quantities, {}))
    for key in stage.reads:
        other = stage.context({**read, key: read[key].flip(0)}, {})
        assert not torch.equal(other, stage.context(read, {}))


@pytest.mark.parametrize("name", ["energies", "layer_00", "layer_12"])
def test_training_and_sampling_build_one_context(
    name: str, system: System, quantities: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without noise and rotation the context of a training batch is that of the same quantities
    in sampling."""
    stage = system.stages[name]
    seen: list[Tensor | None] = []
    decode = type(stage.flow).decode
    monkeypatch.setattr(
        type(stage.flow),
        "decode",
        lambda flow, z, context=None: seen.append(context) or decode(flow, z, context),
    )
    quiet = {"fill_median": 0.0, "noise_width": 0.0}
    if name == "energies":
        quiet = {"noise_mean": 0.0, "noise_std": 0.0}
    else:
        still = dataclasses.replace(stage.symmetry, rotation=False)
        monkeypatch.setattr(stage, "symmetry", still)
    monkeypatch.setattr(stage, "config", dataclasses.replace(stage.config, **quiet))
    rng = torch.Generator().manual_seed(0)
    batch = stage.batch(quantities, {}, rng)
    n = len(quantities["energy_inc"])
    stage.sample({k: quantities[k] for k in stage.reads}, {}, Seeds.of(1, range(n)), None)
    torch.testing.assert_close(batch["context"], seen[0], rtol=1e-5, atol=1e-5)


def test_a_batch_turns_a_layer_and_those_before_it_together(
    system: System, quantities: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = system.stages["layer_12"]
    quiet = dataclasses.replace(stage.config, fill_median=0.0, noise_width=0.0)
    monkeypatch.setattr(stage, "config", quiet)
    batch = stage.batch(quantities, {}, torch.Generator().manual_seed(0))
    before = stage.previous_voxels.inverse(batch["context"][:, :5])
    layers = torch.cat([before, stage.voxels.inverse(batch["x"])], 1)
    real = torch.stack([quantities[f"layer_{i:02d}"] for i in range(7, 13)], 1)
    angles = set()
    for turned, shower in zip(layers > 1e-3, real > 1e-3, strict=True):  # which voxels are hit
        fitting = [a for a in range(16) if torch.equal(shower.roll(a, 1), turned)]
        assert len(fitting) == 1
        angles.update(fitting)
    assert len(angles) > 5


def test_conditions_in_training_are_as_noisy_as_generated_layers(
    system: System, quantities: dict[str, Tensor]
) -> None:
    """No voxel of an earlier layer is empty: it holds the fill of 1 keV and the noise above it."""
    stage = system.stages["layer_12"]
    batch = stage.batch(quantities, {}, torch.Generator().manual_seed(0))
    before = stage.previous_voxels.inverse(batch["context"][:, :5])
    empty = torch.stack([quantities[f"layer_{i:02d}"] for i in range(7, 12)], 1) == 0
    quietest = before.flatten().sort().values[: int(empty.sum())]
    assert float(quietest[0]) > 0.1e-3
    assert float(quietest.median()) == pytest.approx(1.5e-3, rel=0.1)  # 1 keV and half a keV


def test_noise_stays_below_the_threshold_in_the_conditions(
    system: System, quantities: dict[str, Tensor]
) -> None:
    """A layer's energy is conditioned on as the read-out sees it: noise adds one keV a hit."""
    stage = system.stages["layer_12"]
    batch = stage.batch(quantities, {}, torch.Generator().manual_seed(0))
    condition = batch["context"][:, -1, 0, 0]
    energy = stage.layer_energy.inverse(condition)
    hits = (quantities["layer_12"] > 0).sum((1, 2))
    added = energy - quantities["layer_energies"][:, 12]
    assert (added > -1e-3 * energy - 1e-3).all()
    assert (added < 1e-3 * hits + 1e-3 * energy + 1e-3).all()


def test_a_round_trip_of_real_showers_in_single_precision(
    system: System, quantities: dict[str, Tensor]
) -> None:
    for name in ("energies", "layer_00", "layer_12"):
        stage = system.stages[name]
        batch = stage.batch(quantities, {}, torch.Generator().manual_seed(0))
        with torch.no_grad():
            context = stage.flow._embed(batch["context"])
            z, _ = stage.flow.bijection(batch["x"], context)
            x, _ = stage.flow.bijection.inverse(z, context)
        error = (x - batch["x"]).abs() / batch["x"].abs().clamp_min(1)
        assert float(error.quantile(0.99)) < 1e-5
        assert float(error.max()) < 1e-3
        assert not torch.allclose(z.flatten(), batch["x"].flatten(), atol=0.01)


@pytest.mark.parametrize("layer", [0, 12])
@pytest.mark.parametrize(
    ("size", "showers"),
    [
        ("paper-ild", "photons-10-100GeV_ild-30"),
        ("paper-calochallenge-3", "electrons-1-100GeV_calochallenge-3"),
    ],
)
def test_flows_of_the_paper_return_every_voxel_in_single_precision(
    size: str, showers: str, layer: int, shared_data: Path
) -> None:
    sample = read(shared_data / f"{showers}_test.h5")[:48]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        stage = LayerStage(preset(size, sample.geometry).layers, sample.geometry, layer)
    quantities = ShowerQuantities(sample, (*stage.reads, *stage.writes))
    rng = torch.Generator().manual_seed(0)
    stage.fit(quantities, {}, rng)
    for weights in stage.flow.parameters():  # couplings start as the identity: away from there
        if weights.ndim == 4:
            noise = torch.randn(weights.shape, generator=rng)
            weights.data += 0.1 * noise / weights.shape[1] ** 0.5
    x = stage.eval().batch(quantities.take(torch.arange(16)), {}, rng)
    with torch.no_grad():
        context = stage.flow._embed(x["context"])
        z, _ = stage.flow.bijection(x["x"], context)
        back, _ = stage.flow.bijection.inverse(z, context)
    assert float((back - x["x"]).abs().max()) < 1e-4
    assert float((z - x["x"].reshape(z.shape)).abs().mean()) > 0.3


# ---------------------------------------------------------------- failures


def test_a_stage_that_draws_nan_is_named(run: Path) -> None:
    system = load(run)
    next(system.stages["energies"].parameters()).data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="the stage energies sampled values"):
        system.draw([2e4], seeds=Seeds.of(1, [0]))


# ---------------------------------------------------------------- starts


@pytest.mark.parametrize("squeeze", [(2, 2), (4, 1), (2, 1)])
@pytest.mark.parametrize("seed", range(6))
def test_every_channel_meets_a_spline_in_two_blocks(squeeze: tuple[int, int], seed: int) -> None:
    """With blocks that are the identity but for one channel order each, two couplings move every
    channel of the tile."""
    torch.manual_seed(seed)
    config = dataclasses.replace(
        DATASET_3, squeeze=squeeze, down_sampling=((1, 1),), channels=(2, 2), blocks=2
    )
    chain = layer_flow(config, (16, 18), 0, cyclic=True).bijection.bijections
    channels = squeeze[0] * squeeze[1]
    place, moved = torch.arange(channels), set()
    for convolution in (chain[2], chain[5]):
        place = place[convolution.permutation]
        moved |= set(place[channels // 2 :].tolist())
    assert moved == set(range(channels))


@pytest.mark.parametrize("n_previous", [0, 3])
def test_cells_know_their_position_where_all_else_is_the_same(n_previous: int) -> None:
    """Polar bins have a border in the middle of the shower, which convolutions see."""
    assert preset("small", geometry_preset("ild-30")).layers.position
    assert not preset("small", geometry_preset("calochallenge-2")).layers.position
    context = torch.zeros(1, n_previous + 2, 30, 30)
    for position in (False, True):
        flow = layer_flow(
            dataclasses.replace(ILD, position=position), (30, 30), n_previous, cyclic=False
        )
        if position:
            flow.embedding[-1].image.data[:, 7, 7] = 1.0
        inner = flow.embedding(context)[0, :, 4:11, 4:11]  # away from the borders
        assert torch.equal(inner[:, 3, 3], inner[:, 0, 0]) is not position


@pytest.mark.parametrize(("geometry", "long"), [("ild-30", {0, 15}), ("calochallenge-2", {22})])
def test_layers_that_begin_from_nothing_train_longer(geometry: str, long: set[int]) -> None:
    """The middle one, which has no neighbour, and the first one where it learns positions alone."""
    system = build("l2lflows/small", geometry)
    epochs = [stage.recipe.epochs for name, stage in system.stages.items() if "layer" in name]
    assert {layer for layer, number in enumerate(epochs) if number == 20} == long
    assert set(epochs) == {3, 20}


def test_a_warm_start_takes_the_neighbour_over(bundled: VoxelShowers) -> None:
    """All weights of the same shape, the order of the channels too; the transforms are its own."""
    overrides = {"layers.warm_start": True, "layers.first_epochs": 9, "layers.recipe.epochs": 2}
    system = build("l2lflows/tiny", bundled.geometry, overrides=overrides)
    assert {n: s.needs for n, s in system.stages.items() if n in ("energies", "layer_22")} == {
        "energies": (),
        "layer_22": (),
    }
    assert system.stages["layer_21"].needs == ("layer_22",)
    assert system.stages["layer_23"].needs == ("layer_22",)
    assert system.stages["layer_44"].needs == ("layer_43",)
    assert system.stages["layer_22"].recipe.epochs == 9
    assert system.stages["layer_21"].recipe.epochs == 2
    for layer, needed in ((23, 22), (0, 1)):
        stage, neighbour = (system.stages[f"layer_{i:02d}"] for i in (layer, needed))
        assert stage.needs == (f"layer_{needed:02d}",)
        for weights in neighbour.parameters():
            weights.data += 0.1
        sample = ShowerQuantities(bundled[:60], (*stage.reads, *stage.writes))
        stage.fit(sample, {stage.needs[0]: neighbour}, torch.Generator().manual_seed(0))
        mine, theirs = stage.flow.state_dict(), neighbour.flow.state_dict()
        equal = {key for key in mine.keys() & theirs.keys() if mine[key].shape == theirs[key].shape}
        assert all(torch.equal(mine[key], theirs[key]) for key in equal)
        assert any("permutation" in key for key in equal)
        assert len(equal) > 0.8 * len(mine)
        largest = float(bundled[:60].dense()[:, layer].max())
        assert stage.state()["voxels"]["0"]["maximum"] == pytest.approx(largest)


@pytest.mark.parametrize(
    ("squeeze", "down_sampling"), [((3, 1), ((1, 3), (1, 1))), ((2, 1), ((3, 1), (1, 1)))]
)
def test_tiles_that_do_not_divide_a_layer_are_refused(
    squeeze: tuple[int, int], down_sampling: tuple[tuple[int, int], ...]
) -> None:
    config = dataclasses.replace(DATASET_3, squeeze=squeeze, down_sampling=down_sampling)
    with pytest.raises(ValueError, match="do not divide its 16"):
        layer_flow(config, (16, 9), 0, cyclic=True)


def test_presets_are_for_showers_of_any_regular_geometry() -> None:
    for geometry in ("calochallenge-2", "calochallenge-3", "ild-30"):
        for size in ("small", "tiny"):
            shape = geometry_preset(geometry).shape
            config = preset(size, geometry_preset(geometry)).layers
            x = torch.randn(2, 1, *shape[1:])
            flow = layer_flow(config, shape[1:], 2, cyclic=geometry != "ild-30").eval()
            context = torch.randn(2, 4, *shape[1:])
            assert flow.log_prob(x, context).shape == (2,)
            assert flow.sample(2, context).shape == x.shape
