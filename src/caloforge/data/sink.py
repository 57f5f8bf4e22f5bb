"""A file that HDF5 can write to the end even where the disk is full."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

__all__ = ["Sink"]


class Sink(io.FileIO):
    """A file for HDF5 to write, which never reports an error to it.

    HDF5 cannot close a file after a write that failed: the process crashes. So the first error is
    kept here, and from then on what HDF5 writes is held in memory, so that it may go on until its
    file is closed. Who writes asks for `error` in between, and stops.

    Args:
        path: where to write.

    Attributes:
        error: the first error, None while all is well.
        size: bytes that the file has or was to have.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, "w+")
        self._held: list[tuple[int, bytes]] = []  # place and content, the newest last
        self._position = 0
        self.error: OSError | None = None
        self.size = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = begin + offset
        return self._position

    def tell(self) -> int:
        """The place that `seek` went to, or that was read or written to."""
        return self._position

    def write(self, data: Any) -> int:
        """Write all of it, to the file or to memory."""
        content, start = memoryview(data), self._position
        if self.error is None:
            try:
                done = 0
                while done < len(content):
                    done += os.pwrite(self.fileno(), content[done:], start + done)
            except OSError as error:
                self.error = error
        if self.error is not None:
            self._held.append((start, bytes(content)))
        self._position += len(content)
        self.size = max(self.size, self._position)
        return len(content)

    def readinto(self, buffer: Any) -> int:
        """Read back what was written, zeros where nothing was."""
        view, start = memoryview(buffer), self._position
        stop = start + len(view)
        found = os.pread(self.fileno(), len(view), start)
        view[:] = found.ljust(len(view), b"\0")
        for place, content in self._held:
            first, last = max(place, start), min(place + len(content), stop)
            if first < last:
                view[first - start : last - start] = content[first - place : last - place]
        self._position = stop
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """End the file at a place."""
        self.size = self._position if size is None else size
        if self.error is None:
            try:
                super().truncate(self.size)
            except OSError as error:
                self.error = error
        return self.size

    def close(self) -> None:
        """Close the file; what a network's disk refuses only now is kept as an error too."""
        try:
            super().close()
        except OSError as error:
            self.error = self.error or error
