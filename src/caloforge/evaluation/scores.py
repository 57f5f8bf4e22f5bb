"""Scores of generated samples and their floor: numbers, JSON, CSV, Markdown, a page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import caloforge
from caloforge.data.replacing import making, replacing, write_files
from caloforge.evaluation.comparison import Outputs
from caloforge.evaluation.copies import Shared
from caloforge.evaluation.htmltable import html_table
from caloforge.evaluation.leaderboard import PublishedTable, published_table
from caloforge.evaluation.markdown import markdown
from caloforge.evaluation.quantities import QUANTITIES
from caloforge.evaluation.sample import Sample
from caloforge.evaluation.score import Score
from caloforge.evaluation.summary import summary_csv, summary_records
from caloforge.evaluation.tails import Tails
from caloforge.evaluation.worth import Worth
from caloforge.geometry import official_sample
from caloforge.pdg import NOT_KNOWN, pdg_code

__all__ = ["Score", "Scores"]


CSV_FIELDS = (
    *("metric", "observable", "title", "layer", "condition", "candidate"),
    *("value", "error", "low", "high"),
    *("floor", "floor_error", "n_showers", "comparable", "verdict", "reason", "remark"),
)
OF_ALL_LAYERS = ("low", "high", "reason", "remark")  # columns that a single layer has not


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
        shared: showers that the samples had in common when they were given.
        by_condition: the scores again, of the showers of each cell of condition that was asked for.
        worths: how many Geant4 showers each candidate replaces, cell by cell, by name.
    """

    values: tuple[Score, ...]
    reference: Sample = field(repr=False)
    candidates: Mapping[str, Sample] = field(repr=False)
    provenance: Mapping[str, Any] = field(repr=False)
    outputs: Mapping[tuple[str, str], Outputs] = field(default_factory=dict, repr=False)
    timing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    tails: Mapping[str, Tails] = field(default_factory=dict, repr=False)
    shared: tuple[Shared, ...] = ()
    by_condition: tuple[Score, ...] = field(default=(), repr=False)
    worths: Mapping[str, Worth] = field(default_factory=dict, repr=False)

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
        return _rows(self.values)

    def conditions(self) -> dict[str, list[tuple[str, str, list[Score]]]]:
        """The same table of each cell of condition, by what it is in words."""
        labels = dict.fromkeys(score.condition for score in self.by_condition)
        return {
            label: _rows([score for score in self.by_condition if score.condition == label])
            for label in labels
        }

    def to_json(self) -> str:
        """Everything but the observables, as JSON; a value that could not be taken is null."""
        record = {
            "format_version": 3,
            "provenance": self.provenance,
            "summary": summary_records(self),
            "shared": [{**vars(found), "text": found.text} for found in self.shared],
            "scores": [score.to_dict() for score in self.values],
            "by_condition": [score.to_dict() for score in self.by_condition],
            "worths": {name: worth.to_dict() for name, worth in self.worths.items()},
            "timing": self.timing,
        }
        return json.dumps(record, indent=1, allow_nan=False, default=str)

    def save_json(self, path: str | Path) -> None:
        """Write `to_json` to a file."""
        write_files({Path(path): self.to_json() + "\n"})

    def to_csv(self) -> str:
        """A line for every value, and for every layer of a value that has layers."""
        text = io.StringIO()
        table = csv.DictWriter(
            text,
            CSV_FIELDS,
            lineterminator="\n",
            extrasaction="ignore",
            quoting=csv.QUOTE_NONNUMERIC,  # so that a name is text, whatever its letters
        )
        table.writeheader()
        for score in (*self.values, *self.by_condition):
            known = {**vars(score), "title": score.quantity.title}
            table.writerow({**known, "layer": "", "verdict": score.verdict})
            unknown = ("",) * len(score.layers)
            columns = {
                "value": score.layers,
                "error": score.layer_errors or unknown,
                "floor": score.floor_layers,
                "floor_error": score.floor_layer_errors or unknown,
            }
            for layer, of_layer in enumerate(zip(*columns.values(), strict=True)):
                found = dict(zip(columns, of_layer, strict=True))
                one = {**found, "layer": layer, **dict.fromkeys(OF_ALL_LAYERS, "")}
                table.writerow({**known, **one})
        return text.getvalue()

    def save(self, folder: str | Path, *, figures: Collection[str] = ()) -> None:
        """Write scores (.json, .csv, .md), summary.csv and the page report.html into a folder.

        Args:
            folder: made where it does not exist.
            figures: see `save_page`.

        Raises:
            NoSpaceError: if the disk is full; the tables are then those of before, as the page.
            ValueError: if the folder is none.
        """
        target = Path(folder)
        table = self.to_markdown(published=True)
        texts = {
            "summary.csv": summary_csv(self),
            "scores.csv": self.to_csv(),
            "scores.md": table,
            "scores.json": self.to_json(),
        }
        with making(target), ExitStack() as stack:
            for name, text in texts.items():
                temporary = stack.enter_context(replacing(target / name))
                temporary.write_text(text, encoding="utf-8")
            self.save_page(target / "report.html", figures=figures)

    def published(self) -> PublishedTable | None:
        """The candidates with the CaloChallenge's table; None for other voxels or particles."""
        official = official_sample(self.reference.geometry)
        kinds = set(self.reference.pdg.tolist()) - {NOT_KNOWN}
        if official is None or kinds - {pdg_code(official.particle)}:
            return None
        return published_table(self.reference.geometry, self.values, list(self.candidates))

    def to_markdown(self, *, published: bool = False) -> str:
        """The table of scores and their floor, for reading.

        Args:
            published: whether the CaloChallenge's table follows, see `published`.
        """
        return markdown(self, published=published)

    def __repr__(self) -> str:
        metrics = ", ".join(dict.fromkeys(value.metric for value in self.values))
        return (
            f"Scores({', '.join(self.candidates)} beside Geant4 in {self.reference.geometry.name}; "
            f"{len(self.values)} values of {metrics})"
        )

    def _repr_html_(self) -> str:
        return html_table(self)

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
            save_page = caloforge.save_page  # which evaluation may not import
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"the page needs libraries that are not installed ({error.name}): "
                "pip install caloforge[report]"
            ) from error
        save_page(self, path, figures=figures)


def _rows(scores: Sequence[Score]) -> list[tuple[str, str, list[Score]]]:
    keys = dict.fromkeys((score.metric, score.observable) for score in scores)
    order = [key for key in keys if key not in QUANTITIES]
    order += [key for key in QUANTITIES if key in keys]
    return [(*key, [s for s in scores if (s.metric, s.observable) == key]) for key in order]
