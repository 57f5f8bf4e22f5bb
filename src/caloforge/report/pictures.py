"""Figures as they appear on the page, and as files next to it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from caloforge.report.figures import encode, encode_small
from caloforge.report.wide import Wide

__all__ = ["Pictures", "Shown"]


@dataclass(frozen=True)
class Shown:
    """A figure as it appears on the page.

    Args:
        title: what it shows.
        pngs: its columns as PNG in base64; one for a single panel.
    """

    title: str
    pngs: tuple[str, ...]


@dataclass(frozen=True)
class Pictures:
    """Encodes figures for the page, and keeps the files that are asked for.

    Args:
        folder: of the files.
        kinds: their formats, such as "png" and "pdf".
        files: their content by path.
    """

    folder: Path
    kinds: Collection[str]
    files: dict[Path, bytes] = field(default_factory=dict)

    def show(self, figure: Figure | Wide, name: str, title: str) -> Shown:
        """Encode a figure; its files have the name, and show a wide one as a whole."""
        for kind in self.kinds:
            whole = figure.whole() if isinstance(figure, Wide) else figure
            self.files[self.folder / f"{name}.{kind}"] = encode(whole, kind)
        columns = figure.columns() if isinstance(figure, Wide) else (figure,)
        return Shown(title, tuple(b64encode(encode_small(c)).decode("ascii") for c in columns))
