"""The bijections that the contract tests: a new one is tested by being listed here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from caloforge.cascade import Recipe
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
from caloforge.nets import MLP, UNet
from caloforge.stages.energies import EnergyFlow, energy_flow
from caloforge.systems.l2lflows.config import ConvolutionalFlow, MaskedFlow
from caloforge.systems.l2lflows.networks import layer_flow

__all__ = ["CASES", "Case", "Embedded", "draw", "trained_like"]

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
    ),
    "Chain": Case(_chain, (1, 4, 4)),
    "layer flow, first layer": Case(lambda: _layer_flow(0), (1, 16, 9), (2, 16, 9)),
    "layer flow, sixth layer": Case(lambda: _layer_flow(5), (1, 16, 9), (7, 16, 9)),
    "masked layer flow, first layer": Case(
        lambda: _masked_flow(0), (1, 3, 4), (2, 3, 4), tail_tolerance=1e-2
    ),
    "masked layer flow, sixth layer": Case(
        lambda: _masked_flow(5), (1, 3, 4), (7, 3, 4), tail_tolerance=1e-2
    ),
    "energy flow": Case(
        lambda: energy_flow(EnergyFlow(RECIPE, blocks=4, hidden=48), 12),
        (12,),
        (1,),
        tail_tolerance=1e-2,
    ),
}


class Embedded(Bijection):
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
    bijection = Embedded(made) if isinstance(made, Flow) else made
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
