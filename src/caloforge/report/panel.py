"""A panel: one observable of all samples, with its ratio to Geant4."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from caloforge.evaluation.observables import Floats
from caloforge.evaluation.sample import Sample
from caloforge.report.histograms import Histograms, count_edges, distribution, range_of

__all__ = ["PER_BIN", "Panel", "Samples", "distribution_panel", "number_panel", "reference_of"]

PER_BIN = "fraction of showers / bin"

Samples: TypeAlias = Mapping[str, Sample]  # Geant4 first, then the candidates


@dataclass(frozen=True, eq=False)
class Panel:
    """One observable of all samples, with a ratio to Geant4 below.

    Args:
        name: name of its file.
        title: what it shows.
        y_label: label of the upper y axis.
        histograms: Geant4 first, then the candidates.
        log_x: logarithmic x axis.
        log_y: logarithmic y axis.
        cut: what lies below on the x axis is greyed, as nothing else counts it.
    """

    name: str
    title: str
    y_label: str
    histograms: Histograms
    log_x: bool = False
    log_y: bool = False
    cut: float | None = None


def reference_of(samples: Samples) -> Sample:
    """Geant4's sample."""
    return next(iter(samples.values()))


def distribution_panel(
    samples: Samples,
    observable: Callable[[Sample], Floats],
    name: str,
    title: str,
    label: str,
    *,
    bins: int = 40,
) -> Panel:
    """Distribution of a number that each shower has, in a range around Geant4's."""
    edges = range_of(observable(reference_of(samples)), bins)
    histograms = {key: distribution(observable(s), edges, label) for key, s in samples.items()}
    return Panel(name, title, PER_BIN, histograms)


def number_panel(
    samples: Samples, observable: Callable[[Sample], Floats], name: str, title: str, label: str
) -> Panel:
    """Distribution of a whole number that each shower has, in bins of equally many of them."""
    edges = count_edges(observable(reference_of(samples)), bins=40)
    histograms = {key: distribution(observable(s), edges, label) for key, s in samples.items()}
    return Panel(name, title, PER_BIN, histograms)
