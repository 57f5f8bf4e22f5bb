"""What classifiers say of single showers: distributions of their outputs and weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from caloforge.evaluation.comparison import Outputs
from caloforge.evaluation.observables import Floats
from caloforge.report.histograms import Histogram, distribution

__all__ = ["OutputPanel", "output_panels", "parts_of", "weight_edges"]

IN_ONE_PANEL = 6  # candidates, of which each has two lines


@dataclass(frozen=True, eq=False)
class OutputPanel:
    """Outputs or weights of one classifier test.

    Every candidate has a classifier of its own, so Geant4's showers have another distribution
    beside each of them.

    Args:
        name: name of its file.
        title: what it shows.
        y_label: label of the y axis.
        histograms: by candidate, of generated showers and of Geant4's.
        numbers: number of each candidate among all.
        no_difference: what a classifier says that sees none.
        log_x: logarithmic x axis.
    """

    name: str
    title: str
    y_label: str
    histograms: Mapping[str, tuple[Histogram, Histogram]]
    numbers: Mapping[str, int]
    no_difference: float
    log_x: bool


def output_panels(
    outputs: Mapping[tuple[str, str], Outputs], candidates: Sequence[str]
) -> Iterator[OutputPanel]:
    """Panels of outputs and of weights for each protocol, a few candidates in each.

    Args:
        outputs: by protocol and candidate.
        candidates: names of all candidates, in order.
    """
    numbers = {name: number for number, name in enumerate(candidates)}
    for protocol in dict.fromkeys(protocol for protocol, _ in outputs):
        names = [name for name in numbers if (protocol, name) in outputs]
        for part, suffix, which in parts_of(names):
            found = {name: outputs[protocol, name] for name in part}
            here = {name: numbers[name] for name in part}
            yield OutputPanel(
                f"outputs_{protocol}{suffix}",
                f"Outputs, {protocol}{which}",
                "1/N dN/dC",
                _histograms(found, np.linspace(0, 1 + 1e-9, 41), "C, probability of Geant4"),
                here,
                0.5,
                log_x=False,
            )
            weights = {
                name: replace(
                    pair,
                    reference=weights_of(pair.reference),
                    candidate=weights_of(pair.candidate),
                )
                for name, pair in found.items()
            }
            yield OutputPanel(
                f"weights_{protocol}{suffix}",
                f"Weights, {protocol}{which}",
                r"1/N dN/d$\,\log_{10} w$",
                _histograms(weights, weight_edges(weights), "w = C / (1 − C)", log=True),
                here,
                1.0,
                log_x=True,
            )


def parts_of(names: Sequence[str]) -> Iterator[tuple[Sequence[str], str, str]]:
    """Names in turn, a few at a time, with what ends the name and the title of their panel."""
    for number, first in enumerate(range(0, len(names), IN_ONE_PANEL), 1):
        suffix, which = (f"_{number}", f", part {number}")
        part = names[first : first + IN_ONE_PANEL]
        yield (part, "", "") if len(names) <= IN_ONE_PANEL else (part, suffix, which)


def weights_of(probability: ArrayLike) -> Floats:
    """Weights of showers, see `classifier_weights`."""
    from caloforge.evaluation import classifier_weights  # needs torch

    return classifier_weights(probability)


def weight_edges(weights: Mapping[str, Outputs]) -> Floats:
    """Borders of 60 logarithmic bins, as far on both sides of 1 as the farthest weight."""
    sides = [side for pair in weights.values() for side in (pair.reference, pair.candidate)]
    farthest = max(float(np.abs(np.log10(side)).max()) for side in sides)
    limit = max(1.0, farthest) * (1 + 1e-6)
    return np.logspace(-limit, limit, 61)


def _histograms(
    found: Mapping[str, Outputs], edges: Floats, label: str, *, log: bool = False
) -> dict[str, tuple[Histogram, Histogram]]:
    """By candidate: of generated showers, of Geant4's."""
    return {
        name: (
            distribution(pair.candidate, edges, label, log=log),
            distribution(pair.reference, edges, label, log=log),
        )
        for name, pair in found.items()
    }
