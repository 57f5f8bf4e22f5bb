"""Scores of generated samples beside the floor: numbers, JSON, CSV, Markdown, a page."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caloforge.data.replacing import making, replacing, write_files
from caloforge.evaluation.comparison import Outputs
from caloforge.evaluation.leaderboard import PublishedTable, published_table
from caloforge.evaluation.quantities import QUANTITIES, Quantity, Toward, quantity
from caloforge.evaluation.sample import Sample
from caloforge.evaluation.tails import Tails

__all__ = ["Score", "Scores", "format_value"]


CSV_FIELDS = (
    *("metric", "observable", "layer", "candidate", "value", "error"),
    *("floor", "floor_error", "n_showers", "comparable"),
)


@dataclass(frozen=True)
class Score:
    """One value of one candidate, and the floor to read it against.

    Args:
        metric: name of the metric.
        observable: what is compared; for layers the mean over them.
        candidate: name of the generated sample.
        value: mean over the draws.
        error: standard deviation over the draws.
        floor: the same between the reference and as many other Geant4 showers.
        floor_error: its standard deviation over the draws.
        n_showers: showers of each set that was compared.
        comparable: whether it may stand beside published values of this metric.
        layers: value of each layer, empty if the observable has no layers.
        floor_layers: floor of each layer.
        layer_errors: standard deviation of each layer over the draws, empty for a single one.
        floor_layer_errors: the same of the floor.
    """

    metric: str
    observable: str
    candidate: str
    value: float
    error: float
    floor: float
    floor_error: float
    n_showers: int
    comparable: bool = False
    layers: tuple[float, ...] = ()
    floor_layers: tuple[float, ...] = ()
    layer_errors: tuple[float, ...] = ()
    floor_layer_errors: tuple[float, ...] = ()

    @property
    def quantity(self) -> Quantity:
        """What the value is."""
        return quantity(self.metric, self.observable)

    @property
    def title(self) -> str:
        """What a person calls the value."""
        return self.quantity.label

    @property
    def scale(self) -> float:
        """Factor that the value is shown with."""
        return self.quantity.scale

    @property
    def toward(self) -> Toward:
        """What is better: a low value, or one like the floor."""
        return self.quantity.toward

    @property
    def excess(self) -> float:
        """Distance from the floor on the bad side in units of both spreads; NaN if there is none.

        Where a value on either side is bad, both count as above.
        """
        spread = math.hypot(self.error, self.floor_error)
        distance = self.value - self.floor
        if self.toward == "floor":
            distance = abs(distance)
        return distance / spread if spread > 0 else float("nan")

    def text(self, *, of_floor: bool = False) -> str:
        """The value, or its floor, with the error, as it is shown."""
        value, error = (self.floor, self.floor_error) if of_floor else (self.value, self.error)
        return format_value(value * self.scale, error * self.scale)


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of all candidates, with the observables that they were taken from.

    Args:
        values: every score.
        reference: observables of the reference.
        candidates: observables of the candidates, by name.
        provenance: what was compared, how, and with which versions.
        outputs: calibrated outputs of the classifiers, by protocol and candidate.
        timing: results of `caloforge bench`, by candidate.
        tails: showers in the tails of the weights of the sharpest classifier, by candidate.
    """

    values: tuple[Score, ...]
    reference: Sample = field(repr=False)
    candidates: Mapping[str, Sample] = field(repr=False)
    provenance: Mapping[str, Any] = field(repr=False)
    outputs: Mapping[tuple[str, str], Outputs] = field(default_factory=dict, repr=False)
    timing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    tails: Mapping[str, Tails] = field(default_factory=dict, repr=False)

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
        """The table: metric, observable and one score a candidate, classifier tests first."""
        keys = dict.fromkeys((value.metric, value.observable) for value in self.values)
        order = [key for key in keys if key not in QUANTITIES]
        order += [key for key in QUANTITIES if key in keys]
        return [
            (*key, [v for v in self.values if (v.metric, v.observable) == key]) for key in order
        ]

    def to_json(self) -> str:
        """Everything but the observables, as JSON; a value that could not be taken is null."""
        table = [
            {name: _json_number(value) for name, value in vars(score).items() if value != ()}
            for score in self.values
        ]
        record = {
            "format_version": 2,
            "provenance": self.provenance,
            "scores": table,
            "timing": self.timing,
        }
        return json.dumps(record, indent=1, allow_nan=False, default=str)

    def save_json(self, path: str | Path) -> None:
        """Write `to_json` to a file."""
        write_files({Path(path): self.to_json() + "\n"})

    def to_csv(self) -> str:
        """A line for every value, and for every layer of a value that has layers."""
        text = io.StringIO()
        table = csv.DictWriter(text, CSV_FIELDS, lineterminator="\n", extrasaction="ignore")
        table.writeheader()
        for score in self.values:
            table.writerow({**vars(score), "layer": ""})
            unknown = ("",) * len(score.layers)
            columns = {
                "value": score.layers,
                "error": score.layer_errors or unknown,
                "floor": score.floor_layers,
                "floor_error": score.floor_layer_errors or unknown,
            }
            for layer, of_layer in enumerate(zip(*columns.values(), strict=True)):
                found = dict(zip(columns, of_layer, strict=True))
                table.writerow({**vars(score), **found, "layer": layer})
        return text.getvalue()

    def save(self, folder: str | Path, *, figures: Collection[str] = ()) -> None:
        """Write scores.json, scores.csv, scores.md and the page report.html into a folder.

        Args:
            folder: made where it does not exist.
            figures: see `save_page`.

        Raises:
            NoSpaceError: if the disk is full; the tables are then those of before, as the page.
            ValueError: if the folder is none.
        """
        target = Path(folder)
        table = self.to_markdown(published=True)
        texts = {"csv": self.to_csv(), "md": table, "json": self.to_json()}
        with making(target), ExitStack() as stack:
            for name, text in texts.items():
                temporary = stack.enter_context(replacing(target / f"scores.{name}"))
                temporary.write_text(text, encoding="utf-8")
            self.save_page(target / "report.html", figures=figures)

    def published(self) -> PublishedTable | None:
        """The candidates beside the CaloChallenge's table; None for other geometries."""
        return published_table(self.reference.geometry.name, self.values, list(self.candidates))

    def to_markdown(self, *, published: bool = False) -> str:
        """The table of scores beside the floor, for reading.

        Args:
            published: whether the CaloChallenge's table follows, see `published`.
        """
        names = list(self.candidates)
        blocks = []
        for metric in dict.fromkeys(metric for metric, _, _ in self.rows()):
            header = [metric, "floor", *names]
            lines = [header, ["---", *["---:"] * (len(names) + 1)]]
            for _, _, scores in (row for row in self.rows() if row[0] == metric):
                floor = scores[0].text(of_floor=True)
                values = [score.text() for score in scores]
                lines.append([scores[0].title, floor, *values])
            blocks.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        if self.timing:
            blocks.append(_timing_table(self.timing))
        if published and (table := self.published()):
            blocks.append(_published_markdown(table))
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


def _timing_table(timing: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [["ms per shower", "device", "batch size", "time", "hardware"], ["---"] * 5]
    for name, record in timing.items():
        for row in record["rows"]:
            device = row["device"] + (f", {row['threads']} threads" if row.get("threads") else "")
            found = row["ms_per_shower"]
            time = "–" if found is None else format_value(found, row["ms_per_shower_std"])
            hardware = record["hardware"]["gpu" if row["device"] != "cpu" else "cpu"]
            lines.append([name, device, str(row["batch_size"]), time, str(hardware)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _published_markdown(table: PublishedTable) -> str:
    """The published table; values that may not be compared with it stand in brackets."""
    lines = [["", *(title for title, _ in table.columns)]]
    lines.append(["---", *["---:"] * len(table.columns)])
    for row in table.rows:
        own = row.kind != "published"
        cells = [
            "" if value is None else f"({value:.3g})" if own and not comparable else f"{value:.3g}"
            for value, (_, comparable) in zip(row.values, table.columns, strict=True)
        ]
        lines.append([f"**{row.name}**" if own else row.name, *cells])
    note = (
        "CaloChallenge, published: other data, 100,000 showers and more. Values in brackets were "
        "taken with another number of showers and may not be compared."
    )
    return note + "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _json_number(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json_number(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
