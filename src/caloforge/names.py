"""Suggestions for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The known name nearest to one that is not known, to follow it in a message.

    Example:
        >>> did_you_mean("calochalenge-2", ["calochallenge-1", "calochallenge-2"])
        " (did you mean 'calochallenge-2'?)"
        >>> did_you_mean("cms", ["calochallenge-2"])
        ''

    Args:
        name: what was given.
        names: what there is. Those of dotted settings are also found by their last part.
    """
    known = list(names)
    folded = {each.casefold(): each for each in reversed(known)}
    near = difflib.get_close_matches(str(name).casefold(), folded, n=1)
    last = str(name).casefold().rpartition(".")[2]
    near = near or [each for each in folded if each.rpartition(".")[2] == last]
    return f" (did you mean {folded[near[0]]!r}?)" if near else ""
