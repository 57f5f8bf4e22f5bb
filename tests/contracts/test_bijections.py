"""What every bijection promises, whatever it is made of; `bijections.py` lists them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bijections import CASES, Embedded, draw, trained_like
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from caloforge.flows import Bijection
from caloforge.flows.prepared import Inverse

Direction = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
EACH = pytest.mark.parametrize("name", CASES)
ROUNDINGS = 64  # of a number, in sums over hidden layers of up to 48 units
WITH_PARAMETERS = pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.has_parameters])


def both_directions(
    bijection: Bijection, name: str, n: int
) -> list[tuple[Direction, Tensor, Tensor | None]]:
    """Each direction with where it starts, and the context."""
    x, context = draw(name, n)
    z = bijection(x, context)[0].detach()
    return [(bijection.forward, x, context), (bijection.inverse, z, context)]


def distance(a: Tensor, b: Tensor) -> float:
    """Largest difference, in units of the values where these are above one."""
    return float(((a - b).abs() / b.abs().clamp_min(1)).detach().max())


# ---------------------------------------------------------------- the Jacobian


@EACH
def test_log_determinant_is_that_of_the_jacobian(name: str) -> None:
    bijection = trained_like(name).double()
    for direction, start, context in both_directions(bijection, name, 1):

        def image(flat: Tensor, direction: Direction = direction) -> Tensor:
            return direction(flat.reshape(start.shape), context)[0].flatten()  # noqa: B023

        jacobian = torch.autograd.functional.jacobian(image, start.flatten())
        expected = torch.linalg.slogdet(jacobian).logabsdet
        _, log_det = direction(start, context)
        assert log_det.shape == (1,)
        assert distance(log_det, expected) < 1e-9


@EACH
def test_log_determinants_of_both_directions_cancel(name: str) -> None:
    bijection = trained_like(name).double()
    x, context = draw(name, 8)
    z, forward = bijection(x, context)
    _, backward = bijection.inverse(z, context)
    assert distance(forward, -backward) < 1e-9


# ---------------------------------------------------------------- the inverse


@EACH
def test_inverse_undoes_forward(name: str) -> None:
    bijection = trained_like(name).double()
    x, context = draw(name, 64)
    z, _ = bijection(x, context)
    assert z.shape[1:] == bijection.latent_shape(x.shape[1:])
    back, _ = bijection.inverse(z, context)
    assert back.shape == x.shape
    assert distance(back, x) < 1e-9
    assert distance(bijection(back, context)[0], z) < 1e-9


@EACH
def test_the_map_is_not_trivial(name: str) -> None:
    # else the other tests of this file would hold for a bijection that forgot its weights
    bijection = trained_like(name).double()
    x, context = draw(name, 4)
    z, log_det = bijection(x, context)
    assert z.shape != x.shape or distance(z, x) > 0.05
    assert not CASES[name].has_parameters or log_det.abs().min() > 1e-3


@EACH
def test_a_shower_does_not_depend_on_its_neighbours_in_the_batch(name: str) -> None:
    bijection = trained_like(name).double()
    for direction, start, context in both_directions(bijection, name, 5):
        together = direction(start, context)
        alone = direction(start[3:4], None if context is None else context[3:4])
        for all_of_them, one in zip(together, alone, strict=True):
            torch.testing.assert_close(all_of_them[3:4], one, rtol=1e-10, atol=1e-10)


def prepared(bijection: Bijection) -> Inverse:
    """The inverse as sampling runs it."""
    if not isinstance(bijection, Embedded):
        return bijection.prepared()
    bijection.flow.prepare()
    embed, inverse = bijection.flow._prepared
    return lambda z, context: inverse(z, context if context is None else embed(context))


@EACH
@pytest.mark.parametrize("n", [1, 40])
def test_the_prepared_inverse_is_the_inverse(name: str, n: int) -> None:
    bijection = trained_like(name).double()
    inverse = prepared(bijection)
    x, context = draw(name, n)
    # inside the splines' intervals, and far outside, where rounding would be all that is compared
    for scale in (1, 1e3):
        with torch.no_grad():
            z = scale * bijection(x, context)[0]
            kept = z.clone()
            expected = bijection.inverse(z, context)[0]
            back = inverse(z, context)
        assert torch.equal(z, kept)
        assert back.shape == x.shape
        assert distance(back, expected) < 1e-9


@EACH
@torch.no_grad()
def test_single_precision_is_as_far_from_double_as_rounding_takes_it(name: str) -> None:
    """Forward, inverse and prepared inverse, whatever order a processor sums in.

    What one rounding of all that enters does to the result is measured in double precision: it is
    the map's condition. A result is rounded about as often as its longest sum has terms.
    """
    single = trained_like(name)
    double = copy.deepcopy(single).double()
    x, context = draw(name, 40, torch.float32)
    z, log_det = single(x, context)
    inverse = prepared(single)
    results = {
        "forward": (x, z),
        "inverse": (z, single.inverse(z, context)[0]),
        "prepared inverse": (z, inverse(z, context)),
    }
    for way, (start, found) in results.items():
        exact, once = rounded_once(double, way.split()[-1], start, context)
        assert found.dtype == log_det.dtype == torch.float32
        assert distance(found.double(), exact) < ROUNDINGS * once, way


def rounded_once(
    double: Bijection, direction: str, start: Tensor, context: Tensor | None
) -> tuple[Tensor, float]:
    """What a map gives, and how far that moves where start, context and weights are rounded."""
    rng = torch.Generator().manual_seed(0)

    def rounded(values: Tensor) -> Tensor:
        unit = 2 * torch.rand(values.shape, generator=rng, dtype=torch.float64) - 1
        return values.double() * (1 + torch.finfo(torch.float32).eps / 2 * unit)

    exact = getattr(double, direction)(
        start.double(), context if context is None else context.double()
    )[0]
    moved = []
    for _ in range(4):
        other = copy.deepcopy(double)
        for weights in other.parameters():
            weights.copy_(rounded(weights))
        seen = None if context is None else rounded(context)
        moved.append(distance(getattr(other, direction)(rounded(start), seen)[0], exact))
    return exact, max(moved)


@EACH
def test_nan_comes_out_of_the_prepared_inverse(name: str) -> None:
    bijection = trained_like(name).double()
    inverse = prepared(bijection)
    x, context = draw(name, 3)
    with torch.no_grad():
        z = bijection(x, context)[0]
        clean = inverse(z, context)
        z.flatten(1)[1, -1] = math.nan
        back = inverse(z, context)
    assert torch.isnan(back).flatten(1).any(1).tolist() == [False, True, False]
    torch.testing.assert_close(back[[0, 2]], clean[[0, 2]])


@EACH
@pytest.mark.parametrize("size", [1e3, 1e6])
def test_far_tails_stay_finite_and_invertible(name: str, size: float) -> None:
    bijection = trained_like(name).double()
    x, context = draw(name, 4)
    x = x * size
    z, log_det = bijection(x, context)
    back, backward = bijection.inverse(z, context)
    assert torch.isfinite(z).all()
    assert torch.isfinite(log_det).all()
    assert float((back - x).detach().abs().max()) < CASES[name].tail_tolerance * size
    assert torch.isfinite(backward).all()


@EACH
def test_nan_comes_out_as_nan(name: str) -> None:
    bijection = trained_like(name).double()
    for direction, start, context in both_directions(bijection, name, 3):
        clean = direction(start, context)
        broken = start.clone()
        broken.flatten(1)[1, -1] = math.nan
        image, log_det = direction(broken, context)
        density = log_det - 0.5 * image.flatten(1).square().sum(1)
        assert torch.isnan(density).tolist() == [False, True, False]
        assert torch.isnan(image[1]).any()
        torch.testing.assert_close(image[[0, 2]], clean[0][[0, 2]])
        torch.testing.assert_close(log_det[[0, 2]], clean[1][[0, 2]])


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.context])
def test_nan_in_the_context_is_no_silent_zero(name: str) -> None:
    bijection = trained_like(name).double()
    for direction, start, context in both_directions(bijection, name, 3):
        assert context is not None
        broken = context.clone()
        broken[1] = math.nan
        image, log_det = direction(start, broken)
        assert torch.isnan(log_det).tolist() == [False, True, False]
        assert torch.isnan(image[1]).any()


# ---------------------------------------------------------------- weights


@WITH_PARAMETERS
def test_every_parameter_has_a_finite_gradient(name: str) -> None:
    bijection = trained_like(name).double().train()
    x, context = draw(name, 16)
    z, log_det = bijection(x, context)
    (0.5 * z.flatten(1).square().sum(1) - log_det).mean().backward()
    gradients = {n: p.grad for n, p in bijection.named_parameters()}
    assert all(g is not None and torch.isfinite(g).all() for g in gradients.values())
    # a bias in front of a batch norm is without effect
    idle = {n for n, g in gradients.items() if g is not None and g.abs().max() < 1e-12}
    assert idle <= {n for n in gradients if n.endswith("bias") and _before_norm(bijection, n)}


def _before_norm(module: nn.Module, parameter: str) -> bool:
    path, _, _ = parameter.rpartition(".")
    parent, _, number = path.rpartition(".")
    block = module.get_submodule(parent)
    following = int(number) + 1 if number.isdigit() else 0
    return (
        isinstance(block, nn.Sequential)
        and 0 < following < len(block)
        and isinstance(block[following], nn.BatchNorm2d)
    )


@WITH_PARAMETERS
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    bijection = trained_like(name).double()
    x, context = draw(name, 2)

    def loss() -> Tensor:
        z, log_det = bijection(x, context)
        return (0.5 * z.flatten(1).square().sum(1) - log_det).mean()

    parameters = [p for p in bijection.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(loss(), parameters, allow_unused=True)
    rng = torch.Generator().manual_seed(2)
    step = [torch.randn(p.shape, generator=rng, dtype=p.dtype) for p in parameters]
    expected = sum(float((g * s).sum()) for g, s in zip(slopes, step, strict=True) if g is not None)
    size = 1e-6
    values = []
    with torch.no_grad():
        for sign in (1, -2):  # ahead, then behind
            for parameter, direction in zip(parameters, step, strict=True):
                parameter += sign * size * direction
            values.append(float(loss()))
    measured = (values[0] - values[1]) / (2 * size)
    assert measured == pytest.approx(expected, rel=1e-5, abs=1e-5)


@EACH
def test_saved_and_loaded_weights_give_the_same_map(name: str, tmp_path: Path) -> None:
    bijection = trained_like(name, seed=0)
    other = trained_like(name, seed=5)  # other weights, and another permutation
    x, context = draw(name, 4, torch.float32)
    state = {key: value.contiguous() for key, value in bijection.state_dict().items()}
    if state:
        save_file(state, tmp_path / "weights.safetensors")
        assert name == "Squeeze" or not torch.equal(bijection(x, context)[0], other(x, context)[0])
        other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    for mine, theirs in zip(bijection(x, context), other(x, context), strict=True):
        assert torch.equal(mine, theirs)


@EACH
def test_a_copy_moves_to_another_precision_whole(name: str) -> None:
    bijection = trained_like(name)
    x, context = draw(name, 4, torch.float32)
    double = copy.deepcopy(bijection).double()
    exact = double(x.double(), None if context is None else context.double())
    for mine, true in zip(bijection(x, context), exact, strict=True):
        assert true.dtype == torch.float64
        assert distance(mine.double(), true) < 1e-3


@EACH
def test_half_precision_networks_leave_the_data_in_single_precision(name: str) -> None:
    """In mixed precision z is still the exact image of x under the spline that was sampled."""
    bijection = trained_like(name)
    x, context = draw(name, 8, torch.float32)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        z, log_det = bijection(x, context)
        back, _ = bijection.inverse(z, context)
    assert z.dtype == log_det.dtype == torch.float32
    if name != "SplineMADE" and name != "energy flow":  # matmuls of other sizes round otherwise
        assert distance(back, x) < 0.05
    assert distance(log_det, bijection(x, context)[1]) < 0.3


# ---------------------------------------------------------------- flows


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if "flow" in n])
def test_samples_of_a_flow_are_where_it_says(name: str) -> None:
    """What is sampled is the image of Gaussian numbers: forward gives them back."""
    flow = trained_like(name).double().flow
    _, context = draw(name, 50)
    assert flow.shape == CASES[name].shape
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        x = flow.sample(50, context, rng=rng)
        z, _ = flow.bijection(x, flow._embed(context))
    assert x.shape == (50, *flow.shape)
    flow.prepare()
    again = flow.sample(50, context, rng=rng.manual_seed(3))
    torch.testing.assert_close(again, x, rtol=1e-9, atol=1e-9)
    expected = torch.randn(z.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert distance(z, expected) < 1e-6
