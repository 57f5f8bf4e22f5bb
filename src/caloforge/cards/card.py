"""Write the card of a trained model into its run folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

from caloforge.cards import run as of_run
from caloforge.cards.readme import readme
from caloforge.cards.results import Facts, evaluation, pictures, timing
from caloforge.data import write_files
from caloforge.generation.identity import weights_hash
from caloforge.training import RunFolder, load
from caloforge.training.sharing import CARD, FACTS, INDEX, Checksums

__all__ = ["write_card"]

FORMAT_VERSION = 1
DETECTOR = "detector.png"


def write_card(
    run: str | Path,
    *,
    evaluation_of: str | Path | None = None,
    candidate: str | None = None,
    timings: Sequence[str | Path] = (),
    training: Sequence[str | Path] = (),
    licence: str | None = None,
    address: str | None = None,
) -> Facts:
    """Write what a trained model is, from its run folder and from what commands have measured.

    `README.md` is for people and for the Hugging Face Hub, `card.json` holds the same facts and all
    scores, `checksums.json` the size and the SHA-256 of every file of the model.

    Args:
        run: the run folder.
        evaluation_of: the folder or the `scores.json` of `caloforge evaluate`.
        candidate: name of the model in the evaluation; not needed where it is alone.
        timings: files that `caloforge bench` wrote.
        training: files of the training sample, where they lie elsewhere than in training.
        licence: of the model, by its SPDX name; by default that of caloforge.
        address: where the model will lie, such as "hf://owner/name"; by default its folder's name.

    Returns:
        What `card.json` holds.

    Raises:
        ModuleNotFoundError: if the libraries that draw are not installed.
        ValueError: if the run is not trained to its end or of an older layout, or for results that
            are of another model.
    """
    folder = RunFolder(run)
    system = load(folder.path)
    _check_layout(folder.path, list(system.stages))
    weights = weights_hash(system)
    files: dict[str, bytes] = {DETECTOR: _drawing(folder)}
    scores = None
    if evaluation_of is not None:
        n_training = folder.effort().get("n_training_showers")
        scores = evaluation(Path(evaluation_of), candidate, weights, n_training)
        files |= pictures(scores, Path(evaluation_of))
    lies = address or folder.path.resolve().name
    name = re.split("[@#]", lies)[0].rstrip("/").rpartition("/")[2]
    card: Facts = {
        "format_version": FORMAT_VERSION,
        "address": lies,
        "licence": licence or _package()["licence"],
        "model": of_run.model(name, folder, system, weights),
        "detector": {**of_run.detector(system.geometry), "picture": DETECTOR},
        "particles": of_run.particles(folder),
        "training": of_run.training(folder, training),
        "evaluation": scores,
        "timing": [
            timing(Path(path), system.n_parameters, system.geometry.name) for path in timings
        ],
        "citation": {**_package(), "papers": list(system.papers)},
    }
    card["missing"] = list(_missing(card))
    _remove_old(folder.path)
    write_files({folder.path / name: content for name, content in files.items()})
    card["files"] = json.loads(Checksums.of(folder.path).to_json())["files"]
    text = json.dumps(card, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    write_files({folder.path / FACTS: text, folder.path / CARD: readme(card)})
    write_files({folder.path / INDEX: Checksums.of(folder.path).to_json()})
    return card


def _drawing(folder: RunFolder) -> bytes:
    try:
        from caloforge.report.detector import draw_detector
        from caloforge.report.figures import encode_small
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the drawings of a card need libraries that are not installed ({error.name}): "
            "pip install 'caloforge[report]'"
        ) from error
    return encode_small(draw_detector(folder.outline().geometry))


def _check_layout(folder: Path, stages: Sequence[str]) -> None:
    """Refuse the folder of an earlier version, whose files are not those that are shared."""
    there = Checksums.of(folder).files
    if missing := [name for name in stages if f"stages/{name}/summary.json" not in there]:
        raise ValueError(
            f"{folder} was trained with an earlier version, which kept {', '.join(missing)} at "
            "another place: train it again to share it"
        )


def _package() -> dict[str, str]:
    """Name, authors and licence of caloforge, as the package says them."""
    said = metadata("caloforge")
    return {
        "title": f"{said['Name']}: {said['Summary'][:1].lower()}{said['Summary'][1:]}",
        "version": said["Version"],
        "authors": said["Author"],
        "licence": said["License-Expression"],
    }


def _remove_old(folder: Path) -> None:
    """Remove what an earlier card brought along."""
    for path in (*(folder / name for name in (CARD, FACTS, INDEX)), *folder.glob("worst-?.png")):
        path.unlink(missing_ok=True)


def _missing(card: Facts) -> Iterator[str]:
    """What was not measured or recorded, in words."""
    scores: dict[str, Any] | None = card["evaluation"]
    if scores is None:
        yield "scores: no evaluation was given (caloforge evaluate)"
    else:
        if scores["worth"] is None:
            yield "worth: the evaluation has none (caloforge evaluate --metric worth)"
        elif scores["worth"]["amplification"] is None:
            yield "amplification: the evaluation has no training sample (--training)"
        if scores["faults"] and not any("picture" in fault for fault in scores["faults"]):
            yield "pictures of the faults: the evaluation has none (--figures png)"
        if not scores["is_of_these_weights"]:
            yield "proof that the evaluated showers are of these weights: not stated in their file"
    if not card["timing"]:
        yield "times: no timing was given (caloforge bench)"
    training = card["training"]
    if training["note"]:
        yield f"training sample: {training['note']}"
    elif not all("command" in file for file in training["files"]):
        yield "the command that simulated the training sample: not all of its files record it"
    if training["hardware"] is None:
        yield "hardware of the training: the run is older than this record"
