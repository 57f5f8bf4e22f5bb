"""Where a model may lie that is shared."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol, Self

__all__ = ["Place"]


class Place(Protocol):
    """A folder, a file server or a repository that holds one model, at one revision of it.

    Attributes:
        revision: what names the model's content for ever; or a name that moves, or None for what
            is there at present.
    """

    @property
    def revision(self) -> str | None: ...

    @property
    def address(self) -> str:
        """Its name for the user, with its revision."""
        ...

    @property
    def key(self) -> tuple[str, ...] | None:
        """What names the content for ever, as names of folders; None where the revision moves."""
        ...

    def resolve(self) -> Self:
        """The same place at the revision that is there now.

        Raises:
            ConnectionError: if it does not answer.
            PermissionError: if it asks for a permission.
            ValueError: if it holds no model.
        """
        ...

    def fetch(self, sizes: Mapping[str, int], folder: Path) -> None:
        """Write files into a folder, where they have the same names.

        Args:
            sizes: the most bytes that each may have, by name.
            folder: where to.

        Raises:
            ConnectionError, PermissionError, ValueError: as for `resolve`.
        """
        ...

    def put(self, folder: Path, names: Collection[str]) -> str:
        """Take over files of a folder, all or none; returns their address.

        Raises:
            ConnectionError, PermissionError: as for `resolve`.
            ValueError: if it takes none.
        """
        ...
