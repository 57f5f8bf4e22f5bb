"""The CaloChallenge's published table, for the orientation of a candidate's scores."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

from caloforge.evaluation.quantities import quantity
from caloforge.geometry import Geometry, preset_of

if TYPE_CHECKING:
    from caloforge.evaluation.scores import Score

__all__ = [
    "DATASETS",
    "DATASETS_23",
    "PublishedRow",
    "PublishedTable",
    "leaderboard",
    "published_table",
]

# Column of the table, its factor, and the metric and observable that it holds.
COLUMNS: tuple[tuple[str, float, str, str], ...] = (
    ("auc_low", 1, "calochallenge-low", "auc"),
    ("auc_high", 1, "calochallenge-high", "auc"),
    ("auc_cnn", 1, "calochallenge-resnet", "auc"),
    ("fpd_x1e3", 1e3, "fpd", "fpd"),
    ("kpd_x1e3", 1e3, "kpd", "kpd"),
    ("precision", 1, "prdc", "precision"),
    ("recall", 1, "prdc", "recall"),
    ("density", 1, "prdc", "density"),
    ("coverage", 1, "prdc", "coverage"),
    ("mean_sep_E_total", 1, "separation", "E_tot"),
    ("mean_sep_E_layer", 1, "separation", "E_layer"),
    ("mean_sep_cell", 1, "separation", "voxel"),
    ("mean_sep_EC_eta", 1, "separation", "EC_eta"),
    ("mean_sep_EC_phi", 1, "separation", "EC_phi"),
    ("mean_sep_EC_r", 1, "separation", "EC_r"),
    ("mean_sep_EC_eta_std", 1, "separation", "width_eta"),
    ("mean_sep_EC_phi_std", 1, "separation", "width_phi"),
    ("mean_sep_EC_r_std", 1, "separation", "width_r"),
    ("mean_sep_sparsity", 1, "separation", "sparsity"),
    ("pcc_mean_abs_diff_to_geant4", 1, "pearson", "mean"),
    ("pcc_max_abs_diff_to_geant4", 1, "pearson", "max"),
)
SHORT = {
    "calochallenge-low": "AUC low",
    "calochallenge-high": "AUC high",
    "calochallenge-resnet": "AUC ResNet",
}

DATASETS_23 = ("calochallenge-2", "calochallenge-3")
DATASETS = ("calochallenge-1-photons", "calochallenge-1-pions", *DATASETS_23)

Kind = Literal["candidate", "floor", "published"]


@dataclass(frozen=True)
class PublishedRow:
    """A line of the table: values, None where there is none."""

    name: str
    kind: Kind
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class PublishedTable:
    """Candidates on top, their floor, then the CaloChallenge's submissions: other data.

    Args:
        columns: title of each column, and whether the candidates' values may be compared there.
        rows: the lines, values as they are shown.
    """

    columns: tuple[tuple[str, bool], ...]
    rows: tuple[PublishedRow, ...]


@cache
def leaderboard(geometry: str) -> dict[str, dict[str, float]]:
    """Published values by submission and column of the table, empty for other geometries.

    Values are what the columns of the table say, for ``fpd_x1e3`` and ``kpd_x1e3`` with that
    factor; ``auc_low_std`` and the like are standard deviations over ten runs.

    Args:
        geometry: name of a geometry preset, such as "calochallenge-2".

    Source: CaloChallenge (Krause et al., arXiv:2410.21611), final result tables.
    """
    if geometry not in DATASETS:
        return {}
    table = files("caloforge.evaluation") / "published" / f"{geometry}.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    return {
        row.pop("submission"): {name: float(text) for name, text in row.items() if text}
        for row in csv.DictReader(lines)
    }


def published_table(
    geometry: Geometry, scores: Sequence[Score], candidates: Sequence[str]
) -> PublishedTable | None:
    """Candidates with the published table, in the columns that they were scored in.

    Args:
        geometry: the voxels; only those of a CaloChallenge dataset have a table.
        scores: scores of all candidates.
        candidates: their names, in order.
    """
    published = leaderboard(preset_of(geometry) or "")
    found = {(s.metric, s.observable, s.candidate): s for s in scores}
    columns = [c for c in COLUMNS if any((c[2], c[3], name) in found for name in candidates)]
    if not published or not columns:
        return None

    def values(name: str, *, of_floor: bool = False) -> tuple[float | None, ...]:
        of_name = [(found.get((metric, seen, name)), scale) for _, scale, metric, seen in columns]
        return tuple(
            None if score is None else (score.floor if of_floor else score.value) * scale
            for score, scale in of_name
        )

    first = candidates[0]
    return PublishedTable(
        tuple(
            (
                SHORT.get(metric) or quantity(metric, seen).label,
                all(s.comparable for s in scores if (s.metric, s.observable) == (metric, seen)),
            )
            for _, _, metric, seen in columns
        ),
        (
            *(PublishedRow(name, "candidate", values(name)) for name in candidates),
            PublishedRow("floor", "floor", values(first, of_floor=True)),
            *(
                PublishedRow(name, "published", tuple(row.get(column[0]) for column in columns))
                for name, row in published.items()
            ),
        ),
    )
