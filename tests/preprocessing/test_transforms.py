"""Transforms: exact inverses on real energies, the paper's formulae, explicit fitting."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from caloforge.preprocessing import (
    Chain,
    Log,
    LogEnergy,
    Logit,
    LogRange,
    ScaleByMax,
    Snap,
    Transform,
)
from caloforge.showers import VoxelShowers
from caloforge.units import GeV

# Every transform with the physical quantity that it is made for, scaled as it sees it.
CASES: dict[str, Callable[[], Transform]] = {
    "ScaleByMax": ScaleByMax,
    "Log": lambda: Log(1e-7),
    "Logit": lambda: Logit(1e-2),
    "LogEnergy": lambda: LogEnergy(1 * GeV, scale=2.0, shift=-3.0),
    "LogRange": LogRange,
    "Snap": lambda: Snap(1e-6),
    "voxels, B.4 and B.5": lambda: Chain(ScaleByMax(), Log(1e-7), Logit(1e-2)),
    "layer energies, B.2 and B.3": lambda: Chain(ScaleByMax(), Logit(1e-6)),
}
SEE_SHARES = {"Log", "Logit", "Snap"}  # made for x in [0, 1]
SEE_POSITIVE = {"LogRange"}
LINEAR_AT_ZERO = {"Logit", "layer energies, B.2 and B.3"}
EACH = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module")
def voxels(bundled: VoxelShowers) -> Tensor:
    """Energies of real voxels [MeV], empty ones too."""
    energy = bundled[:200].energy
    return torch.from_numpy(np.concatenate([energy, np.zeros(100, np.float32)]))


def fitted(name: str, voxels: Tensor) -> tuple[Transform, Tensor]:
    """A fitted transform, and energies as it sees them, in double precision."""
    transform = CASES[name]().double()
    x = voxels.double()
    if name in SEE_SHARES:
        x = x / x.max()
    if name in SEE_POSITIVE:
        x = x[x > 0]
    transform.fit(lambda: [x])
    return transform, x


@EACH
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["64", "32"])
def test_inverse_undoes_forward_on_real_voxels(
    name: str, dtype: torch.dtype, voxels: Tensor
) -> None:
    transform, x = fitted(name, voxels)
    x = x[x < x.max()].to(dtype)  # a logit clamps what the logarithm lifts above one
    transform = transform.to(dtype)
    back = transform.inverse(transform(x))
    assert back.dtype == dtype
    # where a logarithm is taken first, small energies keep their relative precision
    scale = x + x.max() * (1 if name in LINEAR_AT_ZERO else 1e-6)
    assert float(((back - x).abs() / scale).max()) < 200 * torch.finfo(dtype).eps


@EACH
def test_slope_is_that_of_autograd(name: str, voxels: Tensor) -> None:
    transform, x = fitted(name, voxels)
    # at the very maximum and at zero a logit is clamped: its slope is that of the inner side
    inside = x[(x > 0) & (x < x.max())].clone().requires_grad_()
    slope = torch.autograd.grad(transform(inside).sum(), inside)[0]
    torch.testing.assert_close(transform.log_slope(inside), slope.log(), rtol=1e-9, atol=1e-9)


def test_a_logit_has_no_slope_where_its_inverse_never_comes() -> None:
    """The inverse reaches alpha / (1 - 2 alpha) beyond 0 and 1; up to there the border's slope
    holds."""
    transform = Logit(1e-2)
    beyond = 0.01 / 0.98
    reached = transform.inverse(torch.tensor([-60.0, 60.0], dtype=torch.float64))
    torch.testing.assert_close(reached, torch.tensor([-beyond, 1 + beyond], dtype=torch.float64))
    x = torch.tensor([-beyond - 1e-9, -0.01, 0, 1, 1.01, 1 + beyond + 1e-9], dtype=torch.float64)
    border = math.log(0.98 / (0.01 * 0.99))
    expected = [-math.inf, border, border, border, border, -math.inf]
    torch.testing.assert_close(
        transform.log_slope(x), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0
    )


@EACH
def test_state_survives_json(name: str, voxels: Tensor) -> None:
    transform, x = fitted(name, voxels)
    other = CASES[name]().double()
    other.load_state(json.loads(json.dumps(transform.state())))
    assert torch.equal(other(x), transform(x))
    assert torch.equal(other.inverse(transform(x)), transform.inverse(transform(x)))
    assert other.state() == transform.state()


@EACH
def test_fitting_on_batches_is_fitting_on_all(name: str, voxels: Tensor) -> None:
    transform, x = fitted(name, voxels)
    other = CASES[name]().double()
    shuffled = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    other.fit(lambda: shuffled.split(97))
    assert other.state() == transform.state()


@EACH
def test_fitting_changes_no_state_but_its_own(name: str, voxels: Tensor) -> None:
    transform, x = fitted(name, voxels)
    before = x.clone()
    transform.fit(lambda: [x])
    transform(x), transform.inverse(x / x.max())
    assert torch.equal(x, before)


@EACH
def test_nan_stays_nan(name: str, voxels: Tensor) -> None:
    transform, x = fitted(name, voxels)
    broken = torch.tensor([math.nan], dtype=x.dtype)
    for image in (transform(broken), transform.inverse(broken)):
        assert torch.isnan(image).all()


@pytest.mark.parametrize(
    "name", ["ScaleByMax", "LogRange", "voxels, B.4 and B.5", "layer energies, B.2 and B.3"]
)
@pytest.mark.parametrize("use", ["forward", "inverse", "log_slope", "state"])
def test_an_unfitted_transform_raises(name: str, use: str) -> None:
    transform = CASES[name]()
    with pytest.raises(RuntimeError, match="not fitted: call fit on the training split first"):
        getattr(transform, use)(*([] if use == "state" else [torch.ones(3)]))


def test_a_layer_that_no_shower_reaches_is_not_scaled() -> None:
    transform = ScaleByMax()
    transform.fit(lambda: [torch.zeros(5), torch.zeros(3)])
    assert transform.state() == {"maximum": 1.0}


@pytest.mark.parametrize(
    ("values", "between", "expected"),
    [([2.0, 200.0, 20.0], 20.0, 0.5), ([5.0, 5.0], 10.0, 0.693147)],
)
def test_the_range_of_the_split_lies_between_0_and_1(
    values: list[float], between: float, expected: float
) -> None:
    """log(x / low) / log(high / low); where all values are one, there is no range to divide by."""
    transform = LogRange()
    transform.fit(lambda: torch.tensor(values).split(1))
    low, high = (float(transform(torch.tensor(end))) for end in (min(values), max(values)))
    assert (low, high) == pytest.approx((0, float(min(values) < max(values))), abs=1e-6)
    assert float(transform(torch.tensor(between))) == pytest.approx(expected, abs=1e-6)


def test_a_range_of_logarithms_is_positive() -> None:
    with pytest.raises(ValueError, match="a logarithm needs positive values, got 0"):
        LogRange().fit(lambda: [torch.tensor([1.0, 0.0])])


def test_what_is_drawn_beside_a_peak_without_width_is_moved_into_it() -> None:
    """Borders at sqrt(1e-6 * 1e-2) = 1e-4 and, from the other side, sqrt(1e-6 * 4e-2) = 2e-4."""
    transform = Snap(1e-6)
    transform.fit(lambda: torch.tensor([0.0, 1e-2, 0.5, 0.96, 1.0]).split(2))
    sampled = torch.tensor([-1.0, 0.9e-4, 1.1e-4, 0.5, 1 - 2.1e-4, 1 - 1.9e-4, 2.0])
    expected = torch.tensor([0.0, 0.0, 1.1e-4, 0.5, 1 - 2.1e-4, 1.0, 1.0])
    assert transform.inverse(sampled).equal(expected)


def test_without_values_in_between_all_is_drawn_as_one_of_both() -> None:
    transform = Snap(1e-6)
    transform.fit(lambda: [torch.tensor([0.0, 1.0])])
    assert transform.inverse(torch.tensor([1e-4, 0.9995])).equal(torch.tensor([0.0, 1.0]))


# ---------------------------------------------------------------- the paper's numbers


def test_logit_is_equation_b1() -> None:
    """logit_0.01(0.25) = log((0.25 * 0.98 + 0.01) / (1 - 0.25 * 0.98 - 0.01)): 0.255 / 0.745."""
    z = Logit(1e-2)(torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64))
    expected = [math.log(0.01 / 0.99), math.log(0.255 / 0.745), 0.0, math.log(0.99 / 0.01)]
    torch.testing.assert_close(z, torch.tensor(expected, dtype=torch.float64))


def test_layer_energies_are_scaled_as_in_equations_b2_and_b3() -> None:
    """E_max = 400 MeV is the largest of all layers and showers: 100 MeV is a quarter."""
    energies = torch.tensor([[100.0, 400.0], [0.0, 200.0]], dtype=torch.float64)
    transform = Chain(ScaleByMax(), Logit(1e-6)).double()
    transform.fit(lambda: [energies[:1], energies[1:]])
    quarter = 0.25 * (1 - 2e-6) + 1e-6
    z = transform(energies)
    assert float(z[0, 0]) == pytest.approx(math.log(quarter / (1 - quarter)), rel=1e-12)
    assert float(z[1, 0]) == pytest.approx(math.log(1e-6 / (1 - 1e-6)), rel=1e-9)
    assert float(z[1, 1]) == pytest.approx(0, abs=1e-12)


def test_voxels_are_scaled_as_in_equation_b5() -> None:
    """With I_max = 10 MeV, 0.01 MeV is 1e-3 of it: 1 + log(1e-7 + 1e-3) / log(1e7) = 4/7."""
    transform = Chain(ScaleByMax(), Log(1e-7), Logit(1e-2)).double()
    transform.fit(lambda: [torch.tensor([10.0, 3.0])])
    z = transform(torch.tensor([1e-2, 10.0, 0.0], dtype=torch.float64))
    u = (4 / 7 + math.log1p(1e-4) / math.log(1e7)) * 0.98 + 0.01
    assert float(z[0]) == pytest.approx(math.log(u / (1 - u)), rel=1e-12)
    assert float(z[1]) == pytest.approx(math.log(0.99 / 0.01), rel=1e-6)  # 1 + 1e-7 is clamped
    assert float(z[2]) == pytest.approx(math.log(0.01 / 0.99), rel=1e-6)


def test_conditions_are_an_affine_map_of_equation_b6() -> None:
    """2 log10(1e-6 + E / GeV) - 3: the ends of the CaloChallenge's range lie at -3 and 3."""
    transform = LogEnergy(1 * GeV, scale=2.0, shift=-3.0)
    energies = torch.tensor([1.0, 31.6227766, 1000.0], dtype=torch.float64) * GeV
    condition = transform(energies)
    torch.testing.assert_close(
        condition, torch.tensor([-3.0, 0.0, 3.0], dtype=torch.float64), atol=1e-5, rtol=0
    )
    paper = (1e-6 + energies / GeV).log()  # B.6
    slope = (condition[2] - condition[0]) / (paper[2] - paper[0])
    torch.testing.assert_close(condition, condition[0] + slope * (paper - paper[0]))
    assert float(transform(torch.zeros(1, dtype=torch.float64))) == pytest.approx(-15)
