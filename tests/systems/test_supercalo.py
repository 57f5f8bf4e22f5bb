"""SuperCalo: published sizes and preprocessing, permutations, the flow of coarse voxels."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from caloforge.cascade import SamplingOptions, ShowerQuantities, Stage, System, build
from caloforge.cascade.seeds import Seeds
from caloforge.flows import Flow, Permutation, SplineMADE
from caloforge.geometry import geometry_preset
from caloforge.showers import VoxelShowers
from caloforge.systems.supercalo.coarse import CoarseStage, blocks
from caloforge.systems.supercalo.presets import FIXED_GEOMETRIES, preset
from caloforge.systems.supercalo.upsample import UpsampleStage
from caloforge.units import GeV, MeV, keV

COARSE = "coarse_5x2x1"
DATASET_2 = geometry_preset("calochallenge-2")
EMPTY = math.log(1e-6 / (1 - 1e-6))  # the logit of nothing


@pytest.fixture(scope="module")
def published() -> dict[str, System]:
    """The presets of the paper, without memory for their weights."""
    with torch.device("meta"):
        return {size: build(f"supercalo/{size}") for size in ("paper", "paper-b")}


def flow_of(stage: Stage) -> Flow:
    return stage.shares.flow if isinstance(stage, UpsampleStage) else stage.flow


# ---------------------------------------------------------------- published sizes (tables I, II)


def test_the_flows_have_the_published_parameters(published: dict[str, System]) -> None:
    chain = published["paper"].n_parameters
    assert chain == {"energies": 2_752_600, "coarse": 84_167_424, "upsample": 545_584}
    assert sum(chain.values()) == 87_465_608
    other = published["paper-b"].n_parameters
    assert (other["energies"], other["upsample"]) == (2_752_600, 621_728)


@pytest.mark.parametrize(
    ("size", "stage", "sizes"),
    [
        # base dimension, conditions, hidden layers, their width, MADE outputs, tail bound
        ("paper", "energies", (45, 1, 1, 256, 1035, 14)),
        ("paper", "coarse", (648, 10, 1, 648, 14904, 6)),
        ("paper", "upsample", (10, 31, 2, 128, 230, 14)),
        ("paper-b", "upsample", (12, 57, 2, 128, 276, 14)),
    ],
)
def test_every_block_is_that_of_table_2(
    size: str, stage: str, sizes: tuple[int, ...], published: dict[str, System]
) -> None:
    flow = flow_of(published[size].stages[stage])
    masked = [module for module in flow.modules() if isinstance(module, SplineMADE)]
    assert len(masked) == 8
    assert flow.shape == (sizes[0],)
    for block in masked:
        made, spline = block.made, block.spline
        found = (
            block.features,
            made.context.in_features,
            len(made.hidden),
            made.first.out_features,
            made.last.out_features,
            spline.bound,
        )
        assert found == sizes
        assert (spline.bins, spline.minimum) == (8, 1e-6)


@pytest.mark.parametrize(
    ("factors", "layer_energies", "conditions"),
    [
        ((5, 2, 1), "fine", 31),
        ((5, 2, 1), "coarse", 27),
        ((1, 4, 3), "fine", 57),
        ((1, 4, 3), "coarse", 57),
    ],
)
def test_the_upsampling_has_as_many_conditions_as_the_paper(
    factors: tuple[int, ...], layer_energies: str, conditions: int, bundled: VoxelShowers
) -> None:
    """31 and 57 of table I; 27 with one coarse layer energy for five fine ones (section III A)."""
    settings = {"upsample.factors": factors, "upsample.layer_energies": layer_energies}
    settings |= {"upsample.shares": "relative", "upsample.kind": "coupling"}
    stage = build("supercalo/tiny", DATASET_2, overrides=settings).stages["upsample"]
    sample = ShowerQuantities(bundled[:20], stage.reads)
    stage.fit(sample, {}, torch.Generator())
    known = sample.all()
    context = stage.context({**known, "noised": known[stage.own]}, {})
    assert context.shape == (int((known[stage.own] > 0).sum()), conditions)
    first = next(m for m in flow_of(stage).modules() if isinstance(m, torch.nn.Linear))
    assert first.in_features == conditions + stage.coarsening.n_fine // 2
    assert ("layer_energies" in stage.reads) is (layer_energies == "fine")


@pytest.mark.parametrize(("shares", "passes"), [("relative", 8), ("hits", 8 + 10)])
def test_couplings_take_one_pass_a_block(
    shares: str, passes: int, published: dict[str, System]
) -> None:
    """Where a masked flow takes one for each feature of each block, and bits one each."""
    masked = published["paper"].sequential_passes
    assert masked == {"energies": 8 * 45, "coarse": 8 * 648, "upsample": 8 * 10}
    with torch.device("meta"):
        system = build("supercalo/coupling", overrides={"upsample.shares": shares})
    coupling = system.sequential_passes
    assert (coupling["coarse"], coupling["upsample"]) == (8, passes)


# ---------------------------------------------------------------- presets


@pytest.mark.parametrize(("size", "fixed"), FIXED_GEOMETRIES.items())
def test_a_preset_of_a_data_set_is_for_its_own_voxels(size: str, fixed: str) -> None:
    with pytest.raises(ValueError, match=f"{size} is for the voxels of {fixed}, got ild"):
        build(f"supercalo/{size}", "ild-30")


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="no preset 'supercalo/huge'; there are small, small-b"):
        build("supercalo/huge", "ild-30")


@pytest.mark.parametrize("size", ["small", "small-b", "tiny"])
@pytest.mark.parametrize("geometry", ["calochallenge-2", "calochallenge-3", "ild-30"])
def test_a_small_preset_divides_any_regular_geometry(size: str, geometry: str) -> None:
    config = preset(size, geometry_preset(geometry)).upsample
    shape = geometry_preset(geometry).shape
    assert all(n % factor == 0 for n, factor in zip(shape, config.factors, strict=True))
    assert 1 < math.prod(config.factors) < math.prod(shape)
    assert (config.factors[0] == 1) is (size == "small-b")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"upsample.factors": (4, 2, 1)}, "do not divide .* along axis 0 take a divisor of 45"),
        ({"upsample.factors": (5, 2, 2)}, "along axis 2 take a divisor of 9"),
        ({"upsample.factors": (5, 2)}, "upsample.factors"),
        ({"coarse": None}, "give both, or null for both"),
        ({"energies": None}, "give both, or null for both"),
        ({"upsample": None}, "upsample"),
        ({"coarse.kind": "convolutional"}, "coarse.kind"),
        ({"upsample.layer_energies": "both"}, "upsample.layer_energies"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("supercalo/tiny", DATASET_2, overrides=settings)


def test_a_density_is_refused(bundled: VoxelShowers) -> None:
    """The fractions of a coarse voxel sum to one."""
    system = build("supercalo/tiny", bundled.geometry)
    with pytest.raises(ValueError, match="supercalo has no density: coarse, upsample give none"):
        system.log_prob(bundled[:2])


def test_the_preset_of_dataset_3_is_the_coupling_chain_with_coarser_voxels() -> None:
    with torch.device("meta"):
        system = build("supercalo/calochallenge-3")
        other = build("supercalo/coupling")
    assert system.coarsening.shape == (15, 10, 9)
    assert system.config.energies == other.config.energies
    assert system.config.coarse == other.config.coarse
    # 60,000 coarse voxels a step, as in the paper
    assert system.config.upsample.recipe.batch_size * system.coarsening.n_coarse == 44 * 1350


# ---------------------------------------------------------------- permutations


def orders(stage: Stage) -> list[Tensor]:
    """The permutations between the blocks of a flow, of which there is none after the last."""
    stack = flow_of(stage).bijection
    if isinstance(stage, CoarseStage):
        stack = stack.bijections[1]  # after the order of the first block
    is_order = [isinstance(module, Permutation) for module in stack.bijections]
    assert is_order == [False, True] * (len(is_order) // 2) + [False]
    return [module.order for module in list(stack.bijections)[1::2]]


@pytest.mark.parametrize("kind", ["masked", "coupling"])
def test_flows_alternate_reverse_and_random_permutations(kind: str) -> None:
    settings = {
        "energies.orders": ("reverse", "random"),
        "coarse.kind": kind,
        "upsample.kind": kind,
        "upsample.shares": "relative" if kind == "masked" else "hits",
        "coarse.hidden": 4,
        "upsample.blocks": 7,
    }
    first, other = (build("supercalo/tiny", DATASET_2, seed=s, overrides=settings) for s in (1, 2))
    for name, stage in first.stages.items():
        mine, theirs = orders(stage), orders(other.stages[name])
        assert len(mine) == stage.config.blocks - 1
        identity = torch.arange(len(mine[0]))
        for i, order in enumerate(mine):
            assert torch.equal(order.sort().values, identity)
            assert torch.equal(order, identity.flip(0)) is (i % 2 == 0)
            assert torch.equal(order, theirs[i]) is (i % 2 == 0)
        random = mine[1::2]
        assert len({tuple(order.tolist()) for order in random}) == len(random)
        # saved with the weights: those of another seed bring their permutations along
        state = stage.state_dict()
        assert sum(torch.equal(o, value) for o in random for value in state.values()) >= len(random)
        other.stages[name].load_state_dict(state)
        assert all(map(torch.equal, orders(other.stages[name]), mine))


def test_the_coarse_flow_sees_layer_then_radius_then_alpha() -> None:
    """Coarse voxels are counted (layer, alpha, r), 8 bins of alpha and 9 of r."""
    stage = build("supercalo/tiny", DATASET_2, overrides={"coarse.hidden": 4}).stages["coarse"]
    seen, _ = stage.flow.bijection.bijections[0](torch.arange(648.0)[None])
    expected = [72 * z + 9 * alpha + r for z in range(9) for r in range(9) for alpha in range(8)]
    assert seen[0].tolist() == expected


# ---------------------------------------------------------------- preprocessing (appendix B)


def with_maximum(stage: Stage, transform: str, maximum: float) -> Stage:
    """A stage of which a transform divides by this energy."""
    stage.get_submodule(transform).load_state({"0": {"maximum": maximum}, "1": {}})
    return stage


def test_incident_energies_are_logarithms_around_their_middle() -> None:
    """B1: 1 GeV to 1 TeV is -1.5 to 1.5."""
    system = build("supercalo/tiny", DATASET_2)
    energies = torch.tensor([1 * GeV, 10**4.5 * MeV, 1000 * GeV])
    expected = torch.tensor([-1.5, 0.0, 1.5])
    for stage in system.stages.values():
        torch.testing.assert_close(stage.energy_inc(energies), expected)


def test_layer_energies_of_flow_1(generator: torch.Generator) -> None:
    """B2, B3: up to 5 keV of uniform noise, over 65 GeV, logit with alpha = 1e-6."""
    config = preset("paper", DATASET_2).energies
    settings = {f"energies.{k}": v for k, v in dataclasses.asdict(config).items() if k != "recipe"}
    stage = build("supercalo/tiny", DATASET_2, overrides=settings).stages["energies"]
    with_maximum(stage, "layer_energies", 65 * GeV)
    energies = torch.tensor([0.0, 32.5, 16.25, 65.0]).repeat(500, 12)[:, :45] * GeV
    x = stage.batch({"energy_inc": energies[:, 1], "layer_energies": energies}, {}, generator)["x"]
    expected = torch.tensor([0.0, -math.log(3)])
    torch.testing.assert_close(x[0, 1:3], expected, atol=1e-5, rtol=0)
    noise = stage.layer_energies.inverse(x[:, ::4].double()) / keV  # of empty layers
    assert noise.min() >= -0.1
    assert float(noise.max()) == pytest.approx(5, abs=0.1)
    assert float(noise.mean()) == pytest.approx(2.5, abs=0.1)
    assert x[:, ::4].min() >= EMPTY - 1e-4


def test_coarse_voxels_of_flow_2(generator: torch.Generator) -> None:
    """B4: log10 of the energy, with up to 5 keV of noise, over the largest, plus 6."""
    stage = with_maximum(coarse_stage(), "voxels", 28_048 * MeV)
    voxels = torch.zeros(200, 648)
    voxels[:, :3] = torch.tensor([28_048.0, 28.048, 0.28048]) * MeV
    x = stage.batch(known(voxels), {}, generator)["x"]
    torch.testing.assert_close(x[0, :2], torch.tensor([6.0, 3.0]), atol=1e-4, rtol=0)
    assert x[:, 2].min() >= 1 - 1e-5
    assert x[:, 2].max() <= 6 + math.log10(0.28548 / 28_048)
    noise = 28_048 * 10 ** (x[:, 3:] - 6) / keV
    assert 0 <= noise.min() < 0.01
    assert 4.99 < noise.max() < 5.001


def test_coarse_layers_of_flow_2() -> None:
    """B5: a quarter of log10 of the energy in MeV, with the mean noise of its 72 coarse voxels; a
    fine layer below the threshold, 15 keV, counts as none."""
    stage = with_maximum(coarse_stage(), "voxels", 28_048 * MeV)
    layers = torch.zeros(1, 45)
    layers[0, :5] = 2000 * MeV
    layers[0, 5:10] = torch.tensor([0.02, 0.014, 0.014, 0.014, 0.0]) * MeV
    quantities = {"energy_inc": torch.tensor([1e5]), "layer_energies": layers}
    mean_noise = 72 * 2.5 * keV
    sums = torch.tensor([10_000 * MeV, 20 * keV, *[0.0] * 7]) + mean_noise
    expected = torch.cat([torch.tensor([0.5]), sums.log10() / 4])
    torch.testing.assert_close(stage.context(quantities, {})[0], expected)
    assert float(expected[1]) == pytest.approx(1, abs=1e-5)


def coarse_stage(**settings: object) -> CoarseStage:
    """FLOW-2 with the preprocessing of the paper and few weights."""
    quiet = {"coarse.rotation": False, "coarse.reflection": False, "coarse.hidden": 4}
    stage = build("supercalo/tiny", DATASET_2, overrides={**quiet, **settings}).stages["coarse"]
    assert isinstance(stage, CoarseStage)
    return stage


def known(voxels: Tensor) -> dict[str, Tensor]:
    n = len(voxels)
    return {
        "energy_inc": torch.full((n,), 1e5),
        "layer_energies": torch.ones(n, 45),
        COARSE: voxels,
    }


# ---------------------------------------------------------------- the flow of coarse voxels


def test_normalisations_are_those_of_the_training_sample(bundled: VoxelShowers) -> None:
    system = build("supercalo/tiny", bundled.geometry)
    sample = bundled[:60]
    for stage in system.stages.values():
        stage.fit(ShowerQuantities(sample, (*stage.reads, *stage.writes)), {}, torch.Generator())
    largest = sample.coarsen(system.coarsening).energy.max()
    layer = sample.layer_energies().max()
    stages = {name: stage.state() for name, stage in system.stages.items()}
    width = system.config.coarse.noise_width
    assert stages["coarse"]["voxels"]["0"]["maximum"] == pytest.approx(largest + width)
    assert stages["upsample"]["coarse"]["0"]["maximum"] == pytest.approx(largest)
    assert stages["energies"]["layer_energies"]["0"]["maximum"] == pytest.approx(layer)
    assert stages["upsample"]["layer_energies"]["0"]["maximum"] == pytest.approx(layer)


def test_coarse_showers_are_turned_and_mirrored_at_random(
    bundled: VoxelShowers, generator: torch.Generator
) -> None:
    """Around the axis alone, each in its own way; what is conditioned on stays."""
    settings = {"coarse.rotation": True, "coarse.reflection": True, "coarse.noise_width": 0.0}
    stage = coarse_stage(**settings)
    sample = ShowerQuantities(bundled[:60], (*stage.reads, *stage.writes))
    stage.fit(ShowerQuantities(bundled, (*stage.reads, *stage.writes)), {}, generator)
    quantities = sample.all()
    batch = stage.batch(quantities, {}, generator)
    assert torch.equal(batch["context"], stage.context(quantities, {}))
    seen = set()
    augmented = stage.voxels.inverse(batch["x"]).reshape(-1, 9, 8, 9)
    for shower, turned in zip(quantities[COARSE].reshape(-1, 9, 8, 9), augmented, strict=True):
        fitting = [
            (angle, mirrored)
            for angle in range(8)
            for mirrored in (False, True)
            if torch.allclose(
                (shower.flip(1) if mirrored else shower).roll(angle, 1), turned, rtol=1e-4
            )
        ]
        assert len(fitting) == 1
        seen.update(fitting)
    assert len(seen) > 10
    off = coarse_stage(**{"coarse.noise_width": 0.0})
    off.load_state(stage.state())
    plain = off.voxels.inverse(off.batch(quantities, {}, generator)["x"])
    torch.testing.assert_close(plain, quantities[COARSE], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rescaled", ["none", "hits", "voxels"])
def test_coarse_voxels_get_the_energy_of_their_layers_if_asked(
    rescaled: str, bundled: VoxelShowers, generator: torch.Generator
) -> None:
    stage = coarse_stage(**{"coarse.rescale": rescaled}).eval()
    sample = ShowerQuantities(bundled[:60], (*stage.reads, *stage.writes))
    stage.fit(sample, {}, generator)
    quantities = {name: sample.all()[name] for name in stage.reads}
    exact = {}
    for postprocess in (True, False):
        options = SamplingOptions(postprocess=postprocess)
        sampled = stage.sample(quantities, {}, Seeds.of(1, range(60)), options)[COARSE]
        assert not ((sampled > 0) & (sampled < stage.threshold * (1 - 1e-6))).any()
        layers, wanted = sampled.reshape(-1, 9, 72).sum(2), stage.layers(quantities)
        hit = layers > 0
        exact[postprocess] = bool(torch.allclose(layers[hit], wanted[hit], rtol=1e-5))
    assert exact == {True: rescaled != "none", False: False}


def test_blocks_start_as_the_identity_but_for_their_permutations() -> None:
    config = preset("paper", DATASET_2).upsample
    x = torch.randn(5, 10)
    z, log_det = blocks(config, 10, 3)(x, torch.randn(5, 3))
    torch.testing.assert_close(z.sort(1).values, x.sort(1).values, atol=1e-4, rtol=0)
    torch.testing.assert_close(log_det, torch.zeros(5), atol=1e-3, rtol=0)
