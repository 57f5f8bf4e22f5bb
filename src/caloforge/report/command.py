"""The command line that takes the scores of a page again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from caloforge.evaluation.scores import Scores
from caloforge.geometry import Geometry, impact_of, preset_of

__all__ = ["command_of"]


def command_of(scores: Scores) -> str | None:
    """The call of `caloforge evaluate` that takes these scores again.

    Files are named without their folders. None if a sample, or a timing, came from no file.
    """
    provenance = scores.provenance
    candidates: Mapping[str, Mapping[str, Any]] = provenance["candidates"]
    reference, other = provenance["reference"], provenance.get("other", {"file": None})
    training = provenance.get("training", {"files": []})
    samples = (reference, other, *candidates.values(), *scores.timing.values())
    if not all("file" in origin for origin in samples) or "files" not in training:
        return None
    words = ["caloforge", "evaluate", "--reference", reference["file"]]
    words += ["--other", other["file"]] if other["file"] else []
    words += _repeated("--training", training["files"])
    words += [_named(name, origin["file"]) for name, origin in candidates.items()]
    words += _repeated("--timing", (f"{n}={found['file']}" for n, found in scores.timing.items()))
    words += _cells(scores.reference.geometry)
    words += ["--threshold", f"{provenance['threshold_MeV']:.10g}"]
    words += _repeated("--metric", provenance["metrics"])
    words += _repeated("--by", provenance["by"])
    words += ["--seed", str(provenance["seed"]), "-o", "evaluation"]
    return shlex.join(map(str, words))


def _repeated(option: str, values: Any) -> Iterator[str]:
    return (word for value in values for word in (option, value))


def _named(name: str, file: str) -> str:
    """A candidate as the command line takes it; names that it would give by itself are left out."""
    return file if name == Path(file).stem else f"{name}={file}"


def _cells(geometry: Geometry) -> list[str]:
    """The options that name the cells, those of the ILD around an impact point among them."""
    if (preset := preset_of(geometry)) is not None:
        return ["--geometry", preset]
    if (impact := impact_of(geometry)) is not None:
        return ["--impact", ",".join(f"{place:.10g}" for place in impact)]
    return []
