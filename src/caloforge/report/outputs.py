"""Outputs of classifiers for single showers: distributions of their outputs and weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from caloforge.evaluation.comparison import Outputs
from caloforge.evaluation.meanings import classifier_title
from caloforge.evaluation.observables import Floats

__all__ = ["OutputPanel", "Shares", "output_panels", "parts_of"]

IN_ONE_PANEL = 6  # candidates, of which each has two lines
POINTS = 241  # of a line


@dataclass(frozen=True, eq=False)
class Shares:
    """Fraction of the showers that a classifier gives a number, or one beyond it.

    Calibrated outputs are few different numbers, each of many showers: their histogram would be a
    comb, their sums are not.

    Args:
        x: the numbers, shape (k,).
        share: of generated showers those of this number or less, of Geant4's those of this number
            or more; shape (k,).
        error: standard deviation of the fraction, binomial, shape (k,).
    """

    x: Floats
    share: Floats
    error: Floats


@dataclass(frozen=True, eq=False)
class OutputPanel:
    """Outputs or weights of one classifier test.

    Every candidate has a classifier of its own, so Geant4's showers have another line beside each
    of them.

    Args:
        name: name of its file.
        title: what it shows.
        x_label: label of the x axis.
        shares: by candidate, of generated showers and of Geant4's.
        numbers: number of each candidate among all.
        no_difference: output of a classifier that sees no difference.
        log: logarithmic axes.
    """

    name: str
    title: str
    x_label: str
    shares: Mapping[str, tuple[Shares, Shares]]
    numbers: Mapping[str, int]
    no_difference: float
    log: bool


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
        names, title = [n for n in numbers if (protocol, n) in outputs], classifier_title(protocol)
        for part, suffix, which in parts_of(names):
            found = {name: outputs[protocol, name] for name in part}
            here = {name: numbers[name] for name in part}
            yield OutputPanel(
                f"outputs_{protocol}{suffix}",
                f"Outputs, {title}{which}",
                "C, probability of Geant4",
                _shares(found, np.linspace(0, 1, POINTS)),
                here,
                0.5,
                log=False,
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
                f"Weights, {title}{which}",
                "w = C / (1 − C)",
                _shares(weights, weight_range(weights)),
                here,
                1.0,
                log=True,
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


def weight_range(weights: Mapping[str, Outputs]) -> Floats:
    """Logarithmic numbers as far on both sides of 1 as the farthest weight."""
    sides = [side for pair in weights.values() for side in (pair.reference, pair.candidate)]
    farthest = max(float(np.abs(np.log10(side)).max()) for side in sides)
    limit = max(1.0, farthest) * (1 - 1e-9)  # so that the farthest are beyond its ends
    return np.logspace(-limit, limit, POINTS)


def _shares(found: Mapping[str, Outputs], x: Floats) -> dict[str, tuple[Shares, Shares]]:
    """By candidate: of generated showers, of Geant4's."""
    return {
        name: (_beyond(pair.candidate, x), _beyond(pair.reference, x, above=True))
        for name, pair in found.items()
    }


def _beyond(values: Floats, x: Floats, *, above: bool = False) -> Shares:
    """Fraction of values up to each x, or from there on."""
    ordered, n = np.sort(values), len(values)
    below = np.searchsorted(ordered, x, "left" if above else "right") / n
    share = 1 - below if above else below
    return Shares(x, share, np.sqrt(share * (1 - share) / n))
