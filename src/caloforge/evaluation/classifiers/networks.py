"""The networks of the classifier tests."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from caloforge.evaluation.classifiers.protocols import Protocol
from caloforge.geometry import Geometry

__all__ = [
    "CircularConv",
    "ConvolutionalNetwork",
    "ResNet",
    "build_network",
    "check_geometry",
    "dense_network",
    "refusal",
]

MOST_VOXELS = 200_000  # in a dense network's first layer of 2,048: 3 GB of weights in float64


def build_network(protocol: Protocol, n_inputs: int, geometry: Geometry | None) -> nn.Module:
    """Build the untrained network of a protocol.

    Every network maps inputs (batch, n_inputs) to one logit a shower, (batch, 1).

    Args:
        protocol: the settings.
        n_inputs: length of the list of inputs.
        geometry: of the voxels among the inputs; None if there are none.

    Raises:
        ValueError: if the network needs voxels in a regular block and there are none.
    """
    if protocol.network == "dense":
        return dense_network(n_inputs, protocol.hidden, protocol.slope, protocol.dropout)
    check_geometry(protocol, geometry)
    assert geometry is not None
    if protocol.network == "resnet":
        return ResNet(geometry.shape)
    return ConvolutionalNetwork(geometry, protocol.hidden, protocol.slope)


def check_geometry(protocol: Protocol, geometry: Geometry | None) -> None:
    """Refuse voxels that a protocol's network cannot take in.

    Raises:
        ValueError: if the network needs a regular block of voxels and the layers differ, or sees
            every voxel and there are more than 200,000.
    """
    if (reason := refusal(protocol, geometry)) is not None:
        raise ValueError(reason)


def refusal(protocol: Protocol, geometry: Geometry | None) -> str | None:
    """Why a protocol's network cannot take in the voxels, None if it can."""
    if protocol.network != "dense" and (geometry is None or not geometry.is_regular):
        name = "no voxels" if geometry is None else f"the irregular layers of {geometry.name}"
        return (
            f"{protocol.name} needs layers of equal voxels for its convolutions, got {name}: "
            "use a protocol with a dense network, such as calochallenge-low"
        )
    sees_voxels = protocol.inputs.startswith("voxels")
    if sees_voxels and geometry is not None and geometry.n_voxels > MOST_VOXELS:
        return (
            f"{protocol.name} sees every voxel, and {geometry.name} has {geometry.n_voxels:,}, "
            f"more than {MOST_VOXELS:,}: use small-voxels, which sees how their energies hang "
            "together, or project points into ild-30"
        )
    return None


def dense_network(
    n_inputs: int, hidden: tuple[int, ...], slope: float = 0.01, dropout: float = 0.0
) -> nn.Sequential:
    """Linear layers with LeakyReLU and dropout, and a linear output.

    Source: CaloChallenge, ``evaluate.py`` (DNN).
    """
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise((n_inputs, *hidden)):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(slope), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear((n_inputs, *hidden)[-1], 1))


class ResNet(nn.Module):
    """3D ResNet-18 with 32, 64, 64 and 128 channels.

    Inputs (batch, 1 + n_voxels): log10 of the incident energy, which joins the network normalised
    by the batch after the global average pooling, then the voxels as an image (layer, alpha, r).
    Zeros surround the image: alpha does not wrap around.

    Args:
        shape: of the image; any three sizes.

    Source: CaloChallenge, ``resnet.py``.
    """

    widths = (32, 64, 64, 128)

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for stage, (n_in, n_out) in enumerate(pairwise((self.widths[0], *self.widths))):
            blocks += [_Residual(n_in, n_out, 1 if stage == 0 else 2), _Residual(n_out, n_out, 1)]
        self.image = nn.Sequential(
            nn.Unflatten(1, (1, *shape)),
            nn.Conv3d(1, self.widths[0], 7, stride=2, padding=3, bias=False),
            nn.BatchNorm3d(self.widths[0]),
            nn.ReLU(),
            nn.MaxPool3d(3, stride=2, padding=1),
            *blocks,
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
        )
        self.energy = nn.BatchNorm1d(1)
        self.output = nn.Linear(self.widths[-1] + 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (batch, 1 + n_voxels) to logits (batch, 1)."""
        image, energy = self.image(inputs[:, 1:]), self.energy(inputs[:, :1])
        logit: Tensor = self.output(torch.cat([image, energy], dim=1))
        return logit


class _Residual(nn.Module):
    """Two convolutions around which the signal also passes straight, or by a 1 × 1 × 1 one."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv3d(n_in, n_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm3d(n_out),
            nn.ReLU(),
            nn.Conv3d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm3d(n_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv3d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm3d(n_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.convolutions(x) + self.shortcut(x))


class CircularConv(nn.Conv3d):
    """A convolution of odd kernel that keeps the size and wraps around in the last axis."""

    def __init__(self, n_in: int, n_out: int, kernel: int) -> None:
        self.wrap = kernel // 2
        super().__init__(n_in, n_out, kernel, padding=(self.wrap, self.wrap, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Blocks (batch, n_in, z, r, alpha) to (batch, n_out, z, r, alpha)."""
        return super().forward(
            functional.pad(x, (self.wrap, self.wrap, 0, 0, 0, 0), mode="circular")
        )


class ConvolutionalNetwork(nn.Module):
    """L2LFlows' convolutions for cartesian cells, circular along alpha for polar bins.

    Inputs (batch, n_voxels + 1): the voxels, then the incident energy, which joins after the
    convolutions. The last LeakyReLU acts on the logit, as published.

    The windows of the poolings are given by the sizes of what they return: 2 × 2 × 2 cells for
    30 × 30 × 30 cells, and (5, 3, 5) and (3, 3, 5) bins in (z, r, alpha) for dataset 3, as
    published; with the same sizes every other regular geometry fits as well.

    Args:
        geometry: the voxels.
        hidden: widths of the dense layers.
        slope: negative slope of the LeakyReLU.

    Source: Convolutional L2LFlows, appendix D and its ``classifier.py``.
    """

    channels = 16

    def __init__(self, geometry: Geometry, hidden: tuple[int, ...], slope: float) -> None:
        super().__init__()
        c, activation = self.channels, nn.LeakyReLU(slope)
        self.shape = geometry.shape
        self.is_polar = geometry.cyclic_axis is not None
        if self.is_polar:
            n_image = c * 3 * 2 * 2
            self.image = nn.Sequential(
                *(CircularConv(1, c, 5), activation),
                *(CircularConv(c, c, 3), activation, nn.AdaptiveMaxPool3d((9, 6, 10))),
                *(CircularConv(c, c, 5), activation, nn.AdaptiveMaxPool3d((3, 2, 2))),
                *(CircularConv(c, c, 3), activation, nn.Flatten()),
            )
        else:
            n_image = c * 2**3
            self.image = nn.Sequential(
                *(nn.Conv3d(1, c, 5, padding=3), activation, nn.AdaptiveMaxPool3d(16)),
                *(nn.Conv3d(c, c, 3, padding=1), activation, nn.AdaptiveMaxPool3d(8)),
                *(nn.Conv3d(c, c, 3, padding=1), activation, nn.AdaptiveMaxPool3d(4)),
                *(nn.Conv3d(c, c, 3, padding=1), activation, nn.AdaptiveMaxPool3d(2)),
                nn.Flatten(),
            )
        self.dense = nn.Sequential(dense_network(n_image + 1, hidden, slope), activation)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (batch, n_voxels + 1) to logits (batch, 1)."""
        block = inputs[:, :-1].reshape(-1, 1, *self.shape)
        if self.is_polar:
            block = block.transpose(
                3, 4
            )  # (z, alpha, r) as stored, (z, r, alpha) as L2LFlows has it
        logit: Tensor = self.dense(torch.cat([self.image(block), inputs[:, -1:]], dim=1))
        return logit
