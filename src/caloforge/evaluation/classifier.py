"""Classifier tests: can a network tell generated showers from Geant4's?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss, roc_auc_score
from torch import Tensor, nn

from caloforge.evaluation.comparison import Columns, Metric
from caloforge.evaluation.observables import Floats, high_level
from caloforge.evaluation.sample import Sample

__all__ = ["LAYERS", "SHOWER", "HighLevelClassifier", "Protocol", "classify", "score"]


@dataclass(frozen=True)
class Protocol:
    """Settings of a classifier test.

    Args:
        name: name of the protocol, shown beside its scores.
        comparable: whether the scores may stand beside published ones.
        hidden: widths of the hidden layers.
        dropout: probability of dropping a hidden unit in training.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        batch_size: showers of a step.
        epochs: passes over the training split.
        split: fractions for training and for selection with calibration; the rest is evaluated.
    """

    name: str
    comparable: bool
    hidden: tuple[int, ...]
    dropout: float
    learning_rate: float
    weight_decay: float
    batch_size: int
    epochs: int
    split: tuple[float, float]


# Two protocols for some hundred to some thousand showers and a CPU.
SHOWER = Protocol(
    name="nine shower observables",
    comparable=False,
    hidden=(64, 64),
    dropout=0.1,
    learning_rate=1e-3,
    weight_decay=1e-2,
    batch_size=128,
    epochs=30,
    split=(0.6, 0.2),
)
LAYERS = Protocol(
    name="features of all layers",
    comparable=False,
    hidden=(64,),
    dropout=0.5,
    learning_rate=1e-3,
    weight_decay=1e-1,
    batch_size=128,
    epochs=30,
    split=(0.6, 0.2),
)


class HighLevelClassifier(Metric):
    """AUC and JSD of two small networks on high-level features.

    ``auc`` and ``jsd``: inputs are the nine shower observables of L2LFlows (energy ratio,
    occupancy, centre and width in x, y and z, incident energy). ``auc_layers`` and ``jsd_layers``:
    the CaloChallenge's features of all layers (362 inputs for datasets 2 and 3) with energies as
    fractions of the incident one. Inputs are standardised on the training split.

    The networks are small, so that they learn from some hundred showers on a CPU in seconds: the
    scores must **not** be compared with published ones, only with the floor beside them. The first
    sees a shift of the whole shower from fewer showers, the second also single layers.
    """

    name: ClassVar[str] = "classifier"
    repeats: ClassVar[int] = 5
    max_size: ClassVar[int | None] = 20_000
    protocols: ClassVar[Mapping[str, Protocol]] = {"": SHOWER, "_layers": LAYERS}

    def __init__(self, reference: Sample, threshold: float) -> None:
        """Nothing is fitted to the whole reference."""

    def columns(self, sample: Sample) -> Columns:
        """Inputs of the networks, shapes (n, columns)."""
        incident = np.log10(sample.energy_inc.astype(np.float64))
        return {
            "": np.column_stack([incident, *sample.moments.values()]),
            "_layers": high_level(sample.energy_inc, sample.features, "fractions"),
        }

    def compare(
        self, reference: Columns, candidate: Columns, seed: int
    ) -> dict[str, NDArray[np.float64] | float]:
        """Train and score each network on a split of its own."""
        return {
            f"{score}{suffix}": value
            for suffix, protocol in self.protocols.items()
            for score, value in classify(
                reference[suffix], candidate[suffix], protocol, seed=seed
            ).items()
        }


def classify(
    reference: Floats, candidate: Floats, protocol: Protocol = SHOWER, *, seed: int
) -> Mapping[str, float]:
    """Train a classifier to tell two samples apart and score it on showers it has not seen.

    Each sample is split on its own into training, selection and evaluation. The weights of the
    epoch with the lowest cross entropy on the selection split are kept (the CaloChallenge keeps
    those of the highest accuracy, which is too coarse a measure on small splits).

    Args:
        reference: inputs of Geant4 showers, label 1, shape (n, columns); NaN, as the centre of an
            empty shower, is set to the mean.
        candidate: inputs of generated showers, label 0, shape (m, columns).
        protocol: the settings.
        seed: of splits, initialisation and training.

    Returns:
        ``auc`` and ``jsd``, see `score`.

    Raises:
        ValueError: if a sample is too small to be split.
    """
    rng = np.random.default_rng(seed)
    parts: list[tuple[list[Floats], list[Floats]]] = [([], []), ([], []), ([], [])]
    for label, inputs in ((1.0, reference), (0.0, candidate)):
        if len(inputs) < 10:
            raise ValueError(
                f"a classifier test needs at least 10 showers of each kind, got {len(inputs)}"
            )
        cuts = np.round(np.cumsum(protocol.split) * len(inputs)).astype(int)
        for (xs, ys), rows in zip(parts, np.split(rng.permutation(len(inputs)), cuts), strict=True):
            xs.append(inputs[rows])
            ys.append(np.full(len(rows), label))
    training, selection, evaluation = ((np.concatenate(x), np.concatenate(y)) for x, y in parts)
    mean, std = np.nanmean(training[0], axis=0), np.nanstd(training[0], axis=0)
    scale = np.where(std > 1e-9, std, 1)
    tensors = [
        (_tensor(np.nan_to_num((x - mean) / scale)), _tensor(y))
        for x, y in (training, selection, evaluation)
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _train(tensors[0], tensors[1], protocol)
    outputs = [_probabilities(network, x) for x, _ in tensors]
    return score(outputs[1], selection[1], outputs[2], evaluation[1])


def score(
    selection_output: ArrayLike,
    selection_labels: ArrayLike,
    output: ArrayLike,
    labels: ArrayLike,
) -> dict[str, float]:
    r"""Calibrate a classifier's outputs and score them.

    Isotonic regression fitted on the selection split maps outputs to probabilities p; then AUC is
    the area under the ROC curve of p, and

    .. math:: \mathrm{JSD} = 1 + \frac{1}{N \ln 2} \sum_i [y_i \ln p_i + (1 - y_i) \ln(1 - p_i)]

    0.5 and 0 for samples that the classifier cannot tell apart, 1 and 1 for separated ones.

    Probabilities are kept 1 / (n + 2) from 0 and 1, with n the length of the selection split: what
    n showers cannot show, the JSD must not be punished for.

    Args:
        selection_output: outputs on the selection split, shape (n,).
        selection_labels: 1 for Geant4, 0 for generated, shape (n,).
        output: outputs on the evaluation split, shape (m,).
        labels: 1 for Geant4, 0 for generated, shape (m,).

    Source: CaloChallenge, ``evaluate.py`` (which keeps 1e-6 from 0 and 1).
    """
    known = np.asarray(selection_output)
    margin = 1 / (len(known) + 2)
    calibration = IsotonicRegression(out_of_bounds="clip", y_min=margin, y_max=1 - margin)
    p = calibration.fit(known, selection_labels).predict(np.asarray(output))
    return {
        "auc": float(roc_auc_score(labels, p)),
        "jsd": float(1 - log_loss(labels, p) / np.log(2)),
    }


def _train(
    training: tuple[Tensor, Tensor], selection: tuple[Tensor, Tensor], protocol: Protocol
) -> nn.Module:
    """The network of the best epoch."""
    x, y = training
    network = _network(x.shape[1], protocol)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=protocol.learning_rate, weight_decay=protocol.weight_decay
    )
    loss_of = nn.BCEWithLogitsLoss()
    lowest, best = float("inf"), dict(network.state_dict())
    for _ in range(protocol.epochs):
        network.train()
        for rows in torch.split(torch.randperm(len(x)), protocol.batch_size):
            optimizer.zero_grad()
            loss_of(network(x[rows]).squeeze(-1), y[rows]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            loss = float(loss_of(network(selection[0]).squeeze(-1), selection[1]))
        if loss < lowest:
            lowest = loss
            best = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(best)
    return network.eval()


def _tensor(values: Floats) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)


def _network(n_inputs: int, protocol: Protocol) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in protocol.hidden:
        layers += [nn.Linear(n_inputs, width), nn.LeakyReLU(), nn.Dropout(protocol.dropout)]
        n_inputs = width
    return nn.Sequential(*layers, nn.Linear(n_inputs, 1))


@torch.no_grad()
def _probabilities(network: nn.Module, inputs: Tensor) -> NDArray[Any]:
    """Outputs as probabilities of Geant4, in double precision so that few of them tie."""
    result: NDArray[Any] = torch.sigmoid(network(inputs).squeeze(-1).double()).numpy()
    return result
