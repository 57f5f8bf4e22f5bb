"""What every bijection promises, whatever it is made of: a new one is tested by being listed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from caloforge.flows import (
    ActNorm,
    Affine,
    Bijection,
    Chain,
    Convolution1x1,
    Coupling,
    Elementwise,
    Flatten,
    Flow,
    LinearSpline,
    Permutation,
    Spline,
    SplineMADE,
    Squeeze,
    affine_stack,
    vector_stack,
)
from caloforge.flows.prepared import Inverse
from caloforge.nets import MLP, UNet
from caloforge.systems import Recipe
from caloforge.systems.energies import EnergyFlow, energy_flow
from caloforge.systems.l2lflows.config import ConvolutionalFlow, MaskedFlow
from caloforge.systems.l2lflows.networks import layer_flow

Direction = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
SPLINE = Spline(bins=6, bound=6.0)
LINEAR_SPLINE = LinearSpline(bins=6, bound=6.0)
ORDER = torch.tensor([2, 0, 3, 1])  # not its own inverse
RECIPE = Recipe(epochs=1, batch_size=1, learning_rate=1e-3)


@dataclass(frozen=True)
class Case:
    """How to make a bijection, and the shapes of its data and context (None: takes none)."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    context: tuple[int, ...] | None = None
    has_parameters: bool = True
    # of the inverse in float32; rounding adds up along a flow, and from feature to feature
    single_tolerance: float = 1e-5
    # of the inverse at 1e3 or more, in units of x: far out a spline's parameters saturate, and its
    # slopes reach from `minimum` to 1 / `minimum`
    tail_tolerance: float = 1e-6


def _coupling(cyclic: bool) -> Coupling:
    network = UNet(2 + 3, 2 * SPLINE.n_parameters, (6, 8), ((2, 3),), cyclic=cyclic)
    return Coupling(4, network, SPLINE)


def _chain() -> Chain:
    network = UNet(2, 2 * SPLINE.n_parameters, (4, 6), ((2, 1),), cyclic=True)
    return Chain([Squeeze((2, 2)), ActNorm(4), Convolution1x1(ORDER), Coupling(4, network, SPLINE)])


def _layer_flow(n_previous: int) -> Flow:
    config = ConvolutionalFlow(
        RECIPE,
        squeeze=(4, 1),
        down_sampling=((2, 3),),
        channels=(12, 24),
        blocks=2,
        bins=8,
        embedding_channels=4,
    )
    return layer_flow(config, (16, 9), n_previous, cyclic=True)


def _masked_flow(n_previous: int) -> Flow:
    config = MaskedFlow(
        RECIPE, blocks=3, bins=6, bound=6.0, hidden=20, summary_hidden=12, summary=6
    )
    return layer_flow(config, (3, 4), n_previous, cyclic=False)


CASES = {
    "ActNorm": Case(lambda: ActNorm(3), (3, 2, 5)),
    "Convolution1x1": Case(lambda: Convolution1x1(torch.randperm(5)), (5, 2, 3)),
    "Permutation": Case(lambda: Permutation(torch.randperm(7)), (7,), has_parameters=False),
    "Squeeze": Case(lambda: Squeeze((2, 3)), (2, 4, 6), has_parameters=False),
    "Flatten": Case(lambda: Flatten((2, 4, 6)), (2, 4, 6), has_parameters=False),
    "Coupling": Case(lambda: _coupling(False), (4, 4, 3), (3, 4, 3)),
    "Coupling, cyclic": Case(lambda: _coupling(True), (4, 4, 3), (3, 4, 3)),
    "SplineMADE": Case(lambda: SplineMADE(6, 2, 24, 1, SPLINE), (6,), (2,)),
    "Coupling of vectors": Case(
        lambda: Coupling(7, MLP(3 + 2, 4 * SPLINE.n_parameters, 24, 1), SPLINE), (7,), (2,)
    ),
    "Coupling of linear splines": Case(
        lambda: Coupling(7, MLP(3 + 2, 4 * LINEAR_SPLINE.n_parameters, 24, 1), LINEAR_SPLINE),
        (7,),
        (2,),
    ),
    "Coupling, affine": Case(lambda: Coupling(7, MLP(3 + 2, 4 * 2, 24, 1), Affine()), (7,), (2,)),
    "Elementwise": Case(
        lambda: Elementwise(MLP(2, 5 * SPLINE.n_parameters, 24, 1), SPLINE), (5,), (2,)
    ),
    "Elementwise linear splines": Case(
        lambda: Elementwise(MLP(2, 5 * LINEAR_SPLINE.n_parameters, 24, 1), LINEAR_SPLINE),
        (5,),
        (2,),
    ),
    "masked stack": Case(
        lambda: vector_stack(
            "masked",
            6,
            2,
            blocks=3,
            hidden=24,
            hidden_layers=2,
            spline=SPLINE,
            orders=("reverse", "random"),
        ),
        (6,),
        (2,),
        single_tolerance=1e-4,
        tail_tolerance=1e-2,
    ),
    "coupling stack": Case(
        lambda: vector_stack(
            "coupling",
            7,
            2,
            blocks=4,
            hidden=24,
            hidden_layers=2,
            spline=SPLINE,
            orders=("reverse",),
            slope=0.01,
        ),
        (7,),
        (2,),
        single_tolerance=1e-4,
    ),
    "affine stack": Case(
        lambda: affine_stack(
            7,
            2,
            blocks=2,
            couplings=4,
            hidden=24,
            spline_hidden=12,
            hidden_layers=1,
            spline=LINEAR_SPLINE,
        ),
        (7,),
        (2,),
        single_tolerance=1e-4,
    ),
    "Chain": Case(_chain, (1, 4, 4)),
    "layer flow, first layer": Case(
        lambda: _layer_flow(0), (1, 16, 9), (2, 16, 9), single_tolerance=3e-5
    ),
    "layer flow, sixth layer": Case(
        lambda: _layer_flow(5), (1, 16, 9), (7, 16, 9), single_tolerance=3e-5
    ),
    "masked layer flow, first layer": Case(
        lambda: _masked_flow(0), (1, 3, 4), (2, 3, 4), single_tolerance=1e-4, tail_tolerance=1e-2
    ),
    "masked layer flow, sixth layer": Case(
        lambda: _masked_flow(5), (1, 3, 4), (7, 3, 4), single_tolerance=1e-4, tail_tolerance=1e-2
    ),
    "energy flow": Case(
        lambda: energy_flow(EnergyFlow(RECIPE, blocks=4, hidden=48), 12),
        (12,),
        (1,),
        single_tolerance=1e-4,
        tail_tolerance=1e-2,
    ),
}
EACH = pytest.mark.parametrize("name", CASES)
WITH_PARAMETERS = pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.has_parameters])


class _Embedded(Bijection):
    """The bijection of a flow, from the raw context on."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.flow.bijection(x, self.flow._embed(context))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.flow.bijection.inverse(z, self.flow._embed(context))

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.flow.bijection.latent_shape(shape)


def trained_like(name: str, seed: int = 0) -> Bijection:
    """The bijection with weights and batch statistics at least as far from their start as training
    takes them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = CASES[name].make()
        for module in made.modules():
            for parameter in module.parameters(recurse=False):
                is_matrix = isinstance(module, (nn.Linear, nn.Conv2d)) and parameter.ndim > 1
                gain = 1.0 if parameter.any() else 0.5  # what begins at zero stays smaller
                std = gain * parameter[0].numel() ** -0.5 if is_matrix else 0.2
                nn.init.normal_(parameter, std=std)
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.8, 1.2)
                nn.init.uniform_(module.running_mean, -0.3, 0.3)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
    bijection = _Embedded(made) if isinstance(made, Flow) else made
    assert isinstance(bijection, Bijection)
    return bijection.eval()


def draw(
    name: str, n: int, dtype: torch.dtype = torch.float64, seed: int = 1
) -> tuple[Tensor, Tensor | None]:
    """Data as flows see it, and a context."""
    case, rng = CASES[name], torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(n, *case.shape, generator=rng, dtype=dtype)
    context = case.context and torch.randn(n, *case.context, generator=rng, dtype=dtype)
    return x, context


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
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["64", "32"])
def test_inverse_undoes_forward(name: str, dtype: torch.dtype) -> None:
    tolerance = 1e-9 if dtype == torch.float64 else CASES[name].single_tolerance
    bijection = trained_like(name).to(dtype)
    x, context = draw(name, 64, dtype)
    z, log_det = bijection(x, context)
    assert z.shape[1:] == bijection.latent_shape(x.shape[1:])
    back, _ = bijection.inverse(z, context)
    assert z.dtype == log_det.dtype == back.dtype == dtype
    assert back.shape == x.shape
    assert distance(back, x) < tolerance
    assert distance(bijection(back, context)[0], z) < tolerance


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
    if not isinstance(bijection, _Embedded):
        return bijection.prepared()
    bijection.flow.prepare()
    embed, inverse = bijection.flow._prepared
    return lambda z, context: inverse(z, context if context is None else embed(context))


@EACH
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["64", "32"])
@pytest.mark.parametrize("n", [1, 40])
def test_the_prepared_inverse_is_the_inverse(name: str, dtype: torch.dtype, n: int) -> None:
    tolerance = 1e-9 if dtype == torch.float64 else 3 * CASES[name].single_tolerance
    bijection = trained_like(name).to(dtype)
    inverse = prepared(bijection)
    x, context = draw(name, n, dtype)
    # inside the splines' intervals, and far outside, where rounding would be all that is compared
    for scale in (1, 1e3) if dtype == torch.float64 else (1,):
        with torch.no_grad():
            z = scale * bijection(x, context)[0]
            kept = z.clone()
            expected = bijection.inverse(z, context)[0]
            back = inverse(z, context)
        assert torch.equal(z, kept)
        assert back.shape == x.shape
        assert back.dtype == dtype
        assert distance(back, expected) < tolerance


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
    """In mixed precision z is still the exact image of x under the spline that was drawn."""
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
    """What is drawn is the image of Gaussian numbers: forward gives them back."""
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
