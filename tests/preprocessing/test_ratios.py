"""Energy ratios: exact both ways, where showers end early too, and no energy is lost."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from caloforge.preprocessing import Chain, EnergyRatios, Logit, Standardise
from caloforge.showers import VoxelShowers
from caloforge.units import GeV, MeV

EPS = torch.finfo(torch.float32).eps


@pytest.fixture(scope="module")
def real(bundled: VoxelShowers) -> tuple[Tensor, Tensor]:
    """Layer energies and incident energies of real showers [MeV], in single precision."""
    energies = bundled.dense().sum((2, 3))
    return torch.from_numpy(energies).float(), torch.from_numpy(bundled.energy_inc).float()


def test_ratios_are_equation_2() -> None:
    """100 MeV of 50 MeV incident, in layers of 20, 60, 0 and 20 MeV."""
    u = EnergyRatios(2.5).forward(
        torch.tensor([[20.0, 60.0, 0.0, 20.0]]) * MeV, torch.tensor([50.0]) * MeV
    )
    torch.testing.assert_close(u, torch.tensor([[100 / 125, 0.2, 0.75, 0.0]]))
    assert EnergyRatios().factor == 2.85


def test_a_shower_that_ends_has_a_one_and_zeros() -> None:
    energies = torch.tensor([[3.0, 7.0, 0.0, 0.0], [0.0, 0.0, 5.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    incident = torch.full((3,), 10.0)
    u = EnergyRatios(2.0).forward(energies, incident)
    expected = [[0.5, 0.3, 1.0, 0.0], [0.25, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    assert torch.equal(u, torch.tensor(expected))
    torch.testing.assert_close(EnergyRatios(2.0).inverse(u, incident), energies)


@pytest.mark.parametrize(("dtype", "eps"), [(torch.float32, EPS), (torch.float64, 1e-15)])
def test_real_showers_come_back(
    real: tuple[Tensor, Tensor], dtype: torch.dtype, eps: float
) -> None:
    energies, incident = (values.to(dtype) for values in real)
    ratios = EnergyRatios()
    u = ratios.forward(energies, incident)
    assert u.dtype == dtype
    assert u.shape == energies.shape
    assert float(u.min()) == 0
    assert float(u.max()) == 1
    back = ratios.inverse(u, incident)
    total = energies.sum(1)
    assert float(((back - energies).abs() / total[:, None]).max()) < 4 * eps
    torch.testing.assert_close(back.sum(1), total, rtol=10 * eps, atol=0)
    # layers after the end of a shower get nothing back
    behind = energies.flip(1).cumsum(1).flip(1) == 0
    assert behind.any()
    assert (back[behind] == 0).all()
    assert ((u == 1).any(1)).sum() > 0.2 * len(u)  # zero-width peaks, which the sample has


energies = st.one_of(st.just(0.0), st.floats(2**-6 * MeV, 300 * GeV, width=32))


@settings(max_examples=200, deadline=None)
@given(
    layers=st.lists(energies, min_size=2, max_size=45),
    behind=st.integers(0, 10),
    incident=st.floats(1 * GeV, 1000 * GeV, width=32),
)
def test_any_layer_energies_come_back(layers: list[float], behind: int, incident: float) -> None:
    ratios = EnergyRatios()
    x = torch.tensor([[*layers, *[0.0] * behind]])
    energy_inc = torch.tensor([incident])
    u = ratios.forward(x, energy_inc)
    assert ((u[:, 1:] >= 0) & (u[:, 1:] <= 1)).all()
    back = ratios.inverse(u, energy_inc)
    total = float(x.double().sum())
    assert float((back - x).abs().max()) <= 10 * EPS * total
    assert float(back.double().sum()) == pytest.approx(total, rel=1e-6)
    assert (back[x == 0] <= 2 * EPS * total).all()


@settings(max_examples=100, deadline=None)
@given(
    u=st.lists(st.floats(-0.5, 1.5, width=32), min_size=2, max_size=45),
    incident=st.floats(1 * GeV, 1000 * GeV, width=32),
)
def test_whatever_is_drawn_the_sum_is_u_0_and_no_energy_negative(
    u: list[float], incident: float
) -> None:
    sampled, energy_inc = torch.tensor([u]), torch.tensor([incident])
    energies = EnergyRatios().inverse(sampled, energy_inc)
    assert (energies >= 0).all()
    expected = max(u[0], 0) * 2.85 * incident
    assert float(energies.double().sum()) == pytest.approx(expected, rel=1e-6)


def test_real_showers_come_back_through_the_whole_preprocessing(
    real: tuple[Tensor, Tensor],
) -> None:
    """In single precision: ratios, the logit of equation 3 with its alpha, and standardisation."""
    energies, incident = real
    ratios, transform = EnergyRatios(), Chain(Logit(1e-6), Standardise((45,)))
    u = ratios.forward(energies, incident)
    transform.fit(lambda: u.split(100))
    z = transform(u)
    assert torch.isfinite(z).all()
    back = ratios.inverse(transform.inverse(z), incident)
    total = energies.sum(1, keepdim=True)
    assert float(((back - energies).abs() / total).max()) < 4e-6
    torch.testing.assert_close(back.sum(1, keepdim=True), total, rtol=1e-5, atol=0)


def test_nan_stays_nan() -> None:
    energies = torch.tensor([[1.0, float("nan"), 0.0], [float("nan"), 1.0, 0.0]])
    assert torch.isnan(EnergyRatios().forward(energies, torch.ones(2))).any(1).all()
    u = torch.tensor([[0.5, float("nan"), 0.2], [float("nan"), 0.1, 0.2]])
    assert torch.isnan(EnergyRatios().inverse(u, torch.ones(2))).any(1).all()


def test_a_factor_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="factor must be positive, got 0"):
        EnergyRatios(0)
