"""U-Nets keep sizes, know their cyclic axis and forget no input."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from caloforge.nets import SameConv2d, UNet


def unet(cyclic: bool, down: tuple[tuple[int, int], ...], channels: tuple[int, ...]) -> UNet:
    torch.manual_seed(0)
    net = UNet(3, 5, channels, down, cyclic=cyclic).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net.eval()


@pytest.mark.parametrize(
    ("size", "down", "channels"),
    [
        ((4, 9), ((2, 3),), (4, 6)),
        ((25, 9), ((5, 3), (5, 3)), (4, 6, 8)),
        ((15, 15), ((3, 3), (5, 5)), (4, 6, 8)),
        ((6, 1), ((3, 1), (2, 1)), (4, 6, 8)),
    ],
)
@pytest.mark.parametrize("cyclic", [True, False])
def test_height_and_width_stay(
    size: tuple[int, int],
    down: tuple[tuple[int, int], ...],
    channels: tuple[int, ...],
    cyclic: bool,
) -> None:
    out = unet(cyclic, down, channels)(torch.randn(2, 3, *size, dtype=torch.float64))
    assert out.shape == (2, 5, *size)


def test_a_cyclic_net_turns_with_its_input() -> None:
    """Where the rotation is a multiple of the down-sampling, which is all that strides allow."""
    net = unet(True, ((2, 3), (2, 1)), (4, 6, 8))
    x = torch.randn(2, 3, 8, 6, dtype=torch.float64)
    for shift in (4, -4, 8):
        torch.testing.assert_close(
            net(x.roll(shift, 2)), net(x).roll(shift, 2), rtol=1e-9, atol=1e-9
        )
    assert not torch.allclose(net(x.roll(1, 2)), net(x).roll(1, 2))
    assert not torch.allclose(net(x.roll(3, 3)), net(x).roll(3, 3))  # the radius does not wrap


def test_without_cyclic_padding_the_ends_are_walls() -> None:
    net = unet(False, ((2, 3), (2, 1)), (4, 6, 8))
    x = torch.randn(2, 3, 8, 6, dtype=torch.float64)
    assert not torch.allclose(net(x.roll(4, 2)), net(x).roll(4, 2))


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_cyclic_convolution_turns_with_its_input(kernel: int) -> None:
    torch.manual_seed(0)
    layer = SameConv2d(2, 3, kernel, cyclic=True).double()
    x = torch.randn(2, 2, 7, 4, dtype=torch.float64)
    assert layer(x).shape == (2, 3, 7, 4)
    for shift in range(7):
        torch.testing.assert_close(layer(x.roll(shift, 2)), layer(x).roll(shift, 2))
    walls = nn.Conv2d(2, 3, kernel, padding=kernel // 2).double()
    walls.load_state_dict(layer.state_dict())
    inner = slice(kernel // 2, 7 - kernel // 2)
    torch.testing.assert_close(layer(x)[:, :, inner], walls(x)[:, :, inner])


def test_every_output_sees_the_whole_of_a_small_image() -> None:
    net = unet(True, ((2, 3), (2, 1)), (4, 6, 8))
    x = torch.randn(1, 3, 8, 6, dtype=torch.float64, requires_grad=True)
    net(x)[0, :, 0, 0].sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum(1) > 0).float().mean() > 0.6
    assert x.grad[0, :, 7].any()  # the neighbour across the seam


def test_outputs_begin_at_zero() -> None:
    net = UNet(2, 4, (3, 5), ((2, 1),), cyclic=True)
    assert not net(torch.randn(2, 2, 4, 3)).any()


def test_scales_and_kernels_must_fit() -> None:
    with pytest.raises(ValueError, match="3 scales need 2 down-sampling kernels, got 1"):
        UNet(1, 1, (2, 3, 4), ((2, 2),), cyclic=False)
