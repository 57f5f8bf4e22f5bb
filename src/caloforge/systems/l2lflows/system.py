"""L2LFlows (arXiv:2302.11594, 2405.20407): layer to layer with normalizing flows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.choices import POSTPROCESS, Choice
from caloforge.cascade.kinds import VoxelSystem
from caloforge.cascade.quantities import Quantities, layer_name
from caloforge.geometry import Geometry
from caloforge.stages.energies import EnergyStage
from caloforge.stages.layerenergies import energy_stages
from caloforge.stages.rescaling import Rescaled
from caloforge.systems.l2lflows.config import L2LFlowsConfig
from caloforge.systems.l2lflows.presets import FIXED_GEOMETRIES, SIZES, preset
from caloforge.systems.l2lflows.spectrum import LayerSpectrum, layers_together
from caloforge.systems.l2lflows.stages import LayerStage, incident_condition

__all__ = ["L2LFlows"]


class L2LFlows(VoxelSystem):
    """An energy flow, then one causal flow a layer (Convolutional L2LFlows, figure 2).

    Args:
        config: sizes and training of its flows.
        geometry: a regular geometry.
    """

    name: ClassVar[str] = "l2lflows"
    Config: ClassVar[type[Any]] = L2LFlowsConfig
    sizes: ClassVar[tuple[str, ...]] = SIZES
    papers: ClassVar[tuple[str, ...]] = ("arXiv:2405.20407", "arXiv:2302.11594")
    fixed_geometries: ClassVar[Mapping[str, str]] = FIXED_GEOMETRIES

    def __init__(self, config: L2LFlowsConfig, geometry: Geometry) -> None:
        super().__init__(config, geometry)
        own = partial(EnergyStage, condition=incident_condition())
        self.stages |= energy_stages(config.energies, geometry, own)
        for layer in range(geometry.n_layers):
            self.stages[layer_name(layer)] = LayerStage(config.layers, geometry, layer)
        if config.spectrum is not None:
            self.stages["spectrum"] = LayerSpectrum(config, geometry, self.stages)

    @classmethod
    def preset(cls, size: str, geometry: Geometry) -> L2LFlowsConfig:
        return preset(size, geometry)

    @property
    def choices(self) -> Mapping[str, Choice]:
        return {**super().choices, "postprocess": POSTPROCESS}

    def assemble(self, quantities: Quantities, options: SamplingOptions) -> Tensor:
        if "showers" in quantities:  # the spectrum map has put the layers together
            return quantities["showers"]
        which: Rescaled = self.config.rescale if options.postprocess else "none"
        return layers_together(quantities, self.geometry, which)
