"""Rational splines of both orders: exact gradients, published values, float32."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from caloforge.flows import LinearSpline, Spline
from caloforge.flows.bins import Binned

zuko = pytest.importorskip("zuko.transforms", reason="needs zuko: pip install 'caloforge[dev]'")


BOTH = pytest.mark.parametrize("kind", [Spline, LinearSpline])


def draw(
    spline: Binned, shape: tuple[int, ...], dim: int, generator: torch.Generator, size: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Values inside and outside the interval, and raw parameters along `dim`."""
    x = 0.7 * spline.bound * torch.randn(shape, generator=generator, dtype=torch.float64)
    axes = list(shape)
    axes.insert(dim % (len(shape) + 1), spline.n_parameters)
    raw = size * torch.randn(axes, generator=generator, dtype=torch.float64)
    return x, raw


@BOTH
@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize(
    ("shape", "dim"), [((5,), -1), ((3, 4), 1), ((2, 2, 3, 2), 2), ((4, 2), 0), ((2, 3), -1)]
)
def test_gradients_are_exact(
    kind: type[Binned], direction: str, shape: tuple[int, ...], dim: int, generator: torch.Generator
) -> None:
    """Of y and of the log-slope, by x and by every parameter, along any axis."""
    spline = kind(bins=4, bound=3.0)
    x, raw = draw(spline, shape, dim, generator, size=2.0)
    x.requires_grad_(), raw.requires_grad_()

    def mapped(x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        return getattr(spline, direction)(x, raw, dim)

    assert torch.autograd.gradcheck(mapped, (x, raw), eps=1e-7, atol=1e-5)


@BOTH
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_gradient_by_x_alone_is_that_beside_parameters(
    kind: type[Binned], direction: str, generator: torch.Generator
) -> None:
    # fixed parameters take another way through the code
    spline = kind(bins=5, bound=3.0)
    x, raw = draw(spline, (40,), -1, generator)
    slopes = []
    for learnt in (False, True):
        value = x.clone().requires_grad_()
        y, log_slope = getattr(spline, direction)(value, raw.clone().requires_grad_(learnt))
        slopes.append(torch.autograd.grad((y + log_slope.square()).sum(), value)[0])
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dim", [-1, 0, 1])
@pytest.mark.parametrize(("bins", "bound", "minimum"), [(8, 5.0, 1e-3), (10, 15.0, 1e-6)])
def test_agrees_with_zuko(
    bins: int, bound: float, minimum: float, dim: int, generator: torch.Generator
) -> None:
    spline = Spline(bins, bound, minimum)
    x, raw = draw(spline, (200, 3), dim, generator, size=2.0)
    parts = raw.movedim(dim, -1).split([bins, bins, bins - 1], -1)
    theirs = zuko.MonotonicRQSTransform(*parts, bound=bound, slope=minimum)
    y, log_slope = spline.forward(x, raw, dim)
    expected, ladj = theirs.call_and_ladj(x)
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_slope, ladj, rtol=1e-9, atol=1e-9)
    back, backward = spline.inverse(y, raw, dim)
    torch.testing.assert_close(back, theirs.inv(y), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(backward, -ladj, rtol=1e-6, atol=1e-6)


def test_gradients_agree_with_zuko(generator: torch.Generator) -> None:
    spline = Spline(8, 5.0)
    x, raw = draw(spline, (300,), -1, generator)
    gradients = []
    for ours in (True, False):
        value, weights = x.clone().requires_grad_(), raw.clone().requires_grad_()
        if ours:
            y, log_slope = spline.forward(value, weights)
        else:
            parts = weights.split([8, 8, 7], -1)
            y, log_slope = zuko.MonotonicRQSTransform(*parts, bound=5.0).call_and_ladj(value)
        gradients.append(torch.autograd.grad((y.sin() + log_slope).sum(), (value, weights)))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


@BOTH
def test_zero_parameters_give_the_identity(kind: type[Binned], generator: torch.Generator) -> None:
    spline = kind(8, 5.0)
    x, raw = draw(spline, (500,), -1, generator)
    for direction in (spline.forward, spline.inverse):
        y, log_slope = direction(x, torch.zeros_like(raw))
        torch.testing.assert_close(y, x, rtol=0, atol=1e-12)
        torch.testing.assert_close(log_slope, torch.zeros_like(x), rtol=0, atol=1e-12)


def unclipped(value: float, limit: float) -> float:
    return value / (1 - abs(value) / limit)


def two_bins() -> list[float]:
    """Raw widths 1 : 2 and heights 2 : 1, and the raw slope of 2 between the bins."""
    limit = -math.log(1e-3)
    half, log2 = unclipped(math.log(2) / 2, limit / 2), unclipped(math.log(2), limit)
    return [-half, half, half, -half, log2]


def test_two_bins_by_hand() -> None:
    """Widths 1 : 2 and heights 2 : 1 on [-3, 3], slopes 1, 2, 1: values worked out by hand."""
    spline = Spline(bins=2, bound=3.0, minimum=1e-3)
    raw = torch.tensor(two_bins(), dtype=torch.float64)
    # the knot between the bins: x = -3 + 6/3, y = -3 + 2 * 6/3
    y, log_slope = spline.forward(torch.tensor([-1.0 + 1e-12], dtype=torch.float64), raw[None])
    assert float(y) == pytest.approx(1.0, abs=1e-9)
    assert float(log_slope) == pytest.approx(math.log(2), abs=1e-9)
    # half-way through the first bin: s = 2, theta = 1/2
    # y = -3 + 4 (2/4 + 1/4) / (2 + (1 + 2 - 4)/4) = -3 + 4 * 0.75 / 1.75
    # dy/dx = 4 (2/4 + 4/4 + 1/4) / 1.75^2
    y, log_slope = spline.forward(torch.tensor([-2.0], dtype=torch.float64), raw[None])
    assert float(y) == pytest.approx(-3 + 3 / 1.75, abs=1e-12)
    assert float(log_slope) == pytest.approx(math.log(7 / 1.75**2), abs=1e-12)


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_two_bins_of_a_linear_spline_by_hand(share: float) -> None:
    """The same bins; the first is split at a fraction of its width, the second at a half.

    With w_0 = 1, w_1 = sqrt(d_0 / d_1) w_0, w_m = [lambda w_0 d_0 + (1 - lambda) w_1 d_1] / s and
    y_m the mean of y_0 and y_1 of weights (1 - lambda) w_0 and lambda w_1, the spline is the mean
    of y_0 and y_m, then of y_m and y_1 (Dolatabadi et al., algorithm 1).
    """
    spline = LinearSpline(bins=2, bound=3.0, minimum=1e-3)
    raw_share = unclipped(math.log(share / (1 - share)), math.log(39))
    raw = torch.tensor([*two_bins(), raw_share, 0.0], dtype=torch.float64)
    s, d0, d1, y0, y1 = 2, 1, 2, -3, 1
    w0, w1 = 1, math.sqrt(d0 / d1)
    wm = (share * w0 * d0 + (1 - share) * w1 * d1) / s
    ym = ((1 - share) * w0 * y0 + share * w1 * y1) / ((1 - share) * w0 + share * w1)

    def mean(pairs: list[tuple[float, float]]) -> float:
        return sum(weight * y for weight, y in pairs) / sum(weight for weight, _ in pairs)

    middle = -3 + 2 * share
    before, behind = -3 + share, -2 + share  # half-way through either piece
    knot, expected = (
        -1.0,
        [
            mean([(w0 * share / 2, y0), (wm * share / 2, ym)]),
            ym,
            mean([(wm * (1 - share) / 2, ym), (w1 * (1 - share) / 2, y1)]),
            y1,
        ],
    )
    x = torch.tensor([before, middle, behind, knot], dtype=torch.float64)
    y, log_slope = spline.forward(x, raw.expand(4, -1))
    torch.testing.assert_close(y, torch.tensor(expected, dtype=torch.float64))
    assert float(log_slope[3]) == pytest.approx(math.log(2), abs=1e-12)
    torch.testing.assert_close(spline.inverse(y, raw.expand(4, -1))[0], x)


@pytest.mark.parametrize("size", [1.0, 1e8])
def test_a_bin_is_split_well_inside(size: float, generator: torch.Generator) -> None:
    spline = LinearSpline(4, 3.0)
    x, raw = draw(spline, (500,), -1, generator, size)
    at = spline._bin(x.clamp(-3, 3), raw, -1, along_y=False)
    _, _, share, _ = spline._pieces(at, raw, -1)
    assert 0.0249 < float(share.min()) < 0.4
    assert 0.6 < float(share.max()) < 0.9751


@BOTH
@settings(max_examples=30, deadline=None)
@given(
    bins=st.integers(2, 12),
    bound=st.floats(0.5, 20),
    size=st.floats(0, 30),
    seed=st.integers(0, 2**31),
)
def test_monotonic_and_continuous(
    kind: type[Binned], bins: int, bound: float, size: float, seed: int
) -> None:
    spline = kind(bins, bound)
    generator = torch.Generator().manual_seed(seed)
    raw = size * torch.randn(spline.n_parameters, generator=generator, dtype=torch.float64)
    x = torch.linspace(-1.2 * bound, 1.2 * bound, 4001, dtype=torch.float64)
    y, log_slope = spline.forward(x, raw.expand(len(x), -1))
    assert (y.diff() > 0).all()
    # never steeper than its derivatives and the steepest bin allow
    assert torch.isfinite(log_slope).all()
    assert float(y[0]) == float(x[0])
    assert float(y[-1]) == float(x[-1])
    edge = torch.tensor([-bound, bound], dtype=torch.float64)
    inside = edge * (1 - 1e-9)
    at, log_at = spline.forward(inside, raw.expand(2, -1))
    torch.testing.assert_close(at, edge, rtol=1e-5, atol=1e-9)
    assert float(log_at.abs().max()) < 1e-2  # slope 1 at the ends, as in the tails


@BOTH
@pytest.mark.parametrize("minimum", [1e-2, 1e-3])
def test_no_bin_and_no_slope_below_the_minimum(kind: type[Binned], minimum: float) -> None:
    """Whatever a network puts out: 1e8 is where a diverging training stands."""
    spline = kind(6, 4.0, minimum)
    generator = torch.Generator().manual_seed(3)
    raw = 1e8 * torch.randn(300, spline.n_parameters, generator=generator, dtype=torch.float64)
    x = torch.linspace(-3.999, 3.999, 300, dtype=torch.float64)
    x_k, w, y_k, h, d0, d1, k = spline._bin(x, raw, -1, along_y=False)
    narrowest = 8 * minimum / (5 + minimum)  # one narrow bin among five wide ones
    for size in (w, h):
        assert float(size.min()) > narrowest * 0.999
    for slope in (d0, d1):
        assert minimum * 0.999 < float(slope.min())
        assert float(slope.max()) < 1.001 / minimum
    assert ((x_k <= x + 1e-9) & (x <= x_k + w + 1e-9)).all()
    assert (y_k + h <= 4 + 1e-9).all()
    assert k.unique().tolist() == list(range(6))


@pytest.mark.parametrize(("kind", "tolerance"), [(Spline, 1e-5), (LinearSpline, 2e-5)])
@pytest.mark.parametrize(("minimum", "size"), [(1e-3, 1.0), (1e-6, 0.5)])
def test_float32_is_invertible(
    kind: type[Binned], minimum: float, size: float, tolerance: float, generator: torch.Generator
) -> None:
    spline = kind(10, 15.0, minimum)
    x, raw = (t.float() for t in draw(spline, (100_000,), -1, generator, size))
    y, forward = spline.forward(x, raw)
    back, backward = spline.inverse(y, raw)
    error = (back - x).abs() / x.abs().clamp_min(1)
    assert float(error.quantile(0.999)) < tolerance
    assert float(error.max()) < 10 * tolerance
    assert float((forward + backward).abs().quantile(0.999)) < 1e-3


@BOTH
def test_outside_the_interval_nothing_changes(
    kind: type[Binned],
) -> None:
    spline = kind(5, 2.0)
    x = torch.tensor([-math.inf, -1e30, -2.0, 2.0, 3.5, 1e30, math.inf])
    raw = torch.ones(len(x), spline.n_parameters)
    for direction in (spline.forward, spline.inverse):
        y, log_slope = direction(x, raw)
        assert torch.equal(y, x)
        assert torch.equal(log_slope, torch.zeros_like(x))


@BOTH
def test_nan_is_no_silent_zero(
    kind: type[Binned],
) -> None:
    spline = kind(5, 2.0)
    raw = torch.zeros(3, spline.n_parameters)
    raw[1, 7] = math.nan  # a parameter
    x = torch.tensor([math.nan, 0.1, 0.1])
    for direction in (spline.forward, spline.inverse):
        y, log_slope = direction(x, raw)
        assert torch.isnan(y[0])
        assert torch.isnan(log_slope[0])
        assert torch.isfinite(y[2])
    raw[1] = math.nan
    assert torch.isnan(spline.forward(x, raw)[1][:2]).all()


@pytest.mark.parametrize(("kind", "needed"), [(Spline, 14), (LinearSpline, 19)])
@pytest.mark.parametrize("difference", [-1, 1])
def test_a_wrong_number_of_parameters_is_named(
    kind: type[Binned], needed: int, difference: int
) -> None:
    n_parameters = needed + difference
    with pytest.raises(ValueError, match=rf"5 bins needs {needed} param.*got {n_parameters}"):
        kind(5, 2.0).forward(torch.zeros(3), torch.zeros(3, n_parameters))


@BOTH
@pytest.mark.parametrize("values", [(1, 2.0, 1e-3), (4, 0.0, 1e-3), (4, 2.0, 0.0), (4, 2.0, 1.0)])
def test_impossible_splines_are_refused(
    kind: type[Binned], values: tuple[int, float, float]
) -> None:
    with pytest.raises(ValueError, match="2 bins or more, a positive bound and a minimum"):
        kind(*values)
