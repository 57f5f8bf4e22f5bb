"""The card of a model as Markdown, with the metadata that the Hugging Face Hub reads."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from caloforge.cards.results import Facts, is_of_observable
from caloforge.evaluation import Score
from caloforge.evaluation.digits import format_number, format_value
from caloforge.generation.timing import BUSY
from caloforge.training.plainyaml import written
from caloforge.units import GeV

__all__ = ["readme"]

MEGABYTE = 1e6
ARXIV = "arXiv:"


def readme(card: Facts) -> str:
    """The text of `README.md`.

    Args:
        card: what `card.json` holds.
    """
    parts = (
        [f"# {card['model']['name']}", _purpose(card)],
        ["## How to use it", *_use(card)],
        ["## Detector", *_detector(card)],
        ["## Training", *_training(card)],
        ["## Scores", *_scores(card)],
        ["## Known faults", *_faults(card)],
        ["## Speed and size", *_speed(card)],
        ["## What is missing", *_missing(card)],
        ["## Licence and citation", *_citation(card)],
        ["## Checksums", *_checksums(card)],
    )
    text = "\n\n".join(paragraph for part in parts for paragraph in part)
    return f"---\n{written(_metadata(card))}---\n\n{text}\n"


def _metadata(card: Facts) -> Facts:
    """What the hub reads: licence, library, tags, and the scores as a model index."""
    papers = [paper.replace(ARXIV, "arxiv:") for paper in card["model"]["papers"]]
    tags = ["calorimeter", "fast-simulation", "geant4", "high-energy-physics"]
    values: Facts = {
        "license": card["licence"].lower(),
        "library_name": "caloforge",
        "tags": [*tags, card["model"]["system"], card["detector"]["name"], *papers],
    }
    found = card["evaluation"]
    if found is None:
        return values
    reference = (found["reference"] or {}).get("file", "Geant4 showers")
    metrics = [
        {
            "type": f"{score.metric}/{score.observable}",
            "name": f"{score.title} ({score.metric})",
            "value": score.value,
        }
        for score in map(Score.from_dict, found["scores"])
        if math.isfinite(score.value)
    ]
    result = {
        "task": {"type": "other", "name": "Simulation of calorimeter showers"},
        "dataset": {"type": "geant4", "name": reference},
        "metrics": metrics,
    }
    return {**values, "model-index": [{"name": card["model"]["name"], "results": [result]}]}


def _purpose(card: Facts) -> str:
    model = card["model"]
    kind = model["preset"] or model["system"]
    return (
        f"A fast generator of calorimeter showers, in place of Geant4: {kind} for "
        f"{card['detector']['name']}. {model['what']} It was trained on showers of "
        f"{card['particles']['words']}; outside of these it extrapolates, with a warning."
    )


def _use(card: Facts) -> Iterator[str]:
    address, energies = card["address"], card["particles"]["energy_inc_MeV"]
    energy = f"{math.sqrt(energies[0] * energies[1]):.2g}" if energies else "1e4"
    yield (
        f"```python\nimport caloforge as cf\n\nsystem = cf.load({json.dumps(address)})\n"
        f"showers = system.generate([{float(energy):.0f}.0], seed=1)  # energies [MeV]\n```"
    )
    yield f"```console\n$ caloforge generate {address} -n 1000 -o showers.h5\n```"


def _detector(card: Facts) -> Iterator[str]:
    detector = card["detector"]
    first, last = detector["depth_mm"]
    yield f"![Layers from the side, voxels of the middle layer]({detector['picture']})"
    yield (
        f"`{detector['name']}`: {detector['layers']} layers at depths of {first:.4g} to {last:.4g} "
        f"mm, {detector['voxels']:,} voxels, threshold {detector['threshold_MeV']:.4g} MeV."
    )


def _training(card: Facts) -> Iterator[str]:
    training, particles = card["training"], card["particles"]
    machine = training["hardware"]
    rows = [
        ("particles", particles["kinds"]),
        ("incident energies", _span(particles["energy_inc_MeV"])),
        ("directions", _directions(particles)),
        ("showers", _number(training["n_showers"])),
        ("learned from", _number(training["n_learned"])),
        ("fingerprint", f"`{training['fingerprint']}`" if training["fingerprint"] else None),
        ("training time", _minutes(training["minutes"])),
        ("hardware", machine and _machine(machine)),
        ("trained with", f"caloforge {card['model']['caloforge']}, seed {training['seed']}"),
    ]
    yield _table(("what", "value"), [(name, value or "not recorded") for name, value in rows])
    for file in training["files"]:
        said = [f"`{file['name']}`"]
        said += [f"{file['n_showers']:,} showers"] if "n_showers" in file else []
        said += [file["generator"]] if "generator" in file else []
        said += [f"made by `{file['command']}`"] if "command" in file else []
        yield "- " + ", ".join(said)


def _scores(card: Facts) -> Iterator[str]:
    found = card["evaluation"]
    if found is None:
        yield "Not measured."
        return
    scores = [Score.from_dict(score) for score in found["scores"]]
    reference, other = found["reference"] or {}, found["other"]
    yield (
        f"{found['n_generated'] or 'Its'} showers against {reference.get('n_showers', 'some')} of "
        f"Geant4 (`{reference.get('file', 'in memory')}`), on {found['date']} with caloforge "
        f"{found['caloforge']}. The floor is what Geant4 has against "
        + (f"another sample of it (`{other.get('file', 'in memory')}`)." if other else "itself.")
        + " A worth is how many Geant4 showers the model replaces, an amplification that over its "
        "training showers."
    )
    rows = [
        (
            score.title,
            f"`{score.metric}`",
            score.text(),
            score.text(of_floor=True),
            score.quantity.better,
            score.verdict,
        )
        for score in scores
    ]
    yield _table(("score", "metric", "value", "floor", "better", "verdict"), rows)


def _faults(card: Facts) -> Iterator[str]:
    found = card["evaluation"]
    if found is None:
        yield "Not known: no evaluation was given."
        return
    rows = [
        (fault["title"], fault["text"], fault["floor"], _number(fault["spreads"]) or "–")
        for fault in found["faults"]
    ]
    if rows:
        yield "The observables farthest off their floors, in units of the errors of both:"
        yield _table(("observable", "value", "floor", "errors off"), rows)
    elif any(is_of_observable(Score.from_dict(score)) for score in found["scores"]):
        yield "No observable was seen off its floor at this number of showers."
    else:
        yield "No observable was compared by itself."
    scores = map(Score.from_dict, found["scores"])
    aucs = [s for s in scores if s.observable == "auc" and s.mark in ("seen", "far")]
    if aucs:
        values = ", ".join(f"{score.text()} ({score.title})" for score in aucs)
        yield f"Classifiers distinguish its showers from Geant4's: {values}."
    for fault in found["faults"]:
        if "picture" in fault:
            yield f"![{fault['title']}, beside Geant4]({fault['picture']})"


def _speed(card: Facts) -> Iterator[str]:
    model = card["model"]
    passes = model["sequential_passes"]
    yield (
        f"{model['parameters']['total']:,} parameters, {model['weights_bytes'] / MEGABYTE:.3g} MB"
        + (f"; a batch takes {passes:,} network passes one after another." if passes else ".")
    )
    if not card["timing"]:
        yield "Times: not measured."
        return
    rows = [
        (
            _machine(record["hardware"]),
            _device(row),
            f"{row['batch_size']:,}",
            _time(row),
        )
        for record in card["timing"]
        for row in record["rows"]
    ]
    yield _table(("machine", "device", "showers at once", "ms per shower"), rows)


def _missing(card: Facts) -> Iterator[str]:
    yield "\n".join(f"- {text}" for text in card["missing"]) or "Nothing."


def _citation(card: Facts) -> Iterator[str]:
    citation = card["citation"]
    papers = [_link(paper) for paper in citation["papers"]]
    yield f"Licence: {card['licence']}."
    yield (
        f"Cite {citation['authors']}, *{citation['title']}*, version {citation['version']} "
        "(`CITATION.cff`)"
        + (f", and the paper of the system: {', '.join(papers)}." if papers else ".")
    )


def _checksums(card: Facts) -> Iterator[str]:
    yield "SHA-256; `checksums.json` has all of them, and `caloforge pull` compares them."
    rows = [
        (f"`{name}`", f"{file['bytes']:,}", f"`{file['sha256']}`")
        for name, file in card["files"].items()
    ]
    yield _table(("file", "bytes", "SHA-256"), rows)


def _table(heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _link(paper: str) -> str:
    if not paper.startswith(ARXIV):
        return paper
    return f"[{paper}](https://arxiv.org/abs/{paper.removeprefix(ARXIV)})"


def _span(energies: Sequence[float] | None) -> str | None:
    return f"{energies[0] / GeV:.4g} to {energies[1] / GeV:.4g} GeV" if energies else None


def _directions(particles: Facts) -> str:
    if particles["directions"] is None:
        return "({:.4g}, {:.4g}, {:.4g}) alone".format(*particles["direction"])
    low, high = particles["directions"]
    axes = zip("xyz", low, high, strict=True)
    return ", ".join(f"{axis} from {least:.3g} to {most:.3g}" for axis, least, most in axes)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:,}"


def _minutes(minutes: float | None) -> str | None:
    return (
        None if minutes is None else f"{format_number(minutes)} min, all stages one after another"
    )


def _machine(hardware: Facts) -> str:
    gpu = f", {hardware['gpu']}" if hardware.get("gpu") else ""
    return f"{hardware.get('cpu')}, {hardware.get('cores')} cores{gpu}"


def _device(row: Facts) -> str:
    threads = f", {row['threads']} thread{'s' * (row['threads'] > 1)}"
    return f"{row['device']}{threads if row['device'] == 'cpu' else ''}"


def _time(row: Facts) -> str:
    if row["ms_per_shower"] is None:
        return row["reason"] or "not timed"
    text, share = format_value(row["ms_per_shower"], row["ms_per_shower_std"]), row["cpu_share"]
    if row["device"] == "cpu" and share is not None and share < BUSY:
        text += f", too long: other programs left it {100 * share:.0f} % of a core"
    return text
