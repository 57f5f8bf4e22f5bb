"""The particle gun: spectra have their densities, guns point at the detector."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from caloforge.simulation import EnergySpectrum, Fixed, Gun, LogUniform, Uniform

SPECTRA = [Fixed(5e4), Uniform(1e4, 1e5), LogUniform(1e3, 1e6)]


@pytest.mark.parametrize("spectrum", SPECTRA, ids=str)
def test_mean_is_the_mean_of_what_is_sampled(
    spectrum: EnergySpectrum, rng: np.random.Generator
) -> None:
    sampled = spectrum.sample(20_000, rng)
    error = sampled.std() / np.sqrt(len(sampled))
    assert abs(sampled.mean() - spectrum.mean) <= 4 * error


def test_log_uniform_is_flat_in_the_logarithm(rng: np.random.Generator) -> None:
    sampled = LogUniform(1e3, 1e6).sample(5000, rng)
    assert stats.kstest(np.log10(sampled), stats.uniform(3, 3).cdf).pvalue > 1e-3
    assert stats.kstest(sampled, stats.uniform(1e3, 999e3).cdf).pvalue < 1e-10


def test_uniform_is_flat(rng: np.random.Generator) -> None:
    sampled = Uniform(1e4, 1e5).sample(5000, rng)
    assert stats.kstest(sampled, stats.uniform(1e4, 9e4).cdf).pvalue > 1e-3


@pytest.mark.parametrize("spectrum", SPECTRA, ids=str)
def test_text_of_a_spectrum_reads_back(spectrum: EnergySpectrum) -> None:
    assert EnergySpectrum.parse(str(spectrum)) == spectrum


def test_exponents_and_plain_numbers_are_energies() -> None:
    assert EnergySpectrum.parse("loguniform:1e3:1e6") == LogUniform(1000.0, 1_000_000.0)
    assert EnergySpectrum.parse("5e4") == Fixed(50_000.0)


@pytest.mark.parametrize("text", ["", "flat:1:2", "loguniform:1e3", "uniform:a:b", "fixed:1:2"])
def test_another_text_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"in MeV, got"):
        EnergySpectrum.parse(text)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (2.0, 1.0), (1.0, np.inf), (np.nan, 1.0)])
def test_a_spectrum_needs_a_range(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="0 < low < high"):
        LogUniform(*bounds)
    with pytest.raises(ValueError, match="0 < low < high"):
        Uniform(*bounds)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_fixed_energy_is_positive(value: float) -> None:
    with pytest.raises(ValueError, match="positive energy"):
        Fixed(value)


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 0, 1), (0.3, -0.8, 0.1), (-5, 2, 3)])
def test_transverse_axes_are_perpendicular_to_the_direction(
    direction: tuple[float, float, float],
) -> None:
    gun = Gun("e-", Fixed(1e3), direction=direction)
    x, y = gun.transverse_axes()
    frame = np.stack([x, y, np.asarray(gun.direction)])
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(frame) == pytest.approx(1.0)
    np.testing.assert_allclose(np.cross(gun.direction, direction), 0.0, atol=1e-12)


def test_straight_ahead_the_transverse_axes_are_the_detectors() -> None:
    x, y = Gun("e-", Fixed(1e3)).transverse_axes()
    assert x.tolist() == [1.0, 0.0, 0.0]
    assert y.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"particle": "pi+"}, "e-, e\\+, gamma, got 'pi\\+'"),
        ({"position": (0, 0, 1)}, "before the front face"),
        ({"position": (0, 0)}, "three finite numbers"),
        ({"direction": (0, 0, -1)}, "into the detector"),
        ({"direction": (0, 0, np.nan)}, "three finite numbers"),
    ],
)
def test_a_gun_that_cannot_hit_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gun(**{"particle": "e-", "energy": Fixed(1e3), **change})  # type: ignore[arg-type]


def test_importing_the_room_imports_neither_geant4_nor_torch() -> None:
    code = "import sys, caloforge.simulation; print({'calzone', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
