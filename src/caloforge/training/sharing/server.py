"""A model in a folder that a file server serves over HTTP."""

from __future__ import annotations

import hashlib
import http.client
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from caloforge.data.replacing import making, replacing
from caloforge.training.sharing.layout import INDEX, most_bytes

__all__ = ["Server"]

PATIENCE = 30.0  # seconds without an answer
PIECE = 1 << 20  # bytes read at a time
_ADDRESS = re.compile(r"(https?://[^\s?#]+?)/*(?:#sha256=([0-9a-f]{64}))?", re.ASCII)


@dataclass(frozen=True)
class Server:
    """A folder on a file server, see `Place`: `checksums.json` says what there is.

    Args:
        url: of the folder.
        revision: SHA-256 of its `checksums.json`, and so of all that it names.
    """

    url: str
    revision: str | None = None

    @classmethod
    def of(cls, address: str) -> Server:
        """The folder of an address.

        Raises:
            ValueError: for another text.
        """
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise ValueError(
                "expected the address of a folder such as https://server/model or "
                f"https://server/model#sha256=…, got {address!r}"
            )
        return cls(found[1], found[2])

    @property
    def address(self) -> str:
        return self.url + (f"#sha256={self.revision}" if self.revision else "")

    @property
    def key(self) -> tuple[str, ...] | None:
        return None if self.revision is None else ("sha256", self.revision)

    def resolve(self) -> Server:
        with TemporaryDirectory() as folder:
            self.fetch({INDEX: most_bytes(INDEX) or 0}, Path(folder))
            return replace(self, revision=_sha256(Path(folder) / INDEX))

    def fetch(self, sizes: Mapping[str, int], folder: Path) -> None:
        for name, most in sizes.items():
            path = folder / name
            with (
                making(path.parent),
                replacing(path) as temporary,
                self._answer(name) as answer,
                temporary.open("wb") as file,
            ):
                while most >= 0 and (piece := answer.read(min(PIECE, most + 1))):
                    file.write(piece)
                    most -= len(piece)
                if most < 0:
                    raise ValueError(f"{self.url}/{name} is larger than expected: it is another")
            if name == INDEX and self.revision not in (None, there := _sha256(path)):
                raise ValueError(
                    f"{self.url} holds another model now: expected #sha256={self.revision}, got "
                    f"{there}"
                )

    def put(self, folder: Path, names: Collection[str]) -> str:
        raise ValueError(
            f"{self.url} can only be read: push to the folder that this server serves, or to "
            "hf://owner/name"
        )

    @contextmanager
    def _answer(self, name: str) -> Iterator[IO[bytes]]:
        """What the server sends for a file; errors in one line."""
        try:
            with urlopen(f"{self.url}/{name}", timeout=PATIENCE) as answer:
                if self.url.startswith("https:") and not answer.url.startswith("https:"):
                    raise ValueError(f"{self.url} leads to {answer.url}, which is not encrypted")
                yield answer
        except HTTPError as error:
            error.close()
            if error.code in (401, 403):
                raise PermissionError(f"no permission to read {self.url}/{name}") from None
            if error.code in (404, 410):
                raise ValueError(f"{self.url} is no caloforge model: it has no {name}") from None
            raise self._silent(str(error)) from error
        except (URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise self._silent(str(getattr(error, "reason", error))) from error

    def _silent(self, reason: str) -> ConnectionError:
        return ConnectionError(f"{self.url} cannot be reached ({reason}): try again")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
