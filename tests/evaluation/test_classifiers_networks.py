"""The classifiers' networks are the published ones."""

from __future__ import annotations

import pytest
import torch

import caloforge as cf
from caloforge.evaluation.classifiers import PROTOCOLS
from caloforge.evaluation.classifiers.networks import (
    CircularConv,
    ConvolutionalNetwork,
    ResNet,
    build_network,
)


def n_parameters(name, n_inputs, geometry=None):
    """Counted without memory for the parameters."""
    with torch.device("meta"):
        network = build_network(PROTOCOLS[name], n_inputs, geometry)
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "n_inputs", "expected"),
    [
        ("calochallenge-low", 368 + 1, 9_152_513),
        ("calochallenge-low", 533 + 1, 9_490_433),
        ("calochallenge-low", 6480 + 1, 21_669_889),
        ("calochallenge-low", 40500 + 1, 91_342_849),
        ("calochallenge-high", 30, 8_458_241),
        ("calochallenge-high", 46, 8_491_009),
        ("calochallenge-high", 362, 9_138_177),
        ("supercalo-low", 6480 + 1, 21_669_889),
        ("supercalo-high", 226, 227 * 2048 + 2 * 2049 * 2048 + 2049),
        ("calodream-high", 226, 227 * 512 + 2 * 513 * 512 + 513),
        ("l2lflows-high", 9, 10 * 512 + 513 * 512 + 513 * 128 + 129 * 32 + 33),
        ("caloclouds-high", 25, 26 * 32 + 33 * 16 + 17),
    ],
)
def test_dense_networks_have_the_published_number_of_parameters(name, n_inputs, expected):
    assert n_parameters(name, n_inputs) == expected


@pytest.mark.parametrize("name", ["calochallenge-2", "calochallenge-3"])
def test_the_resnet_has_the_published_number_of_parameters(name):
    geometry = cf.geometry_preset(name)
    found = n_parameters("calochallenge-resnet", 1 + geometry.n_voxels, geometry)
    assert found == 2_516_644


@pytest.mark.parametrize(
    ("name", "n_dense", "kernels"),
    [("ild-30", 129, (5, 3, 3, 3)), ("calochallenge-3", 193, (5, 3, 5, 3))],
)
def test_the_convolutional_network_has_the_published_shape(name, n_dense, kernels):
    geometry = cf.geometry_preset(name)
    network = ConvolutionalNetwork(geometry, PROTOCOLS["l2lflows-low"].hidden, 0.01)
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv3d)]
    assert [c.kernel_size for c in convolutions] == [(k, k, k) for k in kernels]
    assert {c.out_channels for c in convolutions} == {16}
    dense = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    assert [m.in_features for m in dense] == [n_dense, 128, 64, 32]
    assert network(torch.rand(2, geometry.n_voxels + 1)).shape == (2, 1)


def test_the_poolings_have_the_published_windows(generator):
    geometry = cf.geometry_preset("calochallenge-3")
    pools = [
        m
        for m in ConvolutionalNetwork(geometry, (8,), 0.01).modules()
        if isinstance(m, torch.nn.AdaptiveMaxPool3d)
    ]
    block = torch.rand(1, 1, 45, 18, 50, generator=generator)
    first = torch.nn.functional.max_pool3d(block, (5, 3, 5))
    torch.testing.assert_close(pools[0](block), first)
    second = torch.nn.functional.max_pool3d(first, (3, 3, 5))
    torch.testing.assert_close(pools[1](first), second)


@pytest.mark.parametrize("kernel", [3, 5])
def test_a_circular_convolution_turns_with_the_shower(kernel, generator):
    convolution = CircularConv(1, 2, kernel)
    block = torch.rand(2, 1, 6, 5, 16, generator=generator)
    turned = convolution(block.roll(3, dims=-1))
    torch.testing.assert_close(turned, convolution(block).roll(3, dims=-1))
    with pytest.raises(AssertionError):  # the radius does not wrap around
        torch.testing.assert_close(
            convolution(block.roll(1, dims=-2)), convolution(block).roll(1, dims=-2)
        )


def test_half_a_turn_of_the_shower_exchanges_the_two_sectors_of_the_last_image(generator):
    geometry = cf.geometry_preset("calochallenge-3")
    network = ConvolutionalNetwork(geometry, (8,), 0.01)
    images = []
    network.image[-1].register_forward_pre_hook(lambda flatten, args: images.append(args[0]))
    inputs = torch.rand(1, geometry.n_voxels + 1, generator=generator)
    shower = inputs[:, :-1].reshape(1, *geometry.shape)
    turned = torch.cat([shower.roll(25, dims=2).flatten(1), inputs[:, -1:]], dim=1)
    with torch.no_grad():
        for x in (inputs, turned):
            network(x)
    assert images[0].shape == (1, 16, 3, 2, 2)
    torch.testing.assert_close(images[1], images[0].roll(1, dims=-1))


def test_the_resnet_takes_the_incident_energy_behind_the_image(generator):
    network = ResNet((6, 8, 5)).eval()
    inputs = torch.rand(3, 1 + 6 * 8 * 5, generator=generator)
    higher = inputs.clone()
    higher[:, 0] += 1
    with torch.no_grad():
        shift = network(higher) - network(inputs)
        expected = network.output.weight[0, -1] / (1 + 1e-5) ** 0.5  # the batch norm's epsilon
    torch.testing.assert_close(shift, expected.expand(3, 1))


def test_networks_of_convolutions_refuse_irregular_layers():
    geometry = cf.geometry_preset("calochallenge-1-photons")
    with pytest.raises(ValueError, match="irregular layers of calochallenge-1-photons"):
        build_network(PROTOCOLS["calochallenge-resnet"], 369, geometry)
    with pytest.raises(ValueError, match="no voxels"):
        build_network(PROTOCOLS["l2lflows-low"], 9, None)
