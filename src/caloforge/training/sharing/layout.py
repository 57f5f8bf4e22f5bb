"""The files of a model that is shared, and how large each may be."""

from __future__ import annotations

import re

__all__ = [
    "CARD",
    "CONFIG",
    "FACTS",
    "INDEX",
    "MOST_JSON",
    "MOST_TENSORS",
    "MOST_YAML",
    "most_bytes",
]

MOST_YAML = 1 << 20  # sizes of files [bytes]
MOST_JSON = 1 << 26
MOST_TENSORS = 1 << 34
MOST_CARD = 1 << 22
MOST_PICTURE = 1 << 24

CONFIG = "config.yaml"
INDEX = "checksums.json"  # size and checksum of every other file
CARD, FACTS = "README.md", "card.json"  # what the model is, for people and for machines

_KINDS = tuple(
    (re.compile(pattern, re.ASCII), most)
    for pattern, most in (
        (r"config\.yaml", MOST_YAML),
        (rf"{re.escape(CARD)}|{re.escape(FACTS)}|{re.escape(INDEX)}", MOST_CARD),
        (r"check\.json", MOST_JSON),
        (r"detector\.png|worst-\d\.png", MOST_PICTURE),
        (r"stages/\w{1,80}/weights\.safetensors", MOST_TENSORS),
        (r"stages/\w{1,80}/(transforms|summary)\.json", MOST_JSON),
    )
)


def most_bytes(name: str) -> int | None:
    """The largest size of a file of a model [bytes], None for a name that no model has.

    Args:
        name: its path in the model's folder, with slashes.
    """
    return next((most for pattern, most in _KINDS if pattern.fullmatch(name)), None)
