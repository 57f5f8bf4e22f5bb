"""YAML of untrusted files: no references, no unbounded nesting."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["plain_yaml", "written"]

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEEPEST = 32


def plain_yaml(text: bytes) -> Any:
    """The values of a document in YAML's own types.

    Raises:
        ValueError: if it is damaged, nested too deeply, or refers to parts of itself, which may
            stand for more than any memory holds.
    """
    try:
        depth = 0
        for event in yaml.parse(text, Loader=Loader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it refers to parts of itself: write them out")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise ValueError(f"it is nested more than {DEEPEST} deep")
        return yaml.load(text, Loader=Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def written(values: Any) -> str:
    """The document of values, which `plain_yaml` reads again."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True
