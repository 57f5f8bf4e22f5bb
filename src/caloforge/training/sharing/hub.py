"""A model in a repository of the Hugging Face Hub, or of a server with the same interface."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import caloforge
from caloforge.training.sharing.layout import INDEX

__all__ = ["Hub"]

_ADDRESS = re.compile(r"hf://(\w[\w.-]*/\w[\w.-]*)(?:@(\w[\w./-]*))?", re.ASCII)
AT_ONCE = 8  # files
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Hub:
    """A repository, see `Place`.

    Args:
        repository: owner and name, such as "owner/name".
        revision: a commit, or the name of a branch or a tag; None for the main branch.
        private: whether a repository that `put` makes is for its owner alone.
    """

    repository: str
    revision: str | None = None
    private: bool = False

    @classmethod
    def of(cls, address: str, *, private: bool = False) -> Hub:
        """The repository of an address.

        Raises:
            ValueError: for another text.
        """
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise ValueError(
                f"expected an address such as hf://owner/name or hf://owner/name@revision, got "
                f"{address!r}"
            )
        return cls(found[1], found[2], private)

    @property
    def address(self) -> str:
        return f"hf://{self.repository}" + (f"@{self.revision}" if self.revision else "")

    @property
    def key(self) -> tuple[str, ...] | None:
        if self.revision is None or not _COMMIT.fullmatch(self.revision):
            return None
        return ("hf", *self.repository.split("/"), self.revision)

    def resolve(self) -> Hub:
        with self._explained("read"):
            found = _api().model_info(self.repository, revision=self.revision)
        if INDEX not in {file.rfilename for file in found.siblings or ()}:
            raise ValueError(f"{self.address} is no caloforge model: it has no {INDEX}")
        return replace(self, revision=found.sha)

    def fetch(self, sizes: Mapping[str, int], folder: Path) -> None:
        with self._explained("read"), _without_bars():
            info = _api().model_info(self.repository, revision=self.revision, files_metadata=True)
            self._check_sizes({f.rfilename: f.size or 0 for f in info.siblings or ()}, sizes)
            with ThreadPoolExecutor(AT_ONCE) as pool:
                download = partial(
                    _hub().hf_hub_download,
                    self.repository,
                    revision=self.revision,
                    local_dir=folder,
                    endpoint=_endpoint(),
                )
                list(pool.map(download, sizes))
        shutil.rmtree(folder / ".cache")  # of the library, to go on where it was interrupted

    def _check_sizes(self, there: Mapping[str, int], most: Mapping[str, int]) -> None:
        for name, expected in most.items():
            if name not in there:
                raise ValueError(f"{self.address} is no caloforge model: it has no {name}")
            if there[name] > expected:
                raise ValueError(
                    f"{name} of {self.address} is another: expected {expected:,} bytes, got "
                    f"{there[name]:,}"
                )

    def put(self, folder: Path, names: Collection[str]) -> str:
        hub = _hub()
        with self._explained("write to"), _without_bars():
            _api().create_repo(self.repository, private=self.private, exist_ok=True)
            commit = _api().create_commit(
                self.repository,
                [hub.CommitOperationAdd(name, str(folder / name)) for name in names],
                commit_message=f"A model of caloforge {caloforge.__version__}",
                revision=self.revision,
            )
        return replace(self, revision=commit.oid).address

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Errors of the library, in one line that says what to do."""
        errors = _hub().errors
        try:
            yield
        except errors.GatedRepoError:
            raise PermissionError(
                f"{self.address} asks for its owner's permission: get it on the page of the "
                f"model, then {LOG_IN}"
            ) from None
        except errors.RepositoryNotFoundError:
            raise ValueError(
                f"there is no {self.address}, or it is private: check the name, or {LOG_IN}"
            ) from None
        except errors.RevisionNotFoundError:
            raise ValueError(
                f"{self.repository} has no revision {self.revision}: give a commit, a branch or a "
                "tag that it has"
            ) from None
        except errors.EntryNotFoundError as error:
            if isinstance(error, errors.LocalEntryNotFoundError):  # of a server that is silent
                raise self._silent(error) from error
            raise ValueError(f"{self.address} lacks a file that its {INDEX} names") from None
        except errors.HfHubHTTPError as error:
            if error.response.status_code not in (401, 403):
                raise self._silent(error) from error
            raise PermissionError(
                f"no permission to {what} {self.address}: {LOG_IN}, with a token that may"
            ) from None
        except (errors.HTTPError, OSError, RuntimeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of this machine's disk
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> ConnectionError:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return ConnectionError(
            f"{self.address} cannot be reached ({reason[:200]}): try again, or give a folder"
        )


LOG_IN = "log in (hf auth login, or the environment variable HF_TOKEN)"


def _hub() -> Any:
    """The library, which sets environment variables when it is imported."""
    try:
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError as error:
        raise ModuleNotFoundError(
            "addresses hf://… need the package huggingface_hub: pip install 'caloforge[hub]'"
        ) from error
    return huggingface_hub


@contextmanager
def _without_bars() -> Iterator[None]:
    """Without a bar of progress for each of many small files."""
    utils = _hub().utils
    were_off = utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            utils.enable_progress_bars()


def _endpoint() -> str | None:
    """The server, None for the library's own; it would read the variable once, at its import."""
    return os.environ.get("HF_ENDPOINT")


def _api() -> Any:
    return _hub().HfApi(
        endpoint=_endpoint(), library_name="caloforge", library_version=caloforge.__version__
    )
