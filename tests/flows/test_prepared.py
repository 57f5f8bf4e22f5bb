"""What is prepared for sampling: when it is dropped, and that it says what the weights say."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from caloforge.flows import ActNorm, Chain, Convolution1x1, Coupling, Flow, Spline, coupling
from caloforge.flows.knots import KnotTable
from caloforge.flows.prepared import ChannelMap
from caloforge.nets import UNet


def flow() -> Flow:
    """Of two channels, with a bias that is easily edited."""
    torch.manual_seed(0)
    network = UNet(1, Spline(4, 5.0).n_parameters, (3, 4), ((2, 1),), cyclic=True)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    chain = Chain(
        [
            ActNorm(2),
            Convolution1x1(torch.tensor([1, 0])),
            Coupling(2, network, Spline(4, 5.0)),
        ]
    )
    return Flow(chain, (2, 4, 3)).eval()


def sample(of: Flow) -> Tensor:
    return of.sample(5, rng=torch.Generator().manual_seed(1)).detach()


DROPS: dict[str, Callable[[Flow], object]] = {
    "training mode": lambda of: of.train(),
    "training mode of what contains it": lambda of: nn.Sequential(of).train(),
    "loaded weights": lambda of: of.load_state_dict(of.state_dict()),
    "weights loaded into what contains it": lambda of: nn.Sequential(of).load_state_dict(
        nn.Sequential(of).state_dict()
    ),
    "another precision": lambda of: of.double(),
    "a move": lambda of: of.to("cpu"),
}


@pytest.mark.parametrize("name", DROPS)
def test_what_may_change_weights_drops_what_was_prepared(name: str) -> None:
    made = flow()
    made.prepare()
    assert made.is_prepared
    assert made.eval().is_prepared
    DROPS[name](made)
    assert not made.is_prepared
    made.eval().prepare()
    assert made.is_prepared


def test_loaded_weights_are_those_that_sample() -> None:
    first, other = flow(), flow()
    for parameter in other.parameters():
        nn.init.normal_(parameter, std=0.2)
    first.prepare()
    first.load_state_dict(other.state_dict())
    torch.testing.assert_close(sample(first), sample(other))
    first.prepare()
    torch.testing.assert_close(sample(first), sample(other))


def test_weights_edited_in_place_need_to_be_prepared_again() -> None:
    edited, reference = flow(), flow()
    for made in (edited, reference):
        made.bijection.bijections[0].shift.data.fill_(2.0)  # type: ignore[index, union-attr]
    assert not torch.allclose(sample(edited), sample(flow()))  # not prepared: seen at once
    edited.bijection.bijections[0].shift.data.fill_(0.0)  # type: ignore[index, union-attr]
    edited.prepare()
    edited.bijection.bijections[0].shift.data.fill_(2.0)  # type: ignore[index, union-attr]
    edited.prepare()
    torch.testing.assert_close(sample(edited), sample(reference))


def test_a_copy_is_not_prepared_and_the_state_is_that_of_before() -> None:
    made = flow()
    before = {key: value.clone() for key, value in made.state_dict().items()}
    made.prepare()
    assert not copy.deepcopy(made).is_prepared
    assert made.is_prepared
    assert made.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in made.state_dict().items())


def test_a_flow_in_training_mode_is_not_prepared() -> None:
    made = flow().train()
    with pytest.raises(ValueError, match=r"in eval mode: call eval\(\) first"):
        made.prepare()
    assert not made.is_prepared


def test_linear_maps_are_merged(generator: torch.Generator) -> None:
    made = flow().double()
    parts = [part.prepared() for part in list(made.bijection.bijections)[:2]]  # type: ignore[arg-type]
    norm, convolution = parts
    assert isinstance(norm, ChannelMap)
    assert isinstance(convolution, ChannelMap)
    z = torch.randn(3, 2, 4, 5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(convolution.then(norm)(z), norm(convolution(z, None), None))


def test_a_coupling_maps_in_pieces_what_it_maps_at_once(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = flow().double().bijection.bijections[2]  # type: ignore[index]
    z = torch.randn(7, 2, 4, 3, generator=generator, dtype=torch.float64)
    inverse = made.prepared()
    together = inverse(z, None)
    monkeypatch.setattr(coupling, "PIXELS", 2 * 12 + 1)
    torch.testing.assert_close(inverse(z, None), together, rtol=1e-12, atol=1e-12)


def test_a_coupling_of_another_network_is_inverted_too(generator: torch.Generator) -> None:
    spline = Spline(4, 5.0)
    made = Coupling(2, nn.Conv2d(1, spline.n_parameters, 1), spline).double()
    z = torch.randn(3, 2, 4, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(made.prepared()(z, None), made.inverse(z)[0])


# ---------------------------------------------------------------- splines


@pytest.mark.parametrize("n", [7, 3000])  # sums run down short rows and along long ones
@pytest.mark.parametrize(("bins", "minimum"), [(10, 1e-3), (5, 1e-6), (2, 1e-2)])
def test_a_table_of_knots_inverts_the_spline(
    bins: int, minimum: float, n: int, generator: torch.Generator
) -> None:
    spline = Spline(bins, 4.0, minimum)
    y = 4 * torch.randn(n, generator=generator, dtype=torch.float64)
    raw = 2 * torch.randn(spline.n_parameters, n, generator=generator, dtype=torch.float64)
    table = KnotTable(spline, raw)
    assert len(table.rows) == table.n_rows
    with_zeros = torch.cat([raw, torch.zeros(1, n, dtype=torch.float64)])
    x = table.inverse(y, with_zeros[table.rows])
    expected, _ = spline.inverse(y, raw, dim=0)
    torch.testing.assert_close(x, expected, rtol=1e-8, atol=1e-8)


def test_outside_the_interval_a_table_changes_nothing() -> None:
    spline = Spline(5, 2.0)
    y = torch.tensor([-math.inf, -1e30, -2.0, 2.0, 3.5, 1e30, math.inf])
    table = KnotTable(spline, y)
    x = table.inverse(y, torch.ones(table.n_rows, len(y)))
    torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-6)


def test_nan_is_no_silent_zero_for_a_table() -> None:
    table = KnotTable(Spline(5, 2.0), torch.zeros(()))
    knots = torch.zeros(table.n_rows, 3)
    knots[:10, 1] = math.nan
    assert torch.isnan(table.inverse(torch.tensor([math.nan, 0.1, 0.1]), knots)).tolist() == [
        True,
        True,
        False,
    ]
