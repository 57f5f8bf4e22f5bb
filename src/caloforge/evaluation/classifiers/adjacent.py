"""How much better a classifier distinguishes showers the more adjacent layers it sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from caloforge.evaluation.classifiers.inputs import INPUTS
from caloforge.evaluation.classifiers.metric import ClassifierTest
from caloforge.evaluation.classifiers.protocols import ADJACENT, Protocol
from caloforge.evaluation.classifiers.testing import classify
from caloforge.evaluation.classifiers.training import Progress
from caloforge.evaluation.comparison import Columns, Comparison
from caloforge.evaluation.observables import Floats
from caloforge.evaluation.sample import Sample
from caloforge.geometry import Geometry
from caloforge.showers import VoxelShowers

__all__ = ["AdjacentAUC", "AdjacentLayers", "adjacent_layer_auc", "adjacent_metric", "take_layers"]

NUMBERS = (1, 2, 3)  # of adjacent layers, as in SuperCalo's figure 4
N_FIRST = 5  # early, middle and late layers that the adjacent ones begin with


@dataclass(frozen=True, eq=False)
class AdjacentAUC:
    """AUC of classifiers that see a few adjacent layers each.

    Args:
        first: number of the layer that they begin with, shape (k,).
        numbers: how many there are, shape (m,).
        auc: shape (m, k).
    """

    first: NDArray[np.int64]
    numbers: NDArray[np.int64]
    auc: Floats


def take_layers(showers: VoxelShowers, start: int, stop: int) -> VoxelShowers:
    """The layers from `start` to before `stop` of each shower, as showers of their own geometry."""
    whole, layers = showers.geometry, slice(start, stop)
    geometry = dataclasses.replace(
        whole,
        name=f"{whole.name}, layers {start} to {stop - 1}",
        layers=whole.layers[layers],
        z=whole.z[layers],
        layer_ids=whole.layer_ids[layers],
    )
    first, last = whole.offsets[[start, stop]]
    inside = (showers.index >= first) & (showers.index < last)
    counted = np.concatenate([[0], np.cumsum(inside)])
    index = showers.index[inside].astype(np.int64) - first
    return dataclasses.replace(
        showers,
        offset=counted[showers.offset],
        index=index,
        energy=showers.energy[inside],
        geometry=geometry,
    )


def _first_layers(geometry: Geometry) -> NDArray[np.int64]:
    """Five layers evenly from the first to the last."""
    return np.unique(np.linspace(0, geometry.n_layers - 1, N_FIRST).round().astype(np.int64))


def adjacent_layer_auc(
    reference: VoxelShowers,
    candidate: VoxelShowers,
    protocol: Protocol = ADJACENT["adjacent-layers"],
    *,
    first: Sequence[int] | None = None,
    numbers: Sequence[int] = NUMBERS,
    seed: int,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> AdjacentAUC:
    """Train a classifier on one layer, on two adjacent ones, on three, …, at several depths.

    What the AUC of n layers has above that of each of them alone is in their correlations. Each
    network sees the voxels of its layers alone, with the incident energy, as the protocol's list of
    inputs says. Adjacent layers follow the first one; where the detector ends, the ones before it
    are taken.

    Args:
        reference: Geant4 showers, label 1, without the voxels below the threshold.
        candidate: generated showers of the same geometry, label 0, likewise.
        protocol: the settings; its inputs are of voxels, see `ADJACENT`.
        first: numbers of the layers that the adjacent ones begin with, by default five evenly from
            the first to the last.
        numbers: how many adjacent layers.
        seed: of all networks, see `classify`.
        device: see `classify`.
        progress: called after each epoch, with the epochs of all networks.

    Raises:
        ValueError: for layers that do not exist, a protocol that does not take voxels, or as
            `classify`.

    Source: SuperCalo (arXiv:2308.11700), section III D and figure 4.
    """
    n_layers = reference.geometry.n_layers
    _check(protocol, numbers, n_layers)
    starts = _first_layers(reference.geometry) if first is None else np.asarray(first)
    if starts.size == 0 or starts.min() < 0 or starts.max() >= n_layers:
        raise ValueError(f"first must be layers of 0 … {n_layers - 1}, got {starts.tolist()}")
    windows = [(min(int(start), n_layers - n), n) for n in numbers for start in starts]
    distinct = list(dict.fromkeys(windows))
    found = {}
    for number, (start, n) in enumerate(distinct):
        found[start, n] = classify(
            {"voxels": take_layers(reference, start, start + n)},
            {"voxels": take_layers(candidate, start, start + n)},
            protocol,
            seed=seed,
            device=device,
            progress=_share(progress, number, len(distinct)),
        ).auc
    auc = np.array([found[window] for window in windows]).reshape(len(numbers), len(starts))
    return AdjacentAUC(starts.astype(np.int64), np.asarray(numbers), auc)


def _check(protocol: Protocol, numbers: Sequence[int], n_layers: int) -> None:
    if not INPUTS[protocol.inputs].of_voxels:
        known = [name for name, inputs in INPUTS.items() if inputs.of_voxels]
        raise ValueError(
            f"{protocol.name} takes {protocol.inputs}, which are of whole showers: use inputs "
            f"among {', '.join(known)}"
        )
    if not numbers or min(numbers) < 1 or max(numbers) > n_layers:
        raise ValueError(
            f"numbers of adjacent layers must lie in 1 … {n_layers}, got {list(numbers)}"
        )


def _share(progress: Progress | None, number: int, n_networks: int) -> Progress | None:
    """Progress of one network as progress of all."""
    if progress is None:
        return None
    return lambda epoch, epochs: progress(number * epochs + epoch, n_networks * epochs)


class AdjacentLayers(ClassifierTest):
    """AUC by the number of adjacent layers and the first of them, see `adjacent_layer_auc`.

    The arguments are those of `ClassifierTest`. No scores were published but as a picture.
    """

    def columns(self, sample: Sample) -> Columns:
        """All voxels."""
        return {"voxels": sample.voxels()}

    def compare(self, reference: Columns, candidate: Columns, seed: int) -> Comparison:
        """For each number of layers an AUC for every layer that they begin with, NaN for others."""
        n_layers = reference["voxels"].geometry.n_layers
        found = adjacent_layer_auc(
            reference["voxels"],
            candidate["voxels"],
            self.protocol,
            numbers=[n for n in NUMBERS if n <= n_layers],
            seed=seed,
            device=self._device,
            progress=self._progress,
        )
        values = {f"auc_{n}": np.full(n_layers, np.nan) for n in found.numbers}
        for by_layer, auc in zip(values.values(), found.auc, strict=True):
            by_layer[found.first] = auc
        return Comparison(values)


def adjacent_metric(
    name: str,
    reference: Sample,
    threshold: float,
    *,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> AdjacentLayers:
    """The study of a named protocol among `ADJACENT`, see `AdjacentLayers`."""
    return AdjacentLayers(reference, threshold, ADJACENT[name], device=device, progress=progress)
