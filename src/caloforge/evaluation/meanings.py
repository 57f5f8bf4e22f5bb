"""What each metric is called, what it sees, what it cannot see, and how large a sample it needs."""

from __future__ import annotations

from collections.abc import Iterator
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
    """What a person needs to know of a metric.

    Args:
        title: what it is called; of a classifier what the network sees, and whose it is.
        sees: what moves it.
        misses: what leaves it as it is.
        needs: which samples show what.
        level: of a classifier: what it is given.
    """

    title: str
    sees: str
    misses: str
    needs: str
    level: Level | None = None

    @property
    def sentence(self) -> str:
        """All three in one sentence."""
        return f"Sees {self.sees}; cannot see {self.misses}; {self.needs}."


_ONE_BY_ONE = "how observables depend on each other"
_LIKE_WASSERSTEIN = "2,600 showers show 3 % more energy and 5 % wider showers"

# By name, in the order of the tables. What 2,600 showers show was measured with deliberate
# distortions (benchmarks/sensitivity.py).
METRICS: dict[str, Meaning] = {
    "worth": Meaning(
        "Worth",
        "how far observables of whole showers lie from Geant4's at like energy, in the number of "
        "Geant4 showers that would lie as far by chance",
        "voxels, single layers, and correlations but in the worth of all together",
        "a worth up to about the number of showers of the reference can be measured, beyond it has "
        "a lower limit",
    ),
    "copies": Meaning(
        "Copies of training showers",
        "generated showers that lie much nearer to a training shower than Geant4's do",
        "whether showers are right, and what is learned by heart but changed",
        "needs the training showers; n generated showers show a share of copies of 1 / n",
    ),
    "permutation": Meaning(
        "Tests by permutation",
        "shifts and widths of all observables and features together",
        "rare tails",
        "its chance of a false alarm is exact for any number of showers",
    ),
    "nplm": Meaning(
        "Learned likelihood ratio",
        "where the densities of both samples differ, and says where",
        "what its kernel is too wide to resolve",
        "its chance of a false alarm is exact for any number of showers",
    ),
    "fpd": Meaning(
        "Fréchet physics distance",
        "means and covariances of the features of all layers",
        "the energy scale (features are logarithms over eight decades) and anything but means and "
        "covariances",
        "2,600 showers show widths and noise that are 30 % off, not 5 %; published values are of "
        "50,000 and more",
    ),
    "fpd-trimmed": Meaning(
        "Fréchet physics distance without tails",
        "means and covariances of the features of all layers, without a few extreme showers",
        "anything but means and covariances, and the tails",
        "its error is smaller than with tails",
    ),
    "kpd": Meaning(
        "Kernel physics distance",
        "any difference of the features of all layers, in principle",
        "the energy scale, and in practice all that is small",
        "2,600 showers show widths and noise that are 30 % off, not 5 %; published values are of "
        "50,000 and more",
    ),
    "prdc": Meaning(
        "Precision, recall, density, coverage",
        "showers that lie, voxel by voxel, where the other sample has none",
        "rare soft voxels, and copies of training showers",
        "2,600 showers show 3 % more energy and 5 % wider showers, not a noise of 3 %",
    ),
    "pearson": Meaning(
        "Correlation of layer energies",
        "how the energies of any two layers rise and fall together",
        "scales and widths; with a broad spectrum of incident energies hardly anything else",
        "2,600 showers show 30 % of showers with foreign layers, not 3 %",
    ),
    "wasserstein": Meaning(
        "Wasserstein distance",
        "shifts and widths of the distributions of whole showers' observables",
        f"noise in one layer, and {_ONE_BY_ONE}",
        f"{_LIKE_WASSERSTEIN}, and 3 % of showers with foreign layers",
    ),
    "caloclouds": Meaning(
        "Wasserstein distance, CaloClouds' observables",
        "shifts and widths of hits, energies and centres of gravity in cells",
        f"noise in one layer, and {_ONE_BY_ONE}",
        "as for the Wasserstein distance; at fixed energies only a part of the showers counts",
    ),
    "points": Meaning(
        "Wasserstein distance of the points",
        "shifts and widths of the same for points, before they are projected into cells",
        f"how points lie to each other, and {_ONE_BY_ONE}",
        "as for the Wasserstein distance",
    ),
    "separation": Meaning(
        "Separation power",
        "the shape of each distribution, layer by layer",
        _ONE_BY_ONE,
        f"{_LIKE_WASSERSTEIN}, and a noise of 3 % in one layer; its floor falls with the number "
        "of showers",
    ),
}

_PUBLISHED = "published values are of 100,000 showers of each; of few showers, 0.5 proves little"
_GIVEN: dict[Level, tuple[str, str]] = {
    "showers": ("observables of whole showers and how they depend on each other", "single layers"),
    "layers": ("features of all layers and how they depend on each other", "the pattern of voxels"),
    "voxels": ("everything, if it learns it", "what its training sample is too small to teach"),
}
_ENERGIES = ("the energies of all layers together", "how energy lies in a layer")


def _published(
    level: Level, inputs: str, network: str, given: tuple[str, str] = ("", "")
) -> Meaning:
    sees, misses = given if given[0] else _GIVEN[level]
    return Meaning(f"{inputs} ({network})", sees, misses, _PUBLISHED, level)


def _classifiers() -> Iterator[tuple[str, Meaning]]:
    challenge, dream = "CaloChallenge's network", "CaloDREAM's network"
    supercalo, dropout = "SuperCalo's network", "CaloDREAM's network with dropout"
    features = "226 features of all layers"
    yield "calochallenge-low", _published("voxels", "voxels", challenge)
    yield "calochallenge-low-normed", _published("voxels", "voxels by layer energy", challenge)
    yield "calochallenge-high", _published("layers", "features of all layers", challenge)
    yield "calochallenge-resnet", _published("voxels", "voxels", "3D ResNet-18")
    yield "l2lflows-high", _published("showers", "nine observables", "L2LFlows' network")
    yield "l2lflows-low", _published("voxels", "voxels", "L2LFlows' convolutions")
    yield "supercalo-low", _published("voxels", "voxels", supercalo)
    yield "supercalo-high", _published("layers", features, supercalo)
    yield "calodream-low", _published("voxels", "voxels", dream)
    yield "calodream-high", _published("layers", features, dream)
    yield "calodream-ratios", _published("layers", "layer energies", dream, _ENERGIES)
    yield "calodream-weights-low", _published("voxels", "voxels", dropout)
    yield "calodream-weights-high", _published("layers", features, dropout)
    yield "caloclouds-high", _published("showers", "25 observables", "CaloClouds' network")
    yield (
        "small-shower",
        Meaning(
            "shower shapes (small network)",
            "nine observables of whole showers and how they depend on each other",
            "noise in one layer",
            "2,600 showers show 3 % more energy and 5 % wider showers",
            "showers",
        ),
    )
    yield (
        "small-layers",
        Meaning(
            "layer shapes (small network)",
            "energy, centre, width and sparsity of all layers together",
            "the pattern of voxels in a layer",
            "2,600 showers show 3 % more energy and 5 % wider showers",
            "layers",
        ),
    )
    yield (
        "small-voxels",
        Meaning(
            "voxel spectrum and neighbours (small network)",
            "the spectrum of voxel energies, and neighbouring voxels and layers",
            "what happens far apart in a shower",
            "2,600 showers show 3 % more energy, 5 % wider showers and a noise of 3 % in one layer",
            "voxels",
        ),
    )
    yield (
        "small-ratios",
        Meaning(
            "layer energies (small network)",
            *_ENERGIES,
            "1,800 showers show 5 % more energy",
            "layers",
        ),
    )
    yield (
        "adjacent-layers",
        _published(
            "voxels",
            "voxels of adjacent layers",
            supercalo,
            ("the voxels of one to three adjacent layers", "what happens farther apart"),
        ),
    )
    yield (
        "small-adjacent-layers",
        Meaning(
            "features of adjacent layers (small network)",
            "features of one to three adjacent layers",
            "what happens farther apart, and the pattern of voxels",
            "some thousand showers; one network for each number of layers and depth",
            "layers",
        ),
    )


CLASSIFIERS: dict[str, Meaning] = dict(_classifiers())


def kind_of(metric: str) -> str:
    """What a metric stands with in tables: itself, or all classifier tests."""
    return metric if metric in METRICS else CLASSIFIER


def kind_title(kind: str) -> str:
    """What the tables of a kind are called."""
    return METRICS[kind].title if kind in METRICS else "Classifiers"


def meaning(metric: str) -> Meaning | None:
    """What a person needs to know of a metric, None for one that is not caloforge's."""
    return METRICS.get(metric) or CLASSIFIERS.get(metric)


def classifier_title(metric: str) -> str:
    """What a classifier test is called: what its network sees, and whose it is."""
    return CLASSIFIERS[metric].title if metric in CLASSIFIERS else metric
