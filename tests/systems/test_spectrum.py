"""Post-processing of L2LFlows: the voxel spectrum, rejected layer energies."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import caloforge as cf
from caloforge.cascade import SamplingOptions
from caloforge.cascade.seeds import Seeds
from caloforge.showers import VoxelShowers
from caloforge.stages.spectrum import SpectrumFit, SpectrumMap
from caloforge.training import RunFolder

# ---------------------------------------------------------------- voxel spectrum


def spectrum_map(
    sampled: np.ndarray, geant4: np.ndarray, threshold: float = 0.1, bins: int = 128
) -> SpectrumMap:
    fitted = SpectrumMap(SpectrumFit(bins=bins), threshold)
    fitted.fit_energies(sampled, geant4, np.random.default_rng(0))
    return fitted


def test_the_spectrum_map_of_a_power_law_is_known() -> None:
    """Pareto tails E^-a above the threshold: P(E) = 1 - (E / t)^-a, so f(E) = t (E / t)^(a / b)."""
    threshold, a, b = 0.1, 2.0, 1.6
    quantiles = (np.arange(200_000) + 0.5) / 200_000
    sampled, geant4 = (threshold * (1 - quantiles) ** (-1 / power) for power in (a, b))
    fitted = spectrum_map(sampled, geant4, threshold)
    energy = torch.tensor([0.05, 0.1, 0.2, 0.5, 1.0, 3.0])
    expected = torch.where(energy < threshold, 0.0, threshold * (energy / threshold) ** (a / b))
    torch.testing.assert_close(fitted(energy), expected, rtol=2e-3, atol=0)


def test_without_a_threshold_the_map_keeps_nothing_where_it_is() -> None:
    """A spectrum of half the energies is mapped onto its double, below and above all means too."""
    sampled = np.random.default_rng(2).lognormal(size=20_000)
    fitted = spectrum_map(sampled, 2 * sampled, threshold=0.0)
    energy = torch.tensor([0.0, 1e-4, 0.3, 1.0, 5.0, 1e3, torch.nan])
    torch.testing.assert_close(fitted(energy), 2 * energy, rtol=0.05, atol=0, equal_nan=True)


def test_the_map_of_a_sample_onto_itself_is_the_identity(bundled: VoxelShowers) -> None:
    energies = bundled[:300].energy
    threshold = bundled.geometry.threshold
    mapped = spectrum_map(energies, energies, threshold)(torch.from_numpy(energies))
    np.testing.assert_allclose(mapped.numpy(), energies, rtol=1e-4)


def test_a_distorted_spectrum_is_mapped_back(bundled: VoxelShowers) -> None:
    """On showers that were not fitted, as close as two halves of Geant4."""
    threshold = bundled.geometry.threshold
    parts = [bundled[i : i + 500].energy.astype(np.float64) for i in (0, 500, 1000)]
    geant4, fitted_on, new = parts
    fitted_on, new = (threshold * (e / threshold) ** 1.05 for e in (fitted_on, new))
    fitted = spectrum_map(fitted_on, geant4, threshold)
    mapped = fitted(torch.from_numpy(new)).numpy()
    before, after = (stats.ks_2samp(geant4, e).statistic for e in (new, mapped))
    assert before > 0.02
    assert after < 0.006


def test_the_map_is_monotone_and_stays_above_the_threshold(bundled: VoxelShowers) -> None:
    sampled, geant4 = bundled[:20].energy ** 1.2, bundled[20:40].energy
    fitted = spectrum_map(sampled, geant4, bundled.geometry.threshold)
    energy = torch.logspace(-3, 7, 20_000, dtype=torch.float64)  # far beyond the largest sampled
    mapped = fitted(energy)
    assert (mapped.diff() >= 0).all()
    assert torch.isfinite(mapped).all()
    assert not ((mapped > 0) & (mapped < bundled.geometry.threshold * (1 - 1e-6))).any()


def test_the_state_of_a_map_is_plain_numbers(bundled: VoxelShowers) -> None:
    fitted = spectrum_map(bundled[:20].energy ** 1.1, bundled[20:40].energy)
    other = SpectrumMap(SpectrumFit(), fitted.threshold)
    assert not other.is_fitted
    other.load_state(json.loads(json.dumps(fitted.state())))
    energy = torch.logspace(-1, 3, 100)
    assert other.is_fitted
    assert torch.equal(other(energy), fitted(energy))


def test_a_map_needs_hits() -> None:
    with pytest.raises(ValueError, match="got 0 sampled and 2 of Geant4"):
        spectrum_map(np.array([0.01]), np.array([1.0, 2.0]))


# ---------------------------------------------------------------- the run folder


@pytest.fixture(scope="module")
def calibrated(run: Path, slab: VoxelShowers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained run with a spectrum map, which resuming fits."""
    folder = tmp_path_factory.mktemp("runs") / "calibrated"
    shutil.copytree(run, folder)
    text = (folder / "config.yaml").read_text()
    assert text.count("spectrum: null") == 1
    (folder / "config.yaml").write_text(
        text.replace("spectrum: null", "spectrum: {showers: 200, bins: 32}")
    )
    with pytest.raises(ValueError, match=r"1 of 6 stages are missing \(spectrum\)"):
        cf.load(folder)
    seen = []
    system = RunFolder(folder).build()
    cf.train(system, slab, run=folder, seed=4, resume=True, progress=seen.append)
    assert [p.stage for p in seen] == ["spectrum", "spectrum"]
    assert [(p.step, p.steps, p.finished) for p in seen] == [(100, 200, False), (200, 200, True)]
    return folder


def test_a_run_keeps_its_calibration(calibrated: Path, run: Path, slab: VoxelShowers) -> None:
    """Loaded from the folder alone; it changes the spectrum and nothing else."""
    system, plain = cf.load(calibrated), cf.load(run)
    mapped, before = (s.generate(slab.energy_inc[:50], seed=1) for s in (system, plain))
    assert np.array_equal(mapped.index, before.index)
    expected = system.stages["spectrum"](torch.from_numpy(before.energy)).numpy()
    np.testing.assert_allclose(mapped.energy, expected, rtol=1e-5)
    assert not np.allclose(mapped.energy, before.energy, rtol=0.01)
    raw, raw_before = (
        s.generate(slab.energy_inc[:50], seed=1, options=SamplingOptions(postprocess=False))
        for s in (system, plain)
    )
    assert np.array_equal(raw.energy, raw_before.energy)


def test_rescaling_behind_the_map_keeps_the_layer_energies(
    calibrated: Path, run: Path, slab: VoxelShowers, tmp_path: Path
) -> None:
    """Those that were sampled, to which the showers without a map are scaled too."""
    shutil.copytree(calibrated, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    text = config.read_text()
    assert text.count("spectrum: {showers: 200, bins: 32}") == 1
    config.write_text(text.replace("bins: 32}", "bins: 32, rescale: true}"))
    once, twice, plain = (
        cf.load(r).generate(slab.energy_inc[:50], seed=1)
        for r in (calibrated, tmp_path / "run", run)
    )
    wanted = plain.layer_energies()
    np.testing.assert_allclose(twice.layer_energies(), wanted, rtol=1e-5)
    assert not np.allclose(once.layer_energies(), wanted, rtol=0.01)


def test_the_spectrum_map_brings_the_spectrum_closer(
    calibrated: Path, run: Path, slab: VoxelShowers
) -> None:
    new = slab.energy_inc[200:]
    mapped, before = (cf.load(r).generate(new, seed=5) for r in (calibrated, run))
    distances = [stats.ks_2samp(slab.energy, s.energy).statistic for s in (before, mapped)]
    assert distances[0] > 0.05  # a tiny flow after two epochs
    assert distances[1] < 0.4 * distances[0]


def test_a_fitted_calibration_is_not_fitted_again(calibrated: Path, slab: VoxelShowers) -> None:
    kept = calibrated / "stages" / "spectrum" / "transforms.json"
    before = kept.read_bytes()
    seen = []
    system = RunFolder(calibrated).build()
    cf.train(system, slab, run=calibrated, seed=4, resume=True, progress=seen.append)
    assert seen == []
    assert kept.read_bytes() == before
    assert system.stages["spectrum"].is_fitted


# ---------------------------------------------------------------- rejected layer energies


def test_layer_energies_above_the_limit_are_drawn_anew(run: Path, slab: VoxelShowers) -> None:
    quantities = {"energy_inc": torch.full((200,), float(np.quantile(slab.energy_inc, 0.8)))}
    stage = cf.load(run).stages["energies"]

    def draw(largest: float | None) -> dict[str, torch.Tensor]:
        stage.config = dataclasses.replace(stage.config, largest_ratio=largest)
        with torch.no_grad():
            return stage.sample(quantities, {}, Seeds.of(3, range(200)), SamplingOptions())

    before = draw(None)
    ratio = before["layer_energies"].sum(1) / quantities["energy_inc"]
    largest = float(ratio.quantile(0.8))
    after = draw(largest)
    new_ratio = after["layer_energies"].sum(1) / quantities["energy_inc"]
    rejected = ratio > largest
    assert "rejected" not in before
    assert int(rejected.sum()) == 40
    assert (new_ratio <= largest).all()
    assert torch.equal(after["rejected"] > 0, rejected)
    kept = ~rejected
    assert torch.equal(after["layer_energies"][kept], before["layer_energies"][kept])
    with pytest.raises(FloatingPointError, match="200 of 200 showers still deposit"):
        draw(0.0)


def test_rejected_draws_are_counted_in_the_file(
    run: Path, slab: VoxelShowers, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    text = config.read_text()
    assert "largest_ratio: null" in text
    energies = np.full(60, np.quantile(slab.energy_inc, 0.8))
    free = cf.load(run).generate(energies, seed=2)
    limit = float(np.quantile(free.total_energy() / free.energy_inc, 0.7))
    config.write_text(text.replace("largest_ratio: null", f"largest_ratio: {limit}"))
    system = cf.load(tmp_path / "run")
    file = cf.generate(system, energies, seed=2, output=tmp_path / "fake.h5")
    assert system.n_rejected > 0
    with cf.open_showers(file) as showers:
        assert showers.attributes["n_rejected"] == system.n_rejected
        ratio = showers[:].total_energy() / showers.energy_inc
    assert ratio.max() <= limit * (1 + 1e-5)
    cf.generate(cf.load(run), energies, seed=2, output=tmp_path / "free.h5")
    with cf.open_showers(tmp_path / "free.h5") as showers:
        assert "n_rejected" not in showers.attributes
