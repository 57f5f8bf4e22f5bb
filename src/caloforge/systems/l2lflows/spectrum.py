"""The layers of a shower put together, rescaled, and their spectrum corrected."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor

from caloforge.cascade.quantities import Quantities, layer_name
from caloforge.geometry import Geometry
from caloforge.stages.rescaling import Rescaled
from caloforge.stages.shares import normalised
from caloforge.stages.spectrum import SpectrumMap
from caloforge.systems.l2lflows.config import L2LFlowsConfig

__all__ = ["LayerSpectrum", "layers_together"]


def layers_together(quantities: Quantities, geometry: Geometry, which: Rescaled) -> Tensor:
    """The voxels of all layers, rescaled to their energies [MeV], shape (n, L, a, b)."""
    showers = torch.stack([quantities[layer_name(i)] for i in range(geometry.n_layers)], 1)
    energies = quantities["layer_energies"]
    return normalised(showers, energies, geometry.threshold, which)


class LayerSpectrum(SpectrumMap):
    """The map of the spectrum of layers that are put together (appendix C).

    Args:
        config: that of the system.
        geometry: the voxels.
        needs: all stages before it.
    """

    def __init__(self, config: L2LFlowsConfig, geometry: Geometry, needs: Iterable[str]) -> None:
        assert config.spectrum is not None
        rescale = config.rescale if config.spectrum.rescale else "none"
        super().__init__(config.spectrum, geometry.threshold, needs, rescale)
        self.together = partial(layers_together, geometry=geometry, which=config.rescale)
        self.reads = ("layer_energies", *map(layer_name, range(geometry.n_layers)))

    def mapped_showers(self, given: Quantities) -> Tensor:
        return self.together(given)
