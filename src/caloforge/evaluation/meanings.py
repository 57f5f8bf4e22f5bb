"""The title of each metric, what it sees, what it cannot see, and the sample size that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "CLASSIFIER",
    "CLASSIFIERS",
    "METRICS",
    "Level",
    "Meaning",
    "classifier_title",
    "kind_of",
    "kind_title",
    "meaning",
]

Level = Literal["showers", "layers", "voxels"]

CLASSIFIER = "classifier"  # kind of all metrics that train a network


@dataclass(frozen=True)
class Meaning:
    """What a reader needs to know about a metric.

    Args:
        title: its name; of a classifier what the network sees, and whose network it is.
        sees: differences that change it.
        misses: differences that do not change it.
        needs: showers of each sample that it needs.
        level: of a classifier: what it is given.
    """

    title: str
    sees: str
    misses: str
    needs: str
    level: Level | None = None

    @property
    def sentence(self) -> str:
        """All three in words."""
        return (
            f"Sees {self.sees}. Cannot see {self.misses}. Showers of each it needs: {self.needs}."
        )


# By name, in the order of the tables. The texts are those of docs/evaluation.md.
METRICS: dict[str, Meaning] = {
    "worth": Meaning(
        "Worth",
        "five observables at given energy, in numbers of Geant4 showers",
        "voxels, correlations, copies",
        "several times the worth that is to be seen",
    ),
    "copies": Meaning(
        "Copies of training showers",
        "training showers that are repeated",
        "showers put together from parts",
        "300 of the reference for the fraction of near ones",
    ),
    "permutation": Meaning(
        "Tests by permutation",
        "thirty observables and their correlations; means and correlations of 362 features at "
        "similar energy",
        "voxels; which of them it was",
        "500",
    ),
    "nplm": Meaning(
        "Learned likelihood ratio",
        "regions of thirty observables, which it names",
        "voxels, narrow peaks",
        "500",
    ),
    "fpd": Meaning(
        "Fréchet physics distance",
        "means and correlations of 362 features, gross differences",
        "energies; shapes beyond means and covariances; a few outliers may decide it",
        "2,000; 50,000 published",
    ),
    "fpd-trimmed": Meaning(
        "Fréchet physics distance without tails",
        "means and correlations of 362 features of most showers",
        "tails, energies",
        "2,000",
    ),
    "kpd": Meaning(
        "Kernel physics distance",
        "moments up to the fourth of 362 features",
        "energies, small differences",
        "2,000, which are compared in blocks of 2,500; 50,000 published",
    ),
    "prdc": Meaning(
        "Precision, recall, density, coverage",
        "showers that Geant4 does not make, or that are missing, by all voxels",
        "shifts of energy below 3 %; which voxels they are",
        "1,000; three times 2,000 at most are taken",
    ),
    "pearson": Meaning(
        "Correlation of layer energies",
        "layers that are independent of each other",
        "any scale or width; low energies, beside the deep showers that decide it",
        "2,000, and 100,000 for small differences",
    ),
    "wasserstein": Meaning(
        "Wasserstein distance",
        "shifts and widths of shower observables and profiles: the finest ruler for width",
        "voxels, correlations, single noisy layers",
        "1,000; 10,000 published",
    ),
    "caloclouds": Meaning(
        "Wasserstein distance, CaloClouds' observables",
        "shifts and widths of observables of the ILD's cells, in ten rings and ten groups of "
        "layers",
        "correlations, single layers",
        "1,000; of each fixed energy 20",
    ),
    "points": Meaning(
        "Wasserstein distance of the points",
        "shifts and widths of observables of point clouds, before cells hide them",
        "correlations; neighbouring points",
        "1,000",
    ),
    "separation": Meaning(
        "Separation power",
        "shapes of single observables, layer by layer: noise in one layer best of all distances",
        "how observables are correlated; distances between histograms without overlap",
        "2,000; 100,000 to compare with published values",
    ),
}

# What networks of each input see, in any publication.
_GIVEN: dict[str, tuple[str, str, str]] = {
    "voxels": (
        "any pattern of voxels",
        "what their size and training do not reach: an AUC near 0.5 of few showers proves little",
        "10,000; published 100,000",
    ),
    "layers": (
        "anything that layer energies, centres, widths and sparsities hold",
        "patterns inside a layer",
        "2,000; published ones 100,000",
    ),
    "showers": (
        "anything that nine to 25 shower observables hold",
        "voxels, layers",
        "1,000",
    ),
    "energies": (
        "layer energies alone",
        "everything inside a layer",
        "1,000; published 100,000",
    ),
    "weights": (
        "where the density is wrong, by weights",
        "less than the same network without dropout",
        "10,000; published 100,000",
    ),
    "neighbours": (
        "spectrum of voxel energies and correlations of neighbours",
        "patterns beyond neighbours",
        "1,000",
    ),
    "adjacent": (
        "layers that are good one by one and do not fit together",
        "whole showers",
        "10,000; small 1,000",
    ),
}
# What it is given, how its score counts in the summary, and its title; the first ones first.
_TESTS: dict[str, tuple[str, Level, str]] = {
    "calochallenge-low": ("voxels", "voxels", "voxels (CaloChallenge's network)"),
    "calochallenge-low-normed": (
        "voxels",
        "voxels",
        "voxels by layer energy (CaloChallenge's network)",
    ),
    "calochallenge-high": ("layers", "layers", "features of all layers (CaloChallenge's network)"),
    "calochallenge-resnet": ("voxels", "voxels", "voxels (3D ResNet-18)"),
    "l2lflows-high": ("showers", "showers", "nine observables (L2LFlows' network)"),
    "l2lflows-low": ("voxels", "voxels", "voxels (L2LFlows' convolutions)"),
    "supercalo-low": ("voxels", "voxels", "voxels (SuperCalo's network)"),
    "supercalo-high": ("layers", "layers", "226 features of all layers (SuperCalo's network)"),
    "calodream-low": ("voxels", "voxels", "voxels (CaloDREAM's network)"),
    "calodream-high": ("layers", "layers", "226 features of all layers (CaloDREAM's network)"),
    "calodream-ratios": ("energies", "layers", "layer energies (CaloDREAM's network)"),
    "calodream-weights-low": ("weights", "voxels", "voxels (CaloDREAM's network with dropout)"),
    "calodream-weights-high": (
        "weights",
        "layers",
        "226 features of all layers (CaloDREAM's network with dropout)",
    ),
    "caloclouds-high": ("showers", "showers", "25 observables (CaloClouds' network)"),
    "small-shower": ("showers", "showers", "shower shapes (small network)"),
    "small-layers": ("layers", "layers", "layer shapes (small network)"),
    "small-voxels": ("neighbours", "voxels", "voxel spectrum and neighbours (small network)"),
    "small-ratios": ("energies", "layers", "layer energies (small network)"),
    "adjacent-layers": ("adjacent", "voxels", "voxels of adjacent layers (SuperCalo's network)"),
    "small-adjacent-layers": ("adjacent", "layers", "features of adjacent layers (small network)"),
}
CLASSIFIERS: dict[str, Meaning] = {
    name: Meaning(title, *_GIVEN[given], level) for name, (given, level, title) in _TESTS.items()
}


def kind_of(metric: str) -> str:
    """The group of a metric in tables: itself, or all classifier tests."""
    return metric if metric in METRICS else CLASSIFIER


def kind_title(kind: str) -> str:
    """What the tables of a kind are called."""
    return METRICS[kind].title if kind in METRICS else "Classifiers"


def meaning(metric: str) -> Meaning | None:
    """What a reader needs to know about a metric, None for one that is not caloforge's."""
    return METRICS.get(metric) or CLASSIFIERS.get(metric)


def classifier_title(metric: str) -> str:
    """What a classifier test is called: what its network sees, and whose it is."""
    return CLASSIFIERS[metric].title if metric in CLASSIFIERS else metric
