"""Folded networks are the networks in eval mode, in another order of sums."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from caloforge.nets import Offset, SameConv2d, UNet, fold, folded, is_foldable

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def trained_like(module: nn.Module) -> nn.Module:
    """With weights and batch statistics far from their start, in double precision."""
    torch.manual_seed(0)
    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            nn.init.normal_(parameter, std=0.4)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.5, 0.5)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    return module.double().eval()


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture(params=[True, False], ids=["gathered", "convolved"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small convolutions and large ones are computed in two ways."""
    monkeypatch.setattr(folded, "GATHERED", 10**9 if request.param else 0)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("cyclic", [True, False])
def test_norms_and_activations_are_folded_into_convolutions(kernel: int, cyclic: bool) -> None:
    layers = [
        SameConv2d(3, 4, kernel, cyclic=cyclic),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(0.2),
        SameConv2d(4, 2, cyclic=cyclic),
        nn.BatchNorm2d(2),
        nn.Conv2d(2, 5, (2, 3), stride=(2, 3)),
        nn.LeakyReLU(),
    ]
    net = trained_like(nn.Sequential(*layers))
    x = image(3, 3, 8, 6)
    y = fold(list(net))(x.permute(0, 2, 3, 1))
    torch.testing.assert_close(y.permute(0, 3, 1, 2), net(x), **EXACT)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("many", [0, 10**9], ids=["in place", "laid out"])
@pytest.mark.parametrize("cyclic", [True, False])
@pytest.mark.parametrize("last_kernels", [(1, 1), (3, 1), (3, 3)])
@pytest.mark.parametrize(
    ("size", "down", "channels"),
    [((4, 9), ((2, 3),), (4, 6)), ((6, 1), ((3, 1), (2, 1)), (4, 6, 8))],
)
def test_a_folded_unet_is_the_unet(
    size: tuple[int, int],
    down: tuple[tuple[int, int], ...],
    channels: tuple[int, ...],
    last_kernels: tuple[int, int],
    cyclic: bool,
    many: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folded, "MANY_WEIGHTS", many)
    net = trained_like(UNet(3, 5, channels, down, cyclic=cyclic, last_kernels=last_kernels))
    assert isinstance(net, UNet)
    x = image(2, 3, *size)
    y = net.folded()(x.permute(0, 2, 3, 1))
    torch.testing.assert_close(y.permute(0, 3, 1, 2), net(x), **EXACT)
    some = net.folded(torch.tensor([4, -1, 0]))(x.permute(0, 2, 3, 1))
    torch.testing.assert_close(some[..., [0, 2]], y[..., [4, 0]], **EXACT)
    assert not some[..., 1].any()


@pytest.mark.parametrize("slope", [0.3, 1.0])
def test_a_last_convolution_of_pixels_lays_channel_by_channel(slope: float) -> None:
    """The same values; what takes them as rows needs no copy."""
    net = trained_like(nn.Sequential(nn.Conv2d(3, 4, 1), nn.LeakyReLU(slope)))
    x = image(2, 3, 4, 5)
    y = fold(list(net))(x.permute(0, 2, 3, 1))
    torch.testing.assert_close(y.permute(0, 3, 1, 2), net(x), **EXACT)
    assert y.flatten(0, 2).t().is_contiguous()


def test_what_was_folded_keeps_its_weights() -> None:
    net = trained_like(nn.Sequential(SameConv2d(2, 3), nn.BatchNorm2d(3)))
    x = image(1, 4, 4, 2)
    run = fold(list(net))
    before = run(x)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    assert torch.equal(run(x), before)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def test_an_offset_is_added_behind_the_last_convolution() -> None:
    net = trained_like(nn.Sequential(SameConv2d(2, 3), nn.LeakyReLU(), Offset((3, 4, 5))))
    net[-1].image.data += torch.arange(60.0).reshape(3, 4, 5)
    x = image(2, 4, 5, 2)
    assert is_foldable(net)
    torch.testing.assert_close(fold(list(net))(x).permute(0, 3, 1, 2), net(x.permute(0, 3, 1, 2)))


def test_what_cannot_be_folded_is_known() -> None:
    assert is_foldable(nn.Sequential(SameConv2d(2, 3), nn.LeakyReLU()))
    assert not is_foldable(nn.Sequential(nn.Conv2d(2, 3, 3, stride=2), nn.LeakyReLU()))
    assert not is_foldable(nn.Sequential(nn.Conv2d(2, 3, 3)))  # without padding
    assert not is_foldable(nn.Sequential(nn.Flatten(), nn.Linear(2, 3)))
    assert not is_foldable(nn.Conv2d(2, 3, 1))
