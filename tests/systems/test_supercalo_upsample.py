"""The superresolution of SuperCalo: shares, energy conservation, resampling, any coarse shower."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import caloforge as cf
from caloforge.cascade import Quantities, SamplingOptions, ShowerQuantities, System, build
from caloforge.cascade.seeds import Seeds
from caloforge.flows import BernoulliMADE, Flow
from caloforge.showers import VoxelShowers
from caloforge.systems.supercalo.upsample import UpsampleStage
from caloforge.units import MeV, keV

A, B = (5, 2, 1), (1, 4, 3)
FEW_WEIGHTS = {"blocks": 2, "hidden": 12, "kind": "coupling", "shares": "relative"}
SETTINGS = {
    "A": {"factors": A},
    "A, coarse layers": {"factors": A, "layer_energies": "coarse"},
    "A, hits": {"factors": A, "shares": "hits"},
    "A, masked": {"factors": A, "kind": "masked"},
    "B": {"factors": B},
}
CHOICES = pytest.mark.parametrize("choice", SETTINGS)
RELATIVE = pytest.mark.parametrize("choice", [c for c in SETTINGS if "hits" not in c])


def disturbed(system: System, showers: VoxelShowers) -> System:
    """Fitted, with weights away from those of the start."""
    rng = torch.Generator().manual_seed(3)
    for stage in system.stages.values():
        stage.fit(ShowerQuantities(showers, (*stage.reads, *stage.writes)), {}, rng)
        for weights in stage.parameters():
            weights.data += 0.2 * torch.randn(weights.shape, generator=rng)
        stage.eval().requires_grad_(False)
    return system


@pytest.fixture(scope="module")
def systems(bundled: VoxelShowers) -> dict[str, System]:
    """Upsampling alone, whose fine voxels get the energy of their coarse one."""
    alone = {"energies": None, "coarse": None}
    made = {}
    for choice, settings in SETTINGS.items():
        chosen = {**FEW_WEIGHTS, "rescale": "voxels", **settings}
        overrides = {**alone, **{f"upsample.{name}": value for name, value in chosen.items()}}
        system = build("supercalo/tiny", bundled.geometry, overrides=overrides)
        made[choice] = disturbed(system, bundled[:80])
    return made


def upsampling(system: System) -> UpsampleStage:
    stage = system.stages["upsample"]
    assert isinstance(stage, UpsampleStage)
    return stage


def quantities(system: System, showers: VoxelShowers) -> Quantities:
    stage = upsampling(system)
    return ShowerQuantities(showers, ("layer_energies", *stage.reads, *stage.writes)).all()


def same(a: VoxelShowers, b: VoxelShowers) -> bool:
    columns = ("energy_inc", "offset", "index", "energy")
    return all(np.array_equal(getattr(a, c), getattr(b, c)) for c in columns)


def coarse_of(system: System, showers: VoxelShowers) -> np.ndarray:
    return showers.coarsen(system.coarsening).dense().reshape(len(showers), -1)


def test_a_whole_system_upsamples_the_coarse_showers_that_it_is_given(
    bundled: VoxelShowers, supercalo_run: Path
) -> None:
    """It samples coarse showers itself as well, but not here."""
    system = cf.load(supercalo_run)
    assert list(system.stages) == ["energies", "coarse", "upsample"]
    known = coarse_of(system, bundled[:8])
    (sampled,) = system.upsample([bundled[:8]], seed=1)
    assert not coarse_of(system, sampled)[known == 0].any()


# ---------------------------------------------------------------- shares (B6, B8, B9)


@CHOICES
def test_what_is_trained_on_is_what_is_sampled(
    choice: str,
    systems: dict[str, System],
    bundled: VoxelShowers,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A flow that sampled the training batch gives the fine voxels back within their noise."""
    stage = upsampling(systems[choice])
    known = {k: v.double() for k, v in quantities(systems[choice], bundled[:40]).items()}
    batch = stage.batch(known, {}, generator)
    monkeypatch.setattr(Flow, "decode", lambda flow, z, context: batch["x"])
    monkeypatch.setattr(BernoulliMADE, "decode", lambda bits, uniform, context: batch["hits"])
    options = SamplingOptions(postprocess=False)
    read = {name: known[name] for name in stage.reads}
    sampled = stage.sample(read, {}, Seeds.of(1, range(40)), options)["showers"]
    if choice == "A, hits":
        torch.testing.assert_close(sampled, known["showers"], rtol=1e-6, atol=1e-9)
    else:
        torch.testing.assert_close(sampled, known["showers"], rtol=1e-3, atol=2 * keV)
        assert float((sampled - known["showers"]).mean()) < 0.1 * keV


@RELATIVE
def test_the_noise_of_a_coarse_voxel_is_that_of_its_fine_ones(
    choice: str, systems: dict[str, System], bundled: VoxelShowers, generator: torch.Generator
) -> None:
    """Share times coarse voxel, both with noise: up to 0.1 keV on each fine voxel, and on the
    coarse one their sum."""
    stage = upsampling(systems[choice])
    known = {k: v.double() for k, v in quantities(systems[choice], bundled[:40]).items()}
    fine = known["showers"].flatten(1)[:, stage.fine_index]
    known[stage.own] = fine.sum(2)  # not rounded to single precision
    batch = stage.batch(known, {}, generator)
    fine = fine[known[stage.own] > 0]
    shares = stage.shares.logit.inverse(batch["x"])
    torch.testing.assert_close(shares.sum(1), torch.ones(len(shares)).double(), rtol=1e-9, atol=0)
    noised = stage.coarse.inverse(batch["context"][:, 1])
    noise = (shares * noised[:, None] - fine) / keV
    assert -1e-3 < noise.min() < 1e-2
    assert 0.099 < noise.max() < 0.101
    assert float(noise.mean()) == pytest.approx(0.05, rel=0.02)
    torch.testing.assert_close(noise.sum(1) * keV, noised - fine.sum(1), rtol=0, atol=1e-9)


def test_neighbours_and_layers_have_no_noise(
    systems: dict[str, System], bundled: VoxelShowers, generator: torch.Generator
) -> None:
    stage = upsampling(systems["A"])
    known = quantities(systems["A"], bundled[:10])
    noisy = stage.batch(known, {}, generator)["context"]
    exact = stage.context({**known, "noised": known[stage.own]}, {})
    assert not torch.equal(noisy[:, 1], exact[:, 1])
    assert torch.equal(noisy[:, 2:], exact[:, 2:])
    assert torch.equal(noisy[:, 0], exact[:, 0])


def test_sampling_adds_the_noise_of_training_to_the_coarse_voxels(
    systems: dict[str, System], bundled: VoxelShowers, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = upsampling(systems["A"])
    known = quantities(systems["A"], bundled[:40])
    seen: list[Tensor] = []
    decode = Flow.decode
    monkeypatch.setattr(
        Flow, "decode", lambda flow, z, context: seen.append(context) or decode(flow, z, context)
    )
    stage.sample(known, {}, Seeds.of(0, range(40)), SamplingOptions())
    (context,) = seen
    coarse = known[stage.own]
    noise = (stage.coarse.inverse(context[:, 1].double()) - coarse[coarse > 0]) / keV
    quiet = coarse[coarse > 0] < 1 * MeV  # where rounding is no noise of its own
    assert float(noise[quiet].mean()) == pytest.approx(10 * 0.05, rel=0.05)
    assert float(noise[quiet].std()) == pytest.approx(0.1 * math.sqrt(10 / 12), rel=0.1)


# ---------------------------------------------------------------- energy conservation


@CHOICES
@pytest.mark.parametrize("rescaled", ["none", "hits", "voxels"])
@pytest.mark.parametrize("postprocess", [True, False])
def test_fine_voxels_share_the_energy_of_their_coarse_voxel(
    choice: str,
    rescaled: str,
    postprocess: bool,
    systems: dict[str, System],
    bundled: VoxelShowers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To rounding where all voxels are rescaled, else as well as the flow knows."""
    system = systems[choice]
    stage, given = upsampling(system), bundled[80:100]
    monkeypatch.setattr(stage, "config", dataclasses.replace(stage.config, rescale=rescaled))
    options = SamplingOptions(postprocess=postprocess)
    (sampled,) = system.upsample([given], seed=1, options=options)
    wanted, found = coarse_of(system, given), coarse_of(system, sampled)
    hit = wanted > 0
    assert wanted[hit].min() >= stage.threshold
    assert not found[~hit].any()
    assert float(sampled.energy.min()) >= np.float32(stage.threshold)
    error = np.abs(found[hit] / wanted[hit] - 1)
    if postprocess and rescaled == "voxels":
        assert error.max() < 1e-5
    elif postprocess and rescaled == "hits":
        # exact, unless the flow gave no voxel enough to be a hit
        assert np.minimum(error, 1 - error).max() < 1e-5
        assert np.median(error) < 1e-5
    else:
        assert np.quantile(error, 0.7) > 1e-4


def test_hits_share_all_energy_before_the_threshold(
    systems: dict[str, System], bundled: VoxelShowers, generator: torch.Generator
) -> None:
    stage = upsampling(systems["A, hits"])
    known = quantities(systems["A, hits"], bundled[80:100])
    options = SamplingOptions(postprocess=False)
    sampled = stage.sample(known, {}, Seeds.of(1, range(20)), options)["showers"]
    fine = sampled.flatten(1)[:, stage.fine_index]
    torch.testing.assert_close(fine.sum(2), known[stage.own], rtol=1e-5, atol=1e-6)
    empty = (fine == 0).double().mean(2)[known[stage.own] > 0]
    assert 0 < float(empty.mean()) < 0.9
    assert float(empty.max()) <= 0.9  # one of ten is hit at least


@CHOICES
def test_the_flow_sees_no_empty_coarse_voxel(
    choice: str,
    systems: dict[str, System],
    bundled: VoxelShowers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows: list[int] = []
    decode = Flow.decode
    monkeypatch.setattr(
        Flow, "decode", lambda flow, z, context: rows.append(len(z)) or decode(flow, z, context)
    )
    system, given = systems[choice], bundled[80:90]
    list(system.upsample([given], seed=1))
    n_hits = np.count_nonzero(coarse_of(system, given))
    assert sum(rows) == n_hits
    assert 0 < n_hits < 0.8 * 10 * system.coarsening.n_coarse


@CHOICES
def test_a_shower_without_energy_stays_without(choice: str, systems: dict[str, System]) -> None:
    system = systems[choice]
    empty = VoxelShowers([1e4, 2e4], [0, 0, 0], [], [], system.geometry)
    (sampled,) = system.upsample([empty], seed=1)
    assert np.array_equal(sampled.energy_inc, [1e4, 2e4])
    assert len(sampled.energy) == 0


# ---------------------------------------------------------------- memory, batches, resampling


@pytest.mark.parametrize("choice", ["A", "A, masked"])
def test_the_memory_budget_changes_no_shower(
    choice: str,
    systems: dict[str, System],
    bundled: VoxelShowers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows: list[int] = []
    decode = Flow.decode
    monkeypatch.setattr(
        Flow, "decode", lambda flow, z, context: rows.append(len(z)) or decode(flow, z, context)
    )
    system = systems[choice]
    low = np.argsort(bundled.energy_inc)[:2]
    given, sampled, at_once = bundled[low], [], []
    for budget in (1, 1 << 17, 1 << 30):
        rows.clear()
        options = SamplingOptions(memory_budget=budget)
        sampled += [shower.dense() for shower in system.upsample([given], seed=1, options=options)]
        at_once.append(max(rows))
    n_hits = np.count_nonzero(coarse_of(system, given))
    assert (at_once[0], at_once[2]) == (1, n_hits)
    assert 1 < at_once[1] < n_hits
    for other in sampled[1:]:
        assert np.array_equal(other > 0, sampled[0] > 0)
        np.testing.assert_allclose(other, sampled[0], rtol=1e-3)


@pytest.mark.parametrize(("name", "value"), [("memory_budget", 0), ("resample", 0)])
def test_impossible_options_are_refused(
    name: str, value: int, systems: dict[str, System], bundled: VoxelShowers
) -> None:
    message = f"cannot take {name}=0: expected a whole number, 1 or more"
    with pytest.raises(ValueError, match=message):
        systems["A"].upsample([bundled[:1]], seed=1, options={name: value})


@CHOICES
def test_resampled_showers_share_their_coarse_voxels(
    choice: str, systems: dict[str, System], bundled: VoxelShowers
) -> None:
    """n x M showers, those of one coarse shower after each other, each with its own fine ones."""
    system, given = systems[choice], bundled[80:84]
    (sampled,) = system.upsample([given], seed=1, options=SamplingOptions(resample=3))
    assert len(sampled) == 12
    assert np.array_equal(sampled.energy_inc, given.energy_inc.repeat(3))
    coarse = coarse_of(system, given).repeat(3, 0)
    np.testing.assert_allclose(coarse_of(system, sampled), coarse, rtol=1e-5, atol=1e-6)
    dense = sampled.dense()
    for group in dense.reshape(4, 3, -1):
        for i, other in ((0, 1), (0, 2), (1, 2)):
            hit = (group[i] > 0) | (group[other] > 0)
            assert np.isclose(group[i], group[other])[hit].mean() < 0.5


def test_one_draw_of_the_coarse_stages_is_resampled(supercalo_run: object) -> None:
    system = cf.load(supercalo_run)
    energies = np.array([5e3, 8e4], dtype=np.float32)
    once = system.generate(energies, seed=1)
    thrice = system.generate(energies, seed=1, options=SamplingOptions(resample=3))
    assert np.array_equal(thrice.energy_inc, energies.repeat(3))
    expected = coarse_of(system, once).repeat(3, 0)
    np.testing.assert_allclose(coarse_of(system, thrice), expected, rtol=1e-5, atol=1e-6)
    assert len({shower.tobytes() for shower in thrice.dense()}) == 6


def test_a_system_without_coarse_showers_resamples_and_upsamples_nothing(
    bundled: VoxelShowers,
) -> None:
    system = build("l2lflows/tiny", bundled.geometry)
    with pytest.raises(ValueError, match="l2lflows offers no choice of resample"):
        system.generate([1e4], seed=1, options=SamplingOptions(resample=2))
    with pytest.raises(ValueError, match="samples showers of particles: it upsamples none"):
        cf.upsample(system, bundled[:2], seed=1)


# ---------------------------------------------------------------- any coarse shower


@pytest.mark.parametrize("choice", ["A, coarse layers", "B"])
def test_coarse_showers_are_as_good_as_the_fine_ones_they_are_made_of(
    choice: str, systems: dict[str, System], bundled: VoxelShowers
) -> None:
    """Nothing of a fine shower reaches the flow but what its coarse voxels say."""
    system, fine = systems[choice], bundled[80:86]
    coarse = fine.coarsen(system.coarsening)
    sampled = [list(system.upsample(showers.batches(4), seed=1)) for showers in (fine, coarse)]
    assert [len(batch) for batch in sampled[0]] == [4, 2]
    for mine, theirs in zip(*sampled, strict=True):
        np.testing.assert_allclose(mine.dense(), theirs.dense(), rtol=1e-3, atol=1e-6)


def test_the_layers_of_choice_b_are_the_sums_of_its_coarse_voxels(
    systems: dict[str, System], bundled: VoxelShowers
) -> None:
    system, fine = systems["B"], bundled[80:90]
    known = system._known(fine.coarsen(system.coarsening))
    layers = torch.from_numpy(fine.layer_energies())
    torch.testing.assert_close(known["layer_energies"], layers.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("choice", ["A, coarse layers", "B"])
def test_another_system_draws_the_coarse_showers(
    choice: str, systems: dict[str, System], bundled: VoxelShowers
) -> None:
    """L2LFlows on the coarse voxels: their energies are those of the fine showers."""
    system = systems[choice]
    geometry = system.coarsening.geometry
    settings = {"layers.blocks": 2, "layers.channels": (4, 6), "layers.warm_start": False}
    settings |= {"layers.squeeze": (2, 1), "layers.down_sampling": ((2, 3),)}
    other = build("l2lflows/tiny", geometry, overrides=settings)
    sample = bundled[:60].coarsen(system.coarsening)
    for stage in other.stages.values():
        known = ShowerQuantities(sample, (*stage.reads, *stage.writes))
        stage.fit(known, {}, torch.Generator().manual_seed(0))
    energies = np.array([5e3, 2e4, 8e4], dtype=np.float32)
    sampled = cf.upsample(system, other, energies, seed=1, batch_size=2)
    assert sampled.geometry == system.geometry
    assert np.array_equal(sampled.energy_inc, energies)
    expected = other.generate(energies, seed=1, batch_size=2).dense().reshape(3, -1)
    np.testing.assert_allclose(coarse_of(system, sampled), expected, rtol=1e-5, atol=1e-6)
    assert expected.any(1).all()


def test_a_batch_of_coarse_showers_knows_nothing_of_the_others(
    systems: dict[str, System], bundled: VoxelShowers
) -> None:
    system, given = systems["B"], bundled[80:86]
    batches = list(system.upsample(given.batches(2), seed=1))
    assert same(next(system.upsample([given[4:]], seed=1, first=4)), batches[2])
    assert not same(next(system.upsample([given[4:]], seed=1)), batches[2])
    assert not same(next(system.upsample([given[4:]], seed=2, first=4)), batches[2])


def test_showers_that_do_not_fit_are_refused(
    systems: dict[str, System], bundled: VoxelShowers
) -> None:
    of_b = bundled[:2].coarsen(systems["B"].coarsening)
    with pytest.raises(ValueError, match="calochallenge-2-1x4x3 are neither in the coarse voxels"):
        list(systems["A"].upsample([of_b], seed=1))
    of_a = bundled[:2].coarsen(systems["A"].coarsening)
    with pytest.raises(ValueError, match=r"no energies of fine layers.*layer_energies=coarse"):
        list(systems["A"].upsample([of_a], seed=1))
    for system in systems.values():
        with pytest.raises(ValueError, match=r"the stage upsample needs coarse_.* coarse showers"):
            system.generate([1e4], seed=1)


def test_either_coarse_showers_or_a_system_with_energies(
    systems: dict[str, System], bundled: VoxelShowers
) -> None:
    system = systems["B"]
    with pytest.raises(ValueError, match="takes coarse showers, which have their energy_inc, or"):
        cf.upsample(system, bundled[:2], [1e4, 2e4], seed=1)
    with pytest.raises(ValueError, match="takes coarse showers, which have their energy_inc, or"):
        cf.upsample(system, system, seed=1)
