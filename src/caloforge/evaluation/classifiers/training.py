"""Splits of the showers, and the training of a network on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from caloforge.evaluation.classifiers.inputs import Inputs
from caloforge.evaluation.classifiers.protocols import Protocol

__all__ = ["Progress", "Split", "probabilities", "split_showers", "train"]

Progress = Callable[[int, int], None]
"""Called after each epoch with its number, counted from 1, and the number of epochs."""

FEWEST = 10


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of the joined samples by their use; rows below the reference's length are Geant4's.

    Args:
        training: shape (n,).
        selection: where weights are selected and outputs calibrated, shape (m,).
        evaluation: shape (k,).
    """

    training: NDArray[np.int64]
    selection: NDArray[np.int64]
    evaluation: NDArray[np.int64]


def split_showers(n_reference: int, n_candidate: int, protocol: Protocol, seed: int) -> Split:
    """Shuffle each of two samples and cut it into the protocol's splits.

    Raises:
        ValueError: if a sample is too small to be split.
    """
    rng = np.random.default_rng(seed)
    parts: list[list[NDArray[np.int64]]] = []
    for first, size in ((0, n_reference), (n_reference, n_candidate)):
        if size < FEWEST:
            raise ValueError(
                f"a classifier test needs at least {FEWEST} showers of each kind, got {size}"
            )
        parts.append(np.split(first + rng.permutation(size), protocol.cuts(size)))
    return Split(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def train(
    network: nn.Module,
    inputs: Inputs,
    labels: Tensor,
    split: Split,
    protocol: Protocol,
    progress: Progress | None = None,
) -> nn.Module:
    """Train a network to distinguish the two samples and give it its best weights.

    Binary cross entropy, minimised with AdamW; batches are as equal as can be.

    Args:
        network: untrained, on the device of the inputs.
        inputs: of all showers.
        labels: 1 for Geant4, 0 for generated, shape (n_showers,).
        split: rows to train on and to select weights with.
        protocol: the settings.
        progress: called after each epoch.

    Returns:
        The network, ready to evaluate.
    """
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=protocol.learning_rate, weight_decay=protocol.weight_decay
    )
    training, selection = (
        torch.as_tensor(rows, device=labels.device) for rows in (split.training, split.selection)
    )
    best = _Best(network)
    n_batches = math.ceil(len(training) / protocol.batch_size)
    for epoch in range(1, protocol.epochs + 1):
        order = training[torch.randperm(len(training)).to(training.device)]
        for step, rows in enumerate(order.tensor_split(n_batches), 1):
            network.train()
            optimizer.zero_grad()
            logit = network(inputs.batch(rows)).squeeze(-1)
            functional.binary_cross_entropy_with_logits(logit, labels[rows]).backward()
            optimizer.step()
            if _is_checked(step, n_batches, protocol):
                best.look(_merit(network, inputs, labels, selection, protocol))
        if progress is not None:
            progress(epoch, protocol.epochs)
        if protocol.selection == "accuracy" and best.merit == 1:
            break
    return best.restore()


def _is_checked(step: int, n_steps: int, protocol: Protocol) -> bool:
    """Whether the weights after a step of an epoch are candidates for the best ones."""
    often = protocol.check_every > 0 and step % protocol.check_every == 0
    return protocol.selection != "last" and (often or step == n_steps)


class _Best:
    """The weights of highest merit so far."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.merit = -math.inf
        self.weights: dict[str, Tensor] = {}

    def look(self, merit: float) -> None:
        """Keep the weights if they are better than all before."""
        if merit > self.merit:
            self.merit = merit
            self.weights = {n: w.clone() for n, w in self.network.state_dict().items()}

    def restore(self) -> nn.Module:
        """Give the best weights back; the last ones stay where none were validated."""
        if self.weights:
            self.network.load_state_dict(self.weights)
        return self.network.eval()


def _merit(
    network: nn.Module, inputs: Inputs, labels: Tensor, rows: Tensor, protocol: Protocol
) -> float:
    """What the weights are selected by: accuracy or minus the cross entropy."""
    logit, truth = logits(network, inputs, rows, protocol), labels[rows]
    if protocol.selection == "accuracy":
        return float(((logit > 0) == (truth > 0.5)).double().mean())
    return -float(functional.binary_cross_entropy_with_logits(logit, truth))


@torch.no_grad()
def logits(network: nn.Module, inputs: Inputs, rows: Tensor, protocol: Protocol) -> Tensor:
    """Outputs of the network for some showers, shape (len(rows),)."""
    network.eval()
    parts: Sequence[Tensor] = rows.split(protocol.batch_size)
    return torch.cat([network(inputs.batch(part)).squeeze(-1) for part in parts])


def probabilities(
    network: nn.Module, inputs: Inputs, rows: NDArray[np.int64], protocol: Protocol
) -> NDArray[np.float64]:
    """Uncalibrated probabilities of Geant4, in double precision so that few tie."""
    on_device = torch.as_tensor(rows, device=next(network.parameters()).device)
    output = logits(network, inputs, on_device, protocol).double().sigmoid()
    result: NDArray[np.float64] = output.cpu().numpy()
    return result
