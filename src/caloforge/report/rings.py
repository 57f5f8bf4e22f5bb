"""Box-and-whisker panels of the voxel energies in rings around the axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from caloforge.evaluation.observables import Floats
from caloforge.evaluation.rings import ring_borders
from caloforge.report.layers import layers_shown
from caloforge.report.outputs import parts_of
from caloforge.report.panel import Samples, reference_of

__all__ = ["RingPanel", "ring_panels"]

N_LAYERS = 4


@dataclass(frozen=True, eq=False)
class RingPanel:
    """Voxel energies of one layer, ring by ring.

    Args:
        name: name of its file.
        title: what it shows.
        borders: radii that part the rings [mm], shape (rings + 1,).
        boxes: by sample, Geant4 first: 5, 25, 50, 75 and 95 % of the voxels with energy lie below
            these energies [MeV], shape (rings, 5).
        empty: by sample, the fraction of the voxels without energy, shape (rings,).
        numbers: number of each candidate among all.
    """

    name: str
    title: str
    borders: Floats
    boxes: Mapping[str, Floats]
    empty: Mapping[str, Floats]
    numbers: Mapping[str, int]


def ring_panels(samples: Samples) -> Iterator[RingPanel]:
    """Rings of a few layers from the front to where nearly all energy lies, a few candidates each.

    Source: SuperCalo (arXiv:2308.11700), figure 12.
    """
    known, *candidates = samples
    boxes = {name: sample.rings.quantiles() for name, sample in samples.items()}
    empty = {name: sample.rings.empty() for name, sample in samples.items()}
    reference = reference_of(samples)
    for layer in layers_shown(reference, N_LAYERS):
        borders = ring_borders(reference.geometry, layer)
        rings = slice(len(borders) - 1)
        for part, suffix, which in parts_of(candidates):
            shown = (known, *part)
            yield RingPanel(
                f"rings_{layer:02d}{suffix}",
                f"Voxel energies in rings of layer {layer}{which}",
                borders,
                {name: boxes[name][layer, rings] for name in shown},
                {name: empty[name][layer, rings] for name in shown},
                {name: candidates.index(name) for name in part},
            )
