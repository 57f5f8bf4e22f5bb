"""Classifier tests as the field publishes them: every setting, by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from caloforge.evaluation.leaderboard import DATASETS, DATASETS_23
from caloforge.names import did_you_mean

__all__ = ["ADJACENT", "PROTOCOLS", "Protocol", "find_protocol"]

InputName = Literal[
    "voxels",
    "voxels-percent",
    "voxels-normed",
    "voxels-MeV",
    "features",
    "features-226",
    "fractions",
    "moments",
    "moments-linear",
    "caloclouds",
    "correlations",
    "ratios",
    "layers",
]
Network = Literal["dense", "resnet", "convolutional"]
Standardisation = Literal["none", "training", "reference"]
Selection = Literal["accuracy", "loss", "last"]


@dataclass(frozen=True)
class Protocol:
    """Settings of a classifier test.

    Each of the two samples is shuffled and cut on its own into a training, a selection and an
    evaluation split; Geant4 has label 1.

    Args:
        name: name of the protocol.
        source: where the settings come from.
        inputs: list of inputs, see `take_columns`.
        network: kind of network, see `build_network`.
        comparable: whether scores may be compared with published ones.
        geometries: geometry presets that there are published scores for.
        n_showers: showers of each sample in the published tests.
        hidden: widths of the hidden dense layers.
        slope: negative slope of the LeakyReLU.
        dropout: probability of dropping a hidden unit in training.
        standardise: inputs are scaled to mean 0 and standard deviation 1 of the training split of
            both samples, of all showers of the reference, or not at all.
        precision: of inputs and weights.
        learning_rate: of AdamW, which is Adam where there is no weight decay.
        weight_decay: of AdamW.
        batch_size: most showers of a step.
        epochs: passes over the training split.
        split: fractions for training and for selection; the rest is evaluated.
        counts: showers for training and for selection by size of a sample, where these are fixed.
        selection: the weights with the highest accuracy or the lowest cross entropy on the
            selection split are kept, or the last ones.
        check_every: steps after which the weights are validated as well as after an epoch; 0: none.
        calibrated: whether outputs are calibrated by isotonic regression on the selection split.
        margin: distance that probabilities keep from 0 and 1; None: 1 / (n + 2) with n the length
            of the selection split, so that the JSD is not punished for what n showers cannot show.
        runs: trainings, each with a split and a seed of its own, that mean and spread are taken of.
        max_showers: most showers of each sample that are used; None: all.
    """

    name: str
    source: str
    inputs: InputName
    network: Network = "dense"
    comparable: bool = True
    geometries: tuple[str, ...] = ()
    n_showers: int = 100_000
    hidden: tuple[int, ...] = ()
    slope: float = 0.01
    dropout: float = 0.0
    standardise: Standardisation = "none"
    precision: Literal["float32", "float64"] = "float64"
    learning_rate: float = 2e-4
    weight_decay: float = 0.0
    batch_size: int = 1000
    epochs: int = 50
    split: tuple[float, float] = (0.6, 0.2)
    counts: tuple[tuple[int, tuple[int, int]], ...] = ()
    selection: Selection = "accuracy"
    check_every: int = 0
    calibrated: bool = True
    margin: float | None = 1e-6
    runs: int = 10
    max_showers: int | None = None

    def cuts(self, size: int) -> tuple[int, int]:
        """Where a shuffled sample of so many showers is cut into the three splits."""
        training, selection = dict(self.counts).get(
            size, tuple(fraction * size for fraction in self.split)
        )
        return round(training), round(training + selection)


def _calochallenge(name: str, inputs: InputName) -> Protocol:
    """The CaloChallenge's fully connected network, which most papers use."""
    return Protocol(
        name=f"calochallenge-{name}",
        source="CaloChallenge (arXiv:2410.21611), evaluate.py",
        inputs=inputs,
        geometries=DATASETS,
        hidden=(2048, 2048, 2048),  # --cls_n_layer 2 counts the layers after the first
        # Photons and pions of dataset 1; 100,000 showers give 60,000, 20,000 and 20,000.
        counts=((121_000, (80_000, 20_000)), (120_800, (80_000, 20_000))),
    )


def _supercalo(name: str, inputs: InputName) -> Protocol:
    return Protocol(
        name=f"supercalo-{name}",
        source="SuperCalo (arXiv:2308.11700), section III D and appendix C",
        inputs=inputs,
        geometries=("calochallenge-2",),
        hidden=(2048, 2048, 2048),  # an input layer and two hidden ones
    )


def _calodream(
    name: str,
    inputs: InputName,
    *,
    dropout: float = 0.0,
    standardise: Standardisation = "none",
) -> Protocol:
    """Its classifiers for scores; those for the weights of figure 10 have a dropout of 0.2."""
    return Protocol(
        name=f"calodream-{name}",
        source="CaloDREAM (arXiv:2405.09629), table 3",
        inputs=inputs,
        geometries=DATASETS_23,
        hidden=(512, 512, 512),
        dropout=dropout,
        standardise=standardise,
        epochs=200,
        split=(0.7, 0.1),
    )


def _l2lflows_low() -> Protocol:
    return Protocol(
        name="l2lflows-low",
        source="Convolutional L2LFlows (arXiv:2405.20407), appendix D",
        inputs="voxels-MeV",
        network="convolutional",
        geometries=("ild-30", "calochallenge-3"),
        hidden=(128, 64, 32),
        precision="float32",
        learning_rate=1e-3,
        batch_size=512,
        epochs=30,
        selection="loss",
        runs=5,
    )


def _l2lflows_high() -> Protocol:
    return Protocol(
        name="l2lflows-high",
        source="Convolutional L2LFlows (arXiv:2405.20407), section 4.2 and appendix D",
        inputs="moments-linear",
        geometries=("ild-30", "calochallenge-3"),
        hidden=(512, 512, 128, 32),
        standardise="training",
        precision="float32",
        learning_rate=1e-4,
        batch_size=256,
        epochs=30,
        split=(0.8, 0.0),
        selection="last",
        calibrated=False,
        margin=1e-8,
        runs=5,
    )


def _caloclouds_high() -> Protocol:
    """Its ten folds are ten subsamples here, each cut again into splits as large as the folds.

    Published scores are those of the detector's own cells, which none of the geometries has.
    """
    return Protocol(
        name="caloclouds-high",
        source="CaloClouds II (arXiv:2309.05704), classifier_test.ipynb",
        inputs="caloclouds",
        n_showers=500_000,
        hidden=(32, 16),
        slope=0.2,
        standardise="reference",
        precision="float32",
        learning_rate=1e-3,
        batch_size=256,
        epochs=10,
        split=(0.8, 0.1),
        selection="loss",
        check_every=1000,
        calibrated=False,
        margin=1e-8,
    )


def _small(
    name: str, inputs: InputName, hidden: tuple[int, ...], dropout: float, decay: float
) -> Protocol:
    """A network that learns from some hundred showers on a CPU in seconds, not comparable."""
    return Protocol(
        name=f"small-{name}",
        source="caloforge",
        inputs=inputs,
        comparable=False,
        hidden=hidden,
        dropout=dropout,
        standardise="training",
        precision="float32",
        learning_rate=1e-3,
        weight_decay=decay,
        batch_size=128,
        epochs=30,
        selection="loss",  # accuracy is too coarse a measure on small splits
        margin=None,
        runs=5,
        max_showers=20_000,
    )


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        _calochallenge("low", "voxels"),
        _calochallenge("low-normed", "voxels-normed"),
        _calochallenge("high", "features"),
        Protocol(
            name="calochallenge-resnet",
            source="CaloChallenge (arXiv:2410.21611), resnet.py",
            inputs="voxels",
            network="resnet",
            geometries=DATASETS_23,
        ),
        _l2lflows_high(),
        _l2lflows_low(),
        _supercalo("low", "voxels-percent"),
        _supercalo("high", "features-226"),
        _calodream("low", "voxels"),
        _calodream("high", "features-226"),
        _calodream("ratios", "ratios", standardise="training"),
        _calodream("weights-low", "voxels", dropout=0.2),
        _calodream("weights-high", "features-226", dropout=0.2),
        _caloclouds_high(),
        _small("shower", "moments", (64, 64), 0.1, 1e-2),
        _small("layers", "fractions", (64,), 0.5, 1e-1),
        _small("voxels", "correlations", (64,), 0.5, 1e-1),
        _small("ratios", "ratios", (64, 64), 0.1, 1e-2),
    )
}

# Of one to three adjacent layers at five depths: fifteen networks a run. Figure 4 of SuperCalo has
# no errors; three runs give some.
ADJACENT: dict[str, Protocol] = {
    protocol.name: replace(protocol, runs=3)
    for protocol in (
        replace(
            PROTOCOLS["supercalo-low"],
            name="adjacent-layers",
        ),
        _small("adjacent-layers", "layers", (64,), 0.5, 1e-1),
    )
}


def find_protocol(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        ValueError: if there is none.
    """
    if name not in PROTOCOLS:
        raise ValueError(
            f"there is no classifier protocol {name!r}{did_you_mean(name, PROTOCOLS)}: "
            f"choose one of {', '.join(PROTOCOLS)}"
        )
    return PROTOCOLS[name]
