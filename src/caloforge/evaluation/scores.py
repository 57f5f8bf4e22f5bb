"""Scores of generated samples beside the floor: numbers, JSON, Markdown, a page."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caloforge.data.replacing import replacing
from caloforge.evaluation.sample import Sample

__all__ = ["TITLES", "Score", "Scores"]

# What a person calls each value, by metric and observable, in the order of the table.
TITLES: dict[tuple[str, str], str] = {
    ("classifier", "auc"): "AUC, nine shower observables",
    ("classifier", "auc_layers"): "AUC, features of all layers",
    ("classifier", "jsd"): "JSD, nine shower observables",
    ("classifier", "jsd_layers"): "JSD, features of all layers",
    ("wasserstein", "energy_ratio"): "Deposited / incident energy",
    ("wasserstein", "occupancy"): "Occupancy",
    ("wasserstein", "spectrum"): "Voxel energy spectrum",
    ("wasserstein", "z_profile"): "Longitudinal profile",
    ("wasserstein", "r_profile"): "Radial profile",
    ("wasserstein", "x_profile"): "x profile",
    ("wasserstein", "y_profile"): "y profile",
    ("wasserstein", "z_mean"): "Centre in depth",
    ("wasserstein", "x_mean"): "Centre in x",
    ("wasserstein", "y_mean"): "Centre in y",
    ("wasserstein", "z_std"): "Width in depth",
    ("wasserstein", "x_std"): "Width in x",
    ("wasserstein", "y_std"): "Width in y",
    ("separation", "E_tot"): "Deposited / incident energy",
    ("separation", "E_layer"): "Layer energies",
    ("separation", "voxel"): "Voxel energy spectrum",
    ("separation", "sparsity"): "Sparsity of layers",
    ("separation", "EC_eta"): "Centre of layers in x",
    ("separation", "EC_phi"): "Centre of layers in y",
    ("separation", "EC_r"): "Centre of layers in r",
    ("separation", "width_eta"): "Width of layers in x",
    ("separation", "width_phi"): "Width of layers in y",
    ("separation", "width_r"): "Width of layers in r",
}


@dataclass(frozen=True)
class Score:
    """One value of one candidate, and the floor to read it against.

    Args:
        metric: "separation", "wasserstein" or "classifier".
        observable: what is compared; for layers the mean over them.
        candidate: name of the generated sample.
        value: mean over the draws.
        error: standard deviation over the draws.
        floor: the same between disjoint halves of the reference.
        floor_error: its standard deviation over the draws.
        n_showers: showers of each set that was compared.
        layers: value of each layer, empty if the observable has no layers.
        floor_layers: floor of each layer.
    """

    metric: str
    observable: str
    candidate: str
    value: float
    error: float
    floor: float
    floor_error: float
    n_showers: int
    layers: tuple[float, ...] = ()
    floor_layers: tuple[float, ...] = ()

    @property
    def title(self) -> str:
        """What a person calls the value."""
        return TITLES.get((self.metric, self.observable), self.observable)

    @property
    def excess(self) -> float:
        """Distance from the floor in units of both spreads; NaN if there is none."""
        spread = math.hypot(self.error, self.floor_error)
        return (self.value - self.floor) / spread if spread > 0 else float("nan")


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of all candidates, with the observables that they were taken from.

    Args:
        values: every score.
        reference: observables of the reference.
        candidates: observables of the candidates, by name.
        provenance: what was compared, how, and with which versions.
    """

    values: tuple[Score, ...]
    reference: Sample = field(repr=False)
    candidates: Mapping[str, Sample] = field(repr=False)
    provenance: Mapping[str, Any] = field(repr=False)

    def __getitem__(self, key: tuple[str, str, str]) -> Score:
        """The score of (metric, observable, candidate)."""
        for value in self.values:
            if (value.metric, value.observable, value.candidate) == key:
                return value
        raise KeyError(
            f"there is no score {key}; expected (metric, observable, candidate) with metrics "
            f"{sorted({v.metric for v in self.values})}, candidates {sorted(self.candidates)}"
        )

    def rows(self) -> list[tuple[str, str, list[Score]]]:
        """The table: metric, observable and one score a candidate, in the order of `TITLES`."""
        keys = {(value.metric, value.observable) for value in self.values}
        order = [key for key in TITLES if key in keys] + sorted(keys - set(TITLES))
        return [
            (*key, [v for v in self.values if (v.metric, v.observable) == key]) for key in order
        ]

    def to_json(self) -> str:
        """Everything but the observables, as JSON; a value that could not be taken is null."""
        table = [
            {name: _json_number(value) for name, value in vars(score).items() if value != ()}
            for score in self.values
        ]
        record = {"format_version": 1, "provenance": self.provenance, "scores": table}
        return json.dumps(record, indent=1, allow_nan=False, default=str)

    def save_json(self, path: str | Path) -> None:
        """Write `to_json` to a file."""
        with replacing(path) as temporary:
            temporary.write_text(self.to_json() + "\n", encoding="utf-8")

    def to_markdown(self) -> str:
        """The table of scores beside the floor, for reading."""
        names = list(self.candidates)
        blocks = []
        for metric in dict.fromkeys(metric for metric, _, _ in self.rows()):
            header = [metric.capitalize(), "floor", *names]
            lines = [header, ["---", *["---:"] * (len(names) + 1)]]
            for _, _, scores in (row for row in self.rows() if row[0] == metric):
                floor = format_value(scores[0].floor, scores[0].floor_error)
                values = [format_value(score.value, score.error) for score in scores]
                lines.append([scores[0].title, floor, *values])
            blocks.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        return "\n\n".join(blocks) + "\n"

    def __str__(self) -> str:
        return self.to_markdown()

    def save_page(self, path: str | Path, *, figures: Collection[str] = ()) -> None:
        """Write the page of scores, figures and event display: one HTML file that needs no other.

        Args:
            path: the file.
            figures: formats, such as "png" and "pdf", in which the figures are also written into
                the folder `<name of the page>_figures`.

        Raises:
            ModuleNotFoundError: if the libraries of the page are not installed.
        """
        try:
            from caloforge.report import save_page
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"the page needs libraries that are not installed ({error.name}): "
                "pip install caloforge[report]"
            ) from error
        save_page(self, path, figures=figures)


def format_value(value: float, error: float) -> str:
    """A value with its error, rounded where the Particle Data Group rounds.

    Two digits of the error if they are 10 to 35, else one.
    """
    if not math.isfinite(value):
        return "–"
    if not math.isfinite(error) or error <= 0:
        return f"{value:.3g}"
    exponent = math.floor(math.log10(error))
    digits = min(max(0, (1 if error / 10**exponent < 3.55 else 0) - exponent), 6)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _json_number(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json_number(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
