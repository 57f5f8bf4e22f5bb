"""The title of each value, how it is shown, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from scipy.stats import norm

from caloforge.evaluation.meanings import classifier_title
from caloforge.evaluation.observables import FIXED_ENERGIES
from caloforge.units import GeV

__all__ = ["CLASSIFIER_VALUES", "NO_DIFFERENCE", "QUANTITIES", "Quantity", "quantity"]

Toward = Literal["low", "high", "chance", "floor"] | float

NO_DIFFERENCE = 0.5  # AUC of a classifier that cannot distinguish two samples


@dataclass(frozen=True)
class Quantity:
    """A value that a metric gives.

    Args:
        title: its name in plots and tables.
        scale: factor that it is shown with.
        toward: what is better: a low value, a high one, whose inverse is what adds up, or one near
            the floor or a number, from which both ways are bad; "chance" for a p-value, of which a
            small one is bad and none has a floor.
    """

    title: str
    scale: float = 1.0
    toward: Toward = "low"

    @property
    def label(self) -> str:
        """The title with the scale."""
        return self.title if self.scale == 1 else f"{self.title} × {self.scale:g}"

    @property
    def better(self) -> str:
        """Which way is better, in a word or two."""
        if self.toward in ("low", "high"):
            return f"{self.toward}er"
        if self.toward == "chance":
            return "not near 0"
        return "near the floor" if self.toward == "floor" else f"near {self.toward:g}"

    def badness(self, value: float, floor: float) -> float:
        """How much worse a value is than its floor, negative where it is better.

        Of a p-value, in standard deviations of a normal distribution.
        """
        if self.toward == "chance":
            return float(norm.isf(value))
        if self.toward == "low":
            return value - floor
        if self.toward == "high":
            return 1 / value - 1 / floor
        if self.toward == "floor":
            return abs(value - floor)
        return abs(value - self.toward) - abs(floor - self.toward)


# What every classifier test gives.
CLASSIFIER_VALUES = {
    "auc": Quantity("AUC", toward=NO_DIFFERENCE),
    "jsd": Quantity("JSD"),
    "auc_1": Quantity("AUC of one layer", toward=NO_DIFFERENCE),
    "auc_2": Quantity("AUC of two adjacent layers", toward=NO_DIFFERENCE),
    "auc_3": Quantity("AUC of three adjacent layers", toward=NO_DIFFERENCE),
}

_CALOCLOUDS = {
    ("caloclouds", "sampling_fraction"): Quantity("Visible / incident energy"),
    **{
        ("caloclouds", f"visible_{energy / GeV:g}"): Quantity(
            f"Visible energy at {energy / GeV:g} GeV"
        )
        for energy in FIXED_ENERGIES
    },
    ("caloclouds", "n_hits"): Quantity("Number of hits"),
    **{
        ("caloclouds", f"hits_{energy / GeV:g}"): Quantity(
            f"Number of hits at {energy / GeV:g} GeV"
        )
        for energy in FIXED_ENERGIES
    },
    ("caloclouds", "spectrum"): Quantity("Cell energies"),
    ("caloclouds", "longitudinal"): Quantity("Energy in ten groups of layers, mean"),
    ("caloclouds", "radial"): Quantity("Energy in ten rings, mean"),
    ("caloclouds", "cog_x"): Quantity("Centre of gravity in x"),
    ("caloclouds", "cog_y"): Quantity("Centre of gravity in y"),
    ("caloclouds", "cog_z"): Quantity("Centre of gravity in depth"),
}
_POINTS = {
    ("points", "visible_energy"): Quantity("Visible / incident energy"),
    ("points", "n_points"): Quantity("Number of points"),
    ("points", "spectrum"): Quantity("Point energies"),
    ("points", "layer_counts"): Quantity("Points of the layers, mean"),
    ("points", "layer_energies"): Quantity("Energies of the layers, mean"),
    ("points", "ring_energies"): Quantity("Energies of rings of 2 mm, mean"),
    ("points", "cog_x"): Quantity("Centre of gravity in x"),
    ("points", "cog_y"): Quantity("Centre of gravity in y"),
    ("points", "cog_z"): Quantity("Centre of gravity in depth"),
    ("points", "lost"): Quantity("Fraction lost in the projection"),
}

_WORTH = {
    ("worth", "all"): Quantity("Worth in Geant4 showers", toward="high"),
    ("worth", "amplification"): Quantity("Worth / training showers", toward="high"),
    ("worth", "response"): Quantity("Worth, visible / incident energy", toward="high"),
    ("worth", "depth"): Quantity("Worth, centre in depth", toward="high"),
    ("worth", "width"): Quantity("Worth, width in depth", toward="high"),
    ("worth", "radius"): Quantity("Worth, mean radius", toward="high"),
    ("worth", "hits"): Quantity("Worth, number of hits", toward="high"),
    ("worth", "points"): Quantity("Worth, number of points", toward="high"),
    ("worth", "together"): Quantity("Worth, all of these together", toward="high"),
}
_TESTS = {
    ("permutation", "sliced_wasserstein"): Quantity("p, sliced Wasserstein", toward="chance"),
    ("permutation", "mean_ks"): Quantity("p, mean Kolmogorov-Smirnov", toward="chance"),
    ("permutation", "frechet"): Quantity("p, Fréchet without tails", toward="chance"),
    ("nplm", "nplm"): Quantity("p, learned likelihood ratio", toward="chance"),
}
_COPIES = {
    ("copies", "exact"): Quantity("Copies of training showers"),
    ("copies", "near"): Quantity("Near copies of training showers"),
    ("copies", "ratio"): Quantity("Distance to training / Geant4's", toward="floor"),
}

# By metric and observable, in the order of the tables; classifier tests come first.
QUANTITIES: dict[tuple[str, str], Quantity] = {
    **_WORTH,
    **_TESTS,
    ("fpd", "fpd"): Quantity("Fréchet physics distance", 1e3),
    ("fpd-trimmed", "fpd"): Quantity("Fréchet physics distance without tails", 1e3),
    ("kpd", "kpd"): Quantity("Kernel physics distance", 1e3, toward=0.0),
    ("prdc", "precision"): Quantity("Precision", toward="floor"),
    ("prdc", "recall"): Quantity("Recall", toward="floor"),
    ("prdc", "density"): Quantity("Density", toward="floor"),
    ("prdc", "coverage"): Quantity("Coverage", toward="floor"),
    ("pearson", "mean"): Quantity("Correlation of layers, mean difference"),
    ("pearson", "max"): Quantity("Correlation of layers, largest difference"),
    ("wasserstein", "energy_ratio"): Quantity("Deposited / incident energy"),
    ("wasserstein", "occupancy"): Quantity("Occupancy"),
    ("wasserstein", "spectrum"): Quantity("Voxel energy spectrum"),
    ("wasserstein", "z_profile"): Quantity("Longitudinal profile"),
    ("wasserstein", "r_profile"): Quantity("Radial profile"),
    ("wasserstein", "x_profile"): Quantity("x profile"),
    ("wasserstein", "y_profile"): Quantity("y profile"),
    ("wasserstein", "z_mean"): Quantity("Centre in depth"),
    ("wasserstein", "x_mean"): Quantity("Centre in x"),
    ("wasserstein", "y_mean"): Quantity("Centre in y"),
    ("wasserstein", "z_std"): Quantity("Width in depth"),
    ("wasserstein", "x_std"): Quantity("Width in x"),
    ("wasserstein", "y_std"): Quantity("Width in y"),
    **_CALOCLOUDS,
    **_POINTS,
    ("separation", "E_tot"): Quantity("Deposited / incident energy"),
    ("separation", "E_layer"): Quantity("Layer energies"),
    ("separation", "voxel"): Quantity("Voxel energy spectrum"),
    ("separation", "sparsity"): Quantity("Sparsity of layers"),
    ("separation", "EC_eta"): Quantity("Centre of layers in x"),
    ("separation", "EC_phi"): Quantity("Centre of layers in y"),
    ("separation", "EC_r"): Quantity("Centre of layers in r"),
    ("separation", "width_eta"): Quantity("Width of layers in x"),
    ("separation", "width_phi"): Quantity("Width of layers in y"),
    ("separation", "width_r"): Quantity("Width of layers in r"),
    **_COPIES,
}


def quantity(metric: str, observable: str) -> Quantity:
    """The quantity of a metric's observable; classifier tests have AUC and JSD."""
    if observable in CLASSIFIER_VALUES and (metric, observable) not in QUANTITIES:
        value = CLASSIFIER_VALUES[observable]
        return replace(value, title=f"{value.title}, {classifier_title(metric)}")
    return QUANTITIES.get((metric, observable)) or Quantity(observable)
