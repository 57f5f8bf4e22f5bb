"""The density of showers: exact against autograd, normalised, and of use."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import caloforge as cf
from caloforge.cascade import Quantities, ShowerQuantities, Stage, System, build
from caloforge.geometry import PolarLayer
from caloforge.preprocessing import FillNoise
from caloforge.showers import VoxelShowers
from caloforge.stages.energies import EnergyStage
from caloforge.systems.l2lflows.stages import LayerStage

# particles of any energy are asked for
pytestmark = pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning")

LAYERS = slice(16, 19)


def without_autograd(system: System) -> System:
    for stage in system.stages.values():
        stage.requires_grad_(False)
    return system


def disturbed(system: System, showers: VoxelShowers) -> System:
    """Fitted, in double precision, with weights away from those of the start."""
    rng = torch.Generator().manual_seed(3)
    sample = ShowerQuantities(showers, names(system))
    for name, stage in system.stages.items():
        stage.fit(sample, system.upstream(name), rng)
        for weights in stage.parameters():
            weights.data += 0.1 * torch.randn(weights.shape, generator=rng)
        stage.double().eval()
    return system


def names(system: System) -> tuple[str, ...]:
    return ("energy_inc", *(name for stage in system.stages.values() for name in stage.writes))


def noised(system: System, showers: VoxelShowers, seed: int = 0) -> Quantities:
    """Quantities of all showers in double precision, one sample of the noise included."""
    sample = ShowerQuantities(showers, names(system)).take(torch.arange(len(showers)))
    quantities = {name: values.double() for name, values in sample.items()}
    rng = torch.Generator().manual_seed(seed)
    for stage in system.stages.values():
        quantities = stage.add_noise(quantities, rng)
    return quantities


@pytest.fixture(scope="module")
def coarse(bundled: VoxelShowers) -> VoxelShowers:
    """600 bundled showers in three layers of 4 x 2 voxels."""
    dense = bundled[:600].dense()[:, LAYERS].reshape(600, 3, 4, 4, 9).sum(3)
    dense = np.stack([dense[..., 0], dense[..., 1:].sum(-1)], -1)
    whole = bundled.geometry
    geometry = dataclasses.replace(
        whole,
        name="coarse",
        layers=(PolarLayer((0.0, 4.65, 41.85), 4),) * 3,
        z=whole.z[LAYERS],
        layer_ids=whole.layer_ids[LAYERS],
    )
    return VoxelShowers.from_dense(bundled.energy_inc[:600], dense, geometry)


@pytest.fixture(scope="module", params=["tiny", "maf"])
def flows(request: pytest.FixtureRequest, coarse: VoxelShowers) -> System:
    """Of both kinds."""
    settings: dict[str, object] = {"layers.warm_start": False, "layers.blocks": 2}
    if request.param == "tiny":
        settings["layers.channels"] = (4, 4)
    system = build(f"l2lflows/{request.param}", coarse.geometry, overrides=settings)
    return without_autograd(disturbed(system, coarse))


@pytest.fixture(scope="module")
def run(
    coarse: VoxelShowers, small: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Trained on 400 of the showers, long enough to know the correlations of layer energies."""
    folder = tmp_path_factory.mktemp("runs") / "coarse"
    settings = {**small, "energies.recipe.epochs": 20, "energies.recipe.batch_size": 32}
    system = build("l2lflows/tiny", coarse.geometry, seed=1, overrides=settings)
    cf.train(system, coarse[:400], run=folder, seed=1)
    return folder


@pytest.fixture(scope="module")
def trained(run: Path) -> System:
    return without_autograd(cf.load(run))


# ---------------------------------------------------------------- the density of one sample


def test_the_joint_density_is_that_of_autograd(flows: System, coarse: VoxelShowers) -> None:
    """log N(z) + log |det dz/dx|, all 27 energies x of a shower in one Jacobian: the layer energies
    and earlier layers that a layer is conditioned on included."""
    quantities = noised(flows, coarse[:2])
    written = names(flows)[1:]
    sizes = [quantities[name][0].numel() for name in written]
    for shower in range(2):
        one = {name: values[shower : shower + 1] for name, values in quantities.items()}

        def latent(x: Tensor, one: Quantities = one) -> Tensor:
            parts = {
                name: part.reshape(one[name].shape)
                for name, part in zip(written, x.split(sizes), strict=True)
            }
            seen, z = {**one, **parts}, []
            for stage in flows.stages.values():
                if isinstance(stage, EnergyStage):
                    own = stage.layer_energies(seen["layer_energies"])
                else:
                    own = stage.voxels(seen[stage.own])[:, None]
                context = stage.context(seen, {})
                if stage.flow.embedding is not None:
                    context = stage.flow.embedding(context)
                z.append(stage.flow.bijection(own, context)[0].flatten())
            return torch.cat(z)

        x = torch.cat([one[name].flatten() for name in written])
        jacobian = torch.autograd.functional.jacobian(latent, x)
        log_normal = -0.5 * (latent(x).square() + math.log(2 * math.pi)).sum()
        expected = log_normal + torch.linalg.slogdet(jacobian).logabsdet
        rng = torch.Generator()
        density = sum(stage.log_prob(one, {}, rng) for stage in flows.stages.values())
        torch.testing.assert_close(density[0], expected, rtol=1e-9, atol=1e-9)
        assert len(x) == 27


def test_the_density_of_a_layer_energy_integrates_to_one(coarse: VoxelShowers) -> None:
    """In MeV, for a calorimeter of one layer and flows away from the identity."""
    dense = coarse.dense()[:, :1]
    geometry = dataclasses.replace(
        coarse.geometry, layers=coarse.geometry.layers[:1], z=coarse.geometry.z[:1], layer_ids=(0,)
    )
    showers = VoxelShowers.from_dense(coarse.energy_inc, dense, geometry)
    system = without_autograd(disturbed(build("l2lflows/tiny", geometry), showers))
    stage = system.stages["energies"]
    highest = showers.layer_energies().max()
    # even in the logit, as the density peaks at both ends
    share = torch.sigmoid(torch.linspace(-13.8, 13.8, 40_001, dtype=torch.float64))
    energies = highest * (share - 1e-6) / (1 - 2e-6)
    energies = energies[(energies > 0) & (energies < highest)]
    found = []
    for energy_inc in (2e3, 5e4):
        quantities = {
            "energy_inc": torch.full_like(energies, energy_inc),
            "layer_energies": energies[:, None],
        }
        found.append(stage.log_prob(quantities, {}, torch.Generator()).exp())
        assert float(torch.trapezoid(found[-1], energies)) == pytest.approx(1, abs=1e-3)
    distance = float(torch.trapezoid((found[0] - found[1]).abs(), energies))
    assert distance > 0.01  # they are not the same


def test_the_density_of_a_voxel_integrates_to_that_of_the_others(coarse: VoxelShowers) -> None:
    """Before training the voxels are independent Gaussians after the transform: what the integral
    over one leaves is the product of the other seven."""
    stage = build("l2lflows/tiny", coarse.geometry).stages["layer_00"].double().eval()
    assert isinstance(stage, LayerStage)
    sample = ShowerQuantities(coarse, (*stage.reads, *stage.writes))
    stage.voxels.fit(lambda: (q["layer_00"] for q in sample.batches()))
    maximum = stage.voxels.state()["0"]["maximum"]
    energies = torch.linspace(math.log(1e-9), 0, 4_001, dtype=torch.float64).exp() * maximum
    energies = torch.cat([torch.zeros(1, dtype=torch.float64), energies])
    one = {name: values.double() for name, values in sample.take(torch.arange(1)).items()}
    many = {name: v.expand(len(energies), *v.shape[1:]).clone() for name, v in one.items()}
    many["layer_00"][:] = many["layer_00"] + 1e-3
    many["layer_00"][:, 2, 1] = energies
    with torch.no_grad():
        density = stage.log_prob(many, {}, torch.Generator()).exp()
    others = many["layer_00"][0].flatten()[torch.arange(8) != 5]
    z = stage.voxels(others)
    log_others = -0.5 * (z.square() + math.log(2 * math.pi)) + stage.voxels.log_slope(others)
    integral = float(torch.trapezoid(density, energies).log())
    assert integral == pytest.approx(float(log_others.sum()), abs=1e-3)


def test_padded_bins_count_as_the_noise_that_they_hold(bundled: VoxelShowers) -> None:
    """Their noise in the flow's density, its own density divided out: a density of 144 voxels."""
    settings = {"layers.channels": (4, 4, 4), "layers.blocks": 2}
    system = build("l2lflows/paper-calochallenge-2", overrides=settings)
    stage = system.stages["layer_01"]
    assert isinstance(stage, LayerStage)
    sample = ShowerQuantities(bundled[:40], (*stage.reads, *stage.writes))
    stage.fit(sample, {}, torch.Generator().manual_seed(0))
    quantities = sample.take(torch.arange(10))
    own = stage.add_noise(quantities, torch.Generator().manual_seed(1))
    seen: list[Tensor] = []
    taken = stage.flow.log_prob
    stage.flow.log_prob = lambda x, context: (seen.append(x), taken(x, context))[1]
    with torch.no_grad():
        density = stage.eval().log_prob(own, {}, torch.Generator().manual_seed(2))
        x = seen[0].double()
        log_flow = taken(seen[0], stage.context(own, {})).double()
    voxels = stage.voxels.inverse(x)[:, 0]
    torch.testing.assert_close(voxels[..., :9], own["layer_01"].double(), rtol=1e-4, atol=1e-6)
    padding = voxels[..., 9:]
    assert 0 < float(padding.min()) < float(padding.max()) < 0.015
    noise = FillNoise(1e-3, 0.2, 1e-3)
    slope = stage.voxels.log_slope(voxels).sum((1, 2))
    expected = log_flow + slope - noise.log_prob(padding).sum((1, 2))
    torch.testing.assert_close(density, expected, rtol=1e-5, atol=0.01)


def test_what_the_flows_cannot_draw_has_no_density(flows: System, coarse: VoxelShowers) -> None:
    """The largest voxel and layer energy of the training sample have one; twice as much has not."""
    dense = coarse.dense()
    layer = int(coarse.layer_energies().max(0).argmax())
    for factor, expected in ((1.0, True), (2.0, False)):
        largest = int(coarse.layer_energies()[:, layer].argmax())
        showers = VoxelShowers.from_dense(
            coarse.energy_inc[[largest]], factor * dense[[largest]], coarse.geometry
        )
        quantities = noised(flows, showers)
        for name in ("energies", f"layer_{layer:02d}"):
            density = flows.stages[name].log_prob(quantities, {}, torch.Generator())
            assert bool(torch.isfinite(density)) == expected
            assert expected or float(density) == -math.inf


# ---------------------------------------------------------------- the average over the noise


def test_single_precision_is_enough(trained: System, coarse: VoxelShowers) -> None:
    rng = torch.Generator().manual_seed(5)
    quantities = ShowerQuantities(coarse[:50], names(trained)).take(torch.arange(50))
    for stage in trained.stages.values():
        quantities = stage.add_noise(quantities, rng)
    exact = {name: values.double() for name, values in quantities.items()}
    for name, stage in trained.stages.items():
        single = stage.log_prob(quantities, {}, rng)
        double = stage.double().log_prob(exact, {}, rng)
        stage.float()
        assert float((single - double).abs().max()) < 0.05, name


def test_the_average_is_that_of_the_bare_density(trained: System, coarse: VoxelShowers) -> None:
    """The control variate leaves the mean as it is: against samples without it."""
    showers = coarse[:6]
    quantities = ShowerQuantities(showers, names(trained)).take(torch.arange(6))
    rng = torch.Generator().manual_seed(0)
    bare = []
    for _ in range(25):
        filled = quantities
        for stage in trained.stages.values():
            filled = stage.add_noise(filled, rng)
        bare.append(sum(stage.log_prob(filled, {}, rng) for stage in trained.stages.values()))
    values = torch.stack(bare).numpy()
    density = trained.log_prob(showers, noise_samples=25)
    error = np.hypot(values.std(0) / 25**0.5, density.error)
    assert (np.abs(density.total - values.mean(0)) < 4 * error).all()
    assert (error < 2).all()


def test_a_flow_that_has_learned_the_noise_leaves_no_scatter(
    trained: System, coarse: VoxelShowers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its density of empty showers is that of the noise: every sample gives minus its entropy."""
    nothing = VoxelShowers.from_dense([1e4], np.zeros((1, 3, 4, 2)), coarse.geometry)

    def perfect(stage: Stage, quantities: Quantities, upstream: object, rng: object) -> Tensor:
        return stage.entry_noise().log_prob(quantities[stage.writes[0]].double()).flatten(1).sum(1)

    for kind in (EnergyStage, LayerStage):
        monkeypatch.setattr(kind, "log_prob", perfect)
    density = trained.log_prob(nothing, noise_samples=5)
    assert density.error[0] < 1e-6
    of_layers = 3 * -0.5 * math.log(2 * math.pi * math.e * 0.2e-3**2)
    of_voxels = 3 * 8 * -FillNoise(1e-3, 0.2, 1e-3).entropy()
    assert density.total[0] == pytest.approx(of_layers + of_voxels, rel=1e-6)
    assert sum(density.sparse.values())[0] == pytest.approx(0, abs=1e-4)


def test_the_error_is_the_scatter_of_the_average(trained: System, coarse: VoxelShowers) -> None:
    densities = [trained.log_prob(coarse[:15], noise_samples=4, seed=seed) for seed in range(12)]
    scatter = np.std([density.total for density in densities], axis=0, ddof=1)
    claimed = np.sqrt(np.mean([density.error**2 for density in densities], axis=0))
    assert np.sqrt(np.mean((scatter / claimed) ** 2)) == pytest.approx(1, abs=0.25)
    assert np.isnan(trained.log_prob(coarse[:3], noise_samples=1).error).all()


def test_the_noise_is_one_number_an_empty_voxel_or_layer(
    trained: System, coarse: VoxelShowers
) -> None:
    density = trained.log_prob(coarse[:30], noise_samples=1)
    empty = (coarse[:30].dense() == 0).sum((2, 3))
    of_voxel = -FillNoise(1e-3, 0.2, 1e-3).entropy()
    for layer in range(3):
        expected = of_voxel * empty[:, layer]
        np.testing.assert_allclose(density.noise[f"layer_{layer:02d}"], expected)
    of_layer = -0.5 * math.log(2 * math.pi * math.e * 0.2e-3**2)
    np.testing.assert_allclose(
        density.noise["energies"], of_layer * (coarse[:30].layer_energies() == 0).sum(1)
    )
    for name in trained.stages:
        difference = density.stages[name] - density.noise[name]
        np.testing.assert_array_equal(density.sparse[name], difference)
    np.testing.assert_allclose(density.total, sum(density.stages.values()))


def test_a_seed_gives_the_same_densities(trained: System, coarse: VoxelShowers) -> None:
    first, again, other = (
        trained.log_prob(coarse[:30], noise_samples=2, seed=s) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.total, again.total)
    assert (first.total != other.total).all()


def test_showers_keep_their_density_in_other_company(trained: System, coarse: VoxelShowers) -> None:
    """In another order and in batches of another size: the same but for the noise."""
    order = np.random.default_rng(0).permutation(40)
    whole = trained.log_prob(coarse[:40], noise_samples=12)
    shuffled = trained.log_prob(coarse[order], noise_samples=12, seed=1, batch_size=13)
    error = np.hypot(whole.error[order], shuffled.error)
    pull = (shuffled.total - whole.total[order]) / error
    assert np.abs(pull).max() < 6
    assert pull.std() == pytest.approx(1, abs=0.3)
    # with the same noise, exactly
    quantities = noised(trained, coarse[:40])
    quantities = {name: values.float() for name, values in quantities.items()}
    turned = {name: values[order] for name, values in quantities.items()}
    for stage in trained.stages.values():
        density = stage.log_prob(quantities, {}, torch.Generator())
        permuted = stage.log_prob(turned, {}, torch.Generator())
        torch.testing.assert_close(permuted, density[order], rtol=1e-5, atol=1e-2)


def test_looking_changes_no_weights_and_no_global_state(
    trained: System, coarse: VoxelShowers
) -> None:
    before = {n: w.clone() for s in trained.stages.values() for n, w in s.state_dict().items()}
    state = torch.get_rng_state()
    trained.log_prob(coarse[:10], noise_samples=1)
    after = {n: w for s in trained.stages.values() for n, w in s.state_dict().items()}
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(torch.get_rng_state(), state)


# ---------------------------------------------------------------- physics


def spoiled(showers: VoxelShowers, how: str) -> VoxelShowers:
    energies, dense = showers.energy_inc, showers.dense()
    if how == "layers in another order":
        dense = dense[:, [2, 0, 1]]
    elif how == "layers of other showers":
        dense = np.stack([np.roll(dense[:, i], i, axis=0) for i in range(3)], 1)
    else:
        energies = energies * (2 if how == "twice the energy" else 0.5)
    return VoxelShowers.from_dense(energies, dense, showers.geometry)


@pytest.mark.parametrize(
    "how",
    ["layers in another order", "layers of other showers", "twice the energy", "half the energy"],
)
def test_real_showers_are_likelier_than_spoiled_ones(
    how: str, trained: System, coarse: VoxelShowers
) -> None:
    """Their layer energies, that is: four standard deviations above a coin's heads of 200."""
    real = trained.log_prob(coarse[400:], noise_samples=2).stages["energies"]
    other = trained.log_prob(spoiled(coarse[400:], how), noise_samples=2).stages["energies"]
    assert (real > other).mean() > 0.65


# ---------------------------------------------------------------- wrong input


def test_showers_of_another_geometry_are_refused(trained: System, bundled: VoxelShowers) -> None:
    with pytest.raises(
        ValueError, match="are of calochallenge-2, the system samples those of coarse"
    ):
        trained.log_prob(bundled[:2])


def test_impossible_arguments_are_refused(trained: System, coarse: VoxelShowers) -> None:
    for wrong in ({"noise_samples": 0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="must be 1 or more"):
            trained.log_prob(coarse[:2], **wrong)
    with pytest.raises(ValueError, match="no showers"):
        trained.log_prob(coarse[:0])


def test_stages_without_density_are_named(bundled: VoxelShowers) -> None:
    system = build("calodream/tiny", bundled.geometry)
    with pytest.raises(ValueError, match="calodream has no density: energies, shape"):
        system.log_prob(bundled[:2])


def test_a_stage_whose_training_diverged_is_named(coarse: VoxelShowers, run: Path) -> None:
    system = without_autograd(cf.load(run))
    next(system.stages["layer_02"].parameters()).data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="the stages layer_02 give densities"):
        system.log_prob(coarse[:2], noise_samples=1)
