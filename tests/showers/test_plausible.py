"""Energies in another unit than MeV are noticed, wherever they come in."""

from __future__ import annotations

import copy
import dataclasses
import warnings

import numpy as np
import pytest

import caloforge as cf
from caloforge import data
from caloforge.geometry import geometry_preset, geometry_presets, official_sample
from caloforge.showers import ImpossibleShowerError, UnitsWarning, check_units


def told(name, energies, deposited=None, **changes):
    """What is said of energies in a geometry."""
    geometry = dataclasses.replace(geometry_preset(name), **changes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_units("sample", geometry, np.asarray(energies, np.float32), deposited)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("name", geometry_presets())
@pytest.mark.parametrize(
    ("unit", "size"), [("GeV", 1e-3), ("keV", 1e3), ("TeV", 1e-6), ("eV", 1e6)]
)
def test_the_official_spectrum_in_another_unit_is_noticed(name, unit, size):
    low, high = official_sample(geometry_preset(name)).energy_range
    spectrum = np.geomspace(low, high, 101)
    assert told(name, spectrum) == []
    (text,) = told(name, size * spectrum)
    assert text.endswith(f"are they in {unit}?")


@pytest.mark.parametrize("energy", [1.0, 50.0])
def test_one_energy_in_gev_is_noticed(energy):
    (text,) = told("calochallenge-2", [energy])
    assert f"{energy:.4g} to {energy:.4g} MeV lie far outside the 1000 to 1e+06 MeV of" in text
    assert text.endswith("are they in GeV?")
    assert told("calochallenge-2", [1e3 * energy]) == []


def test_some_beyond_the_usual_range_are_no_other_unit():
    assert told("ild-30", np.geomspace(2e3, 2e5, 50)) == []
    assert told("calochallenge-2", [200.0]) == []
    assert told("calochallenge-2", [*np.full(99, 5e4), 1.0]) == []  # one stray
    elsewhere = tuple(1.1 * depth for depth in geometry_preset("calochallenge-2").z)
    assert told("calochallenge-2", [1.0], z=elsewhere) == []  # a detector without such a sample
    assert told("calochallenge-2", []) == []


def test_deposits_many_times_the_incident_energies_are_noticed(bundled):
    energies, deposits = bundled.energy_inc, bundled.total_energy()
    assert told("calochallenge-2", energies, deposits) == []
    (text,) = told("calochallenge-2", energies, 1e3 * deposits)
    ratio = 1e3 * deposits.sum() / energies.sum(dtype=np.float64)
    assert f"showers deposit {ratio:.3g} times their incident energy" in text


@pytest.fixture(scope="module")
def in_gev(bundled):
    """The Geant4 electrons as if their incident energies were in GeV."""
    return dataclasses.replace(bundled, energy_inc=bundled.energy_inc / 1e3)[:200]


@pytest.mark.parametrize("layout", ["sparse", "calochallenge"])
def test_a_file_in_gev_is_noticed_once_when_it_is_read(layout, in_gev, tmp_path):
    data.write(tmp_path / "a.h5", in_gev, layout=layout)
    with data.open_showers(tmp_path / "a.h5") as file:
        said = r"a\.h5: incident .*are they in GeV\? And .*times their incident energy"
        with pytest.warns(UnitsWarning, match=said) as caught:
            sizes = [len(batch) for batch in file.batches(50)]
        assert sizes == [50] * 4
        assert len(caught) == 1


@pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning")
@pytest.mark.filterwarnings("ignore::caloforge.evaluation.SharedShowersWarning")
def test_showers_in_gev_are_noticed_in_training_and_evaluation(in_gev, tmp_path):
    tiny = cf.build("l2lflows/tiny", in_gev.geometry)
    with (
        pytest.warns(UnitsWarning, match=r"training sample: .*are they in GeV\?"),
        pytest.raises(ValueError, match="no stage nothing"),
    ):
        cf.train(tiny, in_gev, run=tmp_path / "run", stages=["nothing"])
    with (
        pytest.warns(UnitsWarning, match=r"(Geant4|same): .*are they in GeV\?"),
        pytest.raises(ValueError, match="threshold"),  # before anything is computed
    ):
        cf.evaluate(in_gev, {"same": in_gev}, metrics=["wasserstein"], threshold=-1.0)


def test_an_error_of_a_shower_passes_between_processes():
    error = ImpossibleShowerError(3, ", voxel 5: energy must be finite")
    assert str(copy.copy(error)) == str(error)
    assert str(error.counted_from(100)) == "shower 103, voxel 5: energy must be finite"
