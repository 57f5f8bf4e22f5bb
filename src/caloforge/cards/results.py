"""Results of evaluations and timings of a model, as their commands wrote them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from caloforge.cards.figures import figure_of
from caloforge.evaluation import Score
from caloforge.evaluation.quantities import CLASSIFIER_VALUES
from caloforge.generation.timing import Timing
from caloforge.names import did_you_mean

__all__ = ["Facts", "evaluation", "is_of_observable", "pictures", "timing"]

FORMAT_VERSION = 3  # of scores.json
MOST_FAULTS, MOST_PICTURES = 6, 2
# worths that sum up others
SUMMED_UP = {("worth", "all"), ("worth", "amplification"), ("worth", "together")}

Facts = dict[str, Any]


def evaluation(
    path: Path, candidate: str | None, weights: str, n_training: float | None = None
) -> Facts:
    """The scores of a model, with its floors and its worst observables.

    Args:
        path: the folder or the `scores.json` of `caloforge evaluate`.
        candidate: name of the model there; not needed where it is alone.
        weights: hash of the model's weights, which generated files record.
        n_training: showers that the model was trained on; None where that is not known.

    Raises:
        ValueError: if there are no scores, none of this candidate, those of other weights, or over
            another training sample.
    """
    record = _read(path / "scores.json" if path.is_dir() else path)
    if record.get("format_version") != FORMAT_VERSION or "provenance" not in record:
        raise ValueError(
            f"{path} holds no scores of format {FORMAT_VERSION}: evaluate again (caloforge "
            "evaluate ... -o DIR)"
        )
    provenance = record["provenance"]
    name = _candidate(path, provenance["candidates"], candidate)
    origin = provenance["candidates"][name]
    known = _weights_of(origin)
    if known not in (None, weights):
        raise ValueError(
            f"the showers {name!r} of {path} were sampled by another model: generate showers of "
            "this one and evaluate them"
        )
    over = (provenance.get("training") or {}).get("n_showers")
    if None not in (over, n_training) and over != n_training:
        raise ValueError(
            f"{path} was given {over:,} training showers, and the model was trained on "
            f"{n_training:,.0f}: evaluate it with its own"
        )
    scores = [Score.from_dict(of) for of in record["scores"] if of["candidate"] == name]
    return {
        "candidate": name,
        "is_of_these_weights": known is not None,
        "n_generated": origin.get("n_showers"),
        **{of: _named(provenance.get(of)) for of in ("reference", "other")},
        **{of: provenance.get(of) for of in ("threshold_MeV", "seed", "date", "caloforge")},
        "scores": [score.to_dict() for score in scores],
        "worth": record.get("worths", {}).get(name),
        "faults": _faults(scores),
    }


def timing(path: Path, n_parameters: Mapping[str, int], geometry: str) -> Facts:
    """What `caloforge bench` measured.

    Args:
        path: of its JSON file.
        n_parameters: of the model, by stage.
        geometry: name of the model's geometry.

    Raises:
        ValueError: if it is none, or that of a model of another size.
    """
    found = Timing.from_dict(_read(path))
    if dict(found.parameters) != dict(n_parameters) or found.geometry != geometry:
        raise ValueError(
            f"{path} is the timing of {found.run} for {found.geometry}, with other stages or "
            "parameters than this model: time this one (caloforge bench)"
        )
    return {**json.loads(found.to_json()), "parameters": sum(found.parameters.values())}


def is_of_observable(score: Score) -> bool:
    """Whether a score compares one observable, and neither sums up others nor is a classifier's."""
    is_summed_up = (score.metric, score.observable) in SUMMED_UP
    return not is_summed_up and score.observable not in CLASSIFIER_VALUES


def pictures(found: Facts, path: Path) -> dict[str, bytes]:
    """The figures of the worst observables that are shown, by the name that they get.

    Args:
        found: what `evaluation` found; each fault gets its picture.
        path: the folder or the `scores.json` of `caloforge evaluate`.
    """
    folder = (path if path.is_dir() else path.parent) / "report_figures"
    made: dict[str, bytes] = {}
    taken: dict[Path, str] = {}
    for fault in found["faults"]:
        figure = figure_of(fault["metric"], fault["observable"], folder)
        if figure is not None and figure not in taken and len(taken) < MOST_PICTURES:
            taken[figure] = f"worst-{len(taken) + 1}.png"
            made[taken[figure]] = figure.read_bytes()
            fault["picture"] = taken[figure]
    return made


def _read(path: Path) -> Any:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: expected JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is damaged: expected values by name")
    return values


def _candidate(path: Path, names: Mapping[str, Any], wanted: str | None) -> str:
    if wanted is None and len(names) == 1:
        return next(iter(names))
    if wanted is None or wanted not in names:
        asked = "say which is this model" if wanted is None else f"not {wanted!r}"
        raise ValueError(
            f"{path} compares {', '.join(names)}: {asked}{did_you_mean(wanted or '', names)}, "
            f"with candidate={next(iter(names))!r}"
        )
    return wanted


def _weights_of(origin: Mapping[str, Any]) -> str | None:
    """Hash of the weights that showers were sampled with, None if their file does not state it."""
    request = origin.get("request")
    values = json.loads(request) if isinstance(request, str) else {}
    return values.get("weights")


def _named(origin: Mapping[str, Any] | None) -> Facts | None:
    """What identifies a sample of Geant4 showers."""
    if origin is None:
        return None
    return {of: origin[of] for of in ("file", "n_showers", "generator", "command") if of in origin}


def _faults(scores: Sequence[Score]) -> list[Facts]:
    """The observables farthest off their floors, in units of both spreads."""
    seen = [score for score in scores if score.mark in ("seen", "far") and is_of_observable(score)]
    worst = sorted(seen, key=lambda score: score.excess, reverse=True)[:MOST_FAULTS]
    return [
        {
            "metric": score.metric,
            "observable": score.observable,
            "title": score.title,
            "text": score.text(),
            "floor": score.text(of_floor=True),
            "spreads": round(score.excess, 1) if score.excess < 1e6 else None,
        }
        for score in worst
    ]
