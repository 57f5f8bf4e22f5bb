"""The classifier test as a metric."""

from __future__ import annotations

import torch

from caloforge.evaluation.classifiers.inputs import take_columns
from caloforge.evaluation.classifiers.networks import check_geometry
from caloforge.evaluation.classifiers.protocols import Protocol, find_protocol
from caloforge.evaluation.classifiers.testing import classify
from caloforge.evaluation.classifiers.training import Progress
from caloforge.evaluation.comparison import Columns, Comparison, Metric
from caloforge.evaluation.sample import Sample

__all__ = ["ClassifierTest", "classifier_metric"]


class ClassifierTest(Metric):
    """AUC and JSD of a network trained to distinguish generated and Geant4 showers.

    Args:
        reference: Geant4 showers; nothing is fitted to them as a whole.
        threshold: read-out threshold [MeV], which the samples have been taken with.
        protocol: the settings.
        device: see `classify`.
        progress: called after each epoch of each training.

    Raises:
        ValueError: if the protocol's network cannot take in the reference's geometry.
    """

    is_random = True

    def __init__(
        self,
        reference: Sample,
        threshold: float,
        protocol: Protocol,
        *,
        device: str | torch.device | None = None,
        progress: Progress | None = None,
    ) -> None:
        check_geometry(protocol, reference.geometry)
        self.protocol = protocol
        self.name = protocol.name
        self.repeats = protocol.runs
        self.max_size = protocol.max_showers
        if protocol.comparable:
            self.published_for, self.published_size = protocol.geometries, protocol.n_showers
        self._device = device
        self._progress = progress

    def columns(self, sample: Sample) -> Columns:
        """What the protocol's list of inputs needs."""
        return take_columns(sample, self.protocol.inputs)

    def compare(self, reference: Columns, candidate: Columns, seed: int) -> Comparison:
        """Train and score one network on a split of its own."""
        found = classify(
            reference,
            candidate,
            self.protocol,
            seed=seed,
            device=self._device,
            progress=self._progress,
        )
        return Comparison({"auc": found.auc, "jsd": found.jsd}, outputs={self.name: found.outputs})


def classifier_metric(
    name: str,
    reference: Sample,
    threshold: float,
    *,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> ClassifierTest:
    """The test of a named protocol, see `ClassifierTest`.

    Raises:
        ValueError: for an unknown protocol, or a geometry that it cannot take in.
    """
    return ClassifierTest(
        reference, threshold, find_protocol(name), device=device, progress=progress
    )
