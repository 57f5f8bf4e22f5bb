"""Convolutional L2LFlows (arXiv:2405.20407): layer to layer with normalizing flows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from caloforge.geometry import Geometry
from caloforge.systems.base import SamplingOptions, System
from caloforge.systems.l2lflows.config import L2LFlowsConfig
from caloforge.systems.l2lflows.presets import HOMES, SIZES, preset
from caloforge.systems.l2lflows.stages import EnergyStage, LayerStage
from caloforge.systems.quantities import Quantities, layer_name

__all__ = ["L2LFlows"]


class L2LFlows(System):
    """An energy flow, then one convolutional flow a layer (Convolutional L2LFlows, figure 2).

    Args:
        config: sizes and training of its flows.
        geometry: a regular geometry.
    """

    name: ClassVar[str] = "l2lflows"
    Config: ClassVar[type[Any]] = L2LFlowsConfig
    sizes: ClassVar[tuple[str, ...]] = SIZES
    homes: ClassVar[Mapping[str, str]] = HOMES

    def __init__(self, config: L2LFlowsConfig, geometry: Geometry) -> None:
        super().__init__(config, geometry)
        self.stages["energies"] = EnergyStage(config.energies, geometry)
        for layer in range(geometry.n_layers):
            self.stages[layer_name(layer)] = LayerStage(config.layers, geometry, layer)

    @classmethod
    def preset(cls, size: str, geometry: Geometry) -> L2LFlowsConfig:
        return preset(size, geometry)

    def assemble(self, quantities: Quantities, options: SamplingOptions) -> Tensor:
        layers = [quantities[layer_name(i)] for i in range(self.geometry.n_layers)]
        showers = torch.stack(layers, 1)
        if self.config.rescale and options.postprocess:
            return rescale(showers, quantities["layer_energies"], self.geometry.threshold)
        return showers


def rescale(showers: Tensor, layer_energies: Tensor, threshold: float) -> Tensor:
    """Scale the voxels of each layer to the sampled layer energy (section 3.4).

    Voxels below the threshold are emptied first, so that none of them is lifted above it.

    Args:
        showers: voxel energies [MeV], shape (n, n_layers, a, b).
        layer_energies: energy of each layer [MeV], shape (n, n_layers).
        threshold: read-out threshold [MeV].
    """
    kept = torch.where(showers < threshold, 0.0, showers)
    sums = kept.sum((2, 3))
    wanted = torch.where(layer_energies < threshold, 0.0, layer_energies)
    factor = torch.where(sums > 0, wanted / sums.clamp_min(threshold), 0.0)
    return kept * factor[:, :, None, None]
