"""One classifier test of two samples of showers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from caloforge.devices import find_device
from caloforge.evaluation.classifiers.inputs import Inputs, Table, join_columns, take_inputs
from caloforge.evaluation.classifiers.networks import build_network
from caloforge.evaluation.classifiers.protocols import Protocol
from caloforge.evaluation.classifiers.scoring import calibrate, score
from caloforge.evaluation.classifiers.training import (
    Progress,
    Split,
    probabilities,
    split_showers,
    train,
)
from caloforge.evaluation.comparison import Columns, Outputs

__all__ = ["ClassifierResult", "classify"]


@dataclass(frozen=True, eq=False)
class ClassifierResult:
    """What a classifier found on showers that it had not seen.

    Args:
        auc: area under the ROC curve.
        jsd: Jensen-Shannon divergence in bits.
        outputs: probabilities of Geant4, calibrated if the protocol calibrates.
        n_parameters: trained parameters of the network.
    """

    auc: float
    jsd: float
    outputs: Outputs
    n_parameters: int


def classify(
    reference: Columns,
    candidate: Columns,
    protocol: Protocol,
    *,
    seed: int,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> ClassifierResult:
    """Train a classifier to distinguish two samples and score it on showers it has not seen.

    Args:
        reference: columns of Geant4 showers, label 1, see `take_columns`; for a list of inputs
            without voxels ``{"inputs": array of shape (n, n_inputs)}``.
        candidate: columns of generated showers, label 0.
        protocol: the settings.
        seed: of splits, initialisation and training; a seed gives one result on a CPU, and one up
            to the order of the GPU's sums on a GPU.
        device: where to train; None: the GPU if there is one for a published protocol, else the
            CPU.
        progress: called after each epoch.

    Raises:
        ValueError: if a sample is too small to be split, or the protocol's network cannot take in
            the showers' geometry.
    """
    n_reference, n_candidate = (len(next(iter(c.values()))) for c in (reference, candidate))
    split = split_showers(n_reference, n_candidate, protocol, seed)
    is_geant4 = np.arange(n_reference + n_candidate) < n_reference
    place, dtype = _device(protocol, device), getattr(torch, protocol.precision)
    inputs = take_inputs(join_columns(reference, candidate), protocol.inputs)
    inputs = _standardised(inputs, protocol, split, is_geant4).to(place, dtype)
    labels = torch.as_tensor(is_geant4, device=place, dtype=dtype)
    random = torch.random.fork_rng(devices=[place] if place.type == "cuda" else [])
    with random, _few_threads(protocol):
        torch.manual_seed(seed)
        network = build_network(protocol, inputs.shape[1], inputs.geometry).to(place, dtype)
        train(network, inputs, labels, split, protocol, progress)
    return _evaluate(network, inputs, is_geant4, split, protocol)


@contextmanager
def _few_threads(protocol: Protocol) -> Iterator[None]:
    """One thread for the small networks: more would wait for each other longer than they work."""
    before = torch.get_num_threads()
    if not protocol.comparable:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _standardised(
    inputs: Inputs, protocol: Protocol, split: Split, is_geant4: NDArray[np.bool_]
) -> Inputs:
    if protocol.standardise == "none":
        return inputs
    if not isinstance(inputs, Table):
        raise ValueError(
            f"{protocol.name} standardises, which would fill empty voxels: set standardise='none'"
        )
    known = split.training if protocol.standardise == "training" else np.flatnonzero(is_geant4)
    return inputs.standardised(torch.as_tensor(known))


def _evaluate(
    network: nn.Module,
    inputs: Inputs,
    is_geant4: NDArray[np.bool_],
    split: Split,
    protocol: Protocol,
) -> ClassifierResult:
    output = probabilities(network, inputs, split.evaluation, protocol)
    if protocol.calibrated:
        known = probabilities(network, inputs, split.selection, protocol)
        output = calibrate(known, is_geant4[split.selection], output, protocol.margin)
    elif protocol.margin is not None:
        output = output.clip(protocol.margin, 1 - protocol.margin)
    labels = is_geant4[split.evaluation]
    geant4, generated = split.evaluation[labels], split.evaluation[~labels]
    return ClassifierResult(
        **score(output, labels),
        outputs=Outputs(
            output[labels], output[~labels], geant4, generated - np.count_nonzero(is_geant4)
        ),
        n_parameters=sum(p.numel() for p in network.parameters()),
    )


def _device(protocol: Protocol, wanted: str | torch.device | None) -> torch.device:
    if wanted is None:
        wanted = "auto" if protocol.comparable else "cpu"
    return torch.device(find_device(wanted))
