"""Correlations of adjacent layers: SuperCalo's, and classifiers that see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from caloforge.evaluation.meanings import classifier_title
from caloforge.evaluation.observables import RHO_EDGES, RHO_RINGS, Floats
from caloforge.evaluation.quantities import CLASSIFIER_VALUES
from caloforge.evaluation.scores import Score, Scores
from caloforge.report.histograms import of_counts
from caloforge.report.panel import Panel, Samples, reference_of

__all__ = ["AdjacentLine", "AdjacentPanel", "adjacent_panels", "rho_panels"]


def rho_panels(samples: Samples) -> Iterator[Panel]:
    """Correlation of adjacent layers in inner, middle and outer voxels; none where layers differ.

    Source: SuperCalo (arXiv:2308.11700), figure 5.
    """
    if not reference_of(samples).rho:
        return
    for ring in RHO_RINGS:
        yield Panel(
            f"rho_{ring}",
            f"Correlation of adjacent layers, {ring} voxels",
            "fraction of pairs / bin",
            {
                name: of_counts(sample.rho[ring], RHO_EDGES, r"$\rho$")
                for name, sample in samples.items()
            },
            log_y=True,
        )


@dataclass(frozen=True, eq=False)
class AdjacentLine:
    """AUC of classifiers that see so many layers, by the first of them.

    Args:
        label: how many layers.
        first: number of the first layer, shape (k,).
        auc: of the candidate, shape (k,).
        error: its standard deviation over the subsamples, shape (k,).
        floor: AUC of as many other Geant4 showers, shape (k,).
        floor_error: its standard deviation over the subsamples, shape (k,).
    """

    label: str
    first: Floats
    auc: Floats
    error: Floats
    floor: Floats
    floor_error: Floats


@dataclass(frozen=True, eq=False)
class AdjacentPanel:
    """AUC against the first layer, a line for each number of adjacent layers."""

    name: str
    title: str
    lines: tuple[AdjacentLine, ...]


def adjacent_panels(scores: Scores) -> Iterator[AdjacentPanel]:
    """A panel for each candidate of each study of adjacent layers, if any was asked for.

    Source: SuperCalo (arXiv:2308.11700), figure 4.
    """
    numbers = {name: number for number, name in enumerate(scores.candidates, 1)}
    found: dict[tuple[str, str], list[Score]] = {}
    for score in scores.values:
        if score.observable.startswith("auc_"):
            found.setdefault((score.metric, score.candidate), []).append(score)
    for (metric, candidate), of_one in found.items():
        yield AdjacentPanel(
            f"{metric.replace('-', '_')}_{numbers[candidate]:02d}",
            f"{candidate}, {classifier_title(metric)}",
            tuple(_line(score) for score in of_one),
        )


def _line(score: Score) -> AdjacentLine:
    columns: Mapping[str, tuple[float, ...]] = {
        "auc": score.layers,
        "error": score.layer_errors,
        "floor": score.floor_layers,
        "floor_error": score.floor_layer_errors,
    }
    taken = np.isfinite(score.layers)
    values = {name: np.asarray(column)[taken] for name, column in columns.items()}
    label = CLASSIFIER_VALUES[score.observable].title.partition(" of ")[2]
    return AdjacentLine(label, np.flatnonzero(taken).astype(np.float64), **values)
