"""A file that gets its name when it is complete, and that continues after a crash.

While it is written, it is called `NAME.part`. Beside it, `NAME.part.json` states up to which length
its content is durable, and where in the store that was. After a crash it is cut there, and what
follows is written again. The last steps are: sync, rename, remove the state.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from fastlog.errors import FastlogError
from fastlog.files import open_file, replace_file, sync_directory

VERSION: Final = 1
SAVE_INTERVAL: Final = 1.0
"""Seconds of work that a crash can cost."""


class ExportState(msgspec.Struct, kw_only=True):
    """How far an export is. What it reads is fixed when it begins."""

    version: int = VERSION
    question: str
    """What is exported, in which form. An export is continued with the same only."""
    now: float
    """The time that words such as `1h` refer to."""
    boot: float | None = None
    """The time that the word `boot` refers to."""
    parts: list[tuple[str, int]]
    """Name and end of each part of the store."""
    part: int = 0
    """The number of the part that is read now."""
    position: int = 0
    length: int = 0
    """Bytes of the file that are durable, up to this position."""
    records: int = 0
    unread: list[str] = []
    """What could not be read."""


class ExportFile:
    """The file of an export. A context manager: an error leaves what a later call continues.

    Args:
        output: The name of the complete file.
        begin: Makes the state of a new export.
        resume: Whether to continue an export that was interrupted, if there is one.
        question: As in `ExportState`.

    Raises:
        FastlogError: The interrupted export was another one, or another process writes it.
        OSError: The file cannot be written.
    """

    def __init__(
        self, output: Path, question: str, begin: Callable[[], ExportState], *, resume: bool
    ) -> None:
        self._output = output
        self._part = output.with_name(f"{output.name}.part")
        self._state_path = output.with_name(f"{output.name}.part.json")
        self._fd = open_file(self._part, os.O_RDWR)
        try:
            self._lock()
            found = self._read_state(question) if resume else None
            self.is_resumed = found is not None
            self.state = begin() if found is None else found
            os.ftruncate(self._fd, self.state.length)
            self._length = os.lseek(self._fd, 0, os.SEEK_END)
            if not self.is_resumed:
                self.save()  # a state of an earlier export must not describe this file
        except BaseException:
            os.close(self._fd)
            raise
        self._saved_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        os.close(self._fd)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is written yet."""
        return not self._length

    def write(self, data: bytes) -> None:
        """Append some bytes."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            error.filename = str(self._part)
            raise
        self._length += len(data)

    def reached(self, part: int, position: int, records: int) -> None:
        """State what the written bytes hold: everything up to a position, and so many records."""
        self.state.part, self.state.position = part, position
        self.state.records += records
        if time.monotonic() >= self._saved_at + SAVE_INTERVAL:
            self.save()

    def save(self) -> None:
        """Make the written bytes durable, then the state that counts them."""
        os.fdatasync(self._fd)
        self.state.length = self._length
        replace_file(self._state_path, msgspec.json.encode(self.state), durable=True)
        self._saved_at = time.monotonic()

    def complete(self) -> None:
        """Make the file durable under its name."""
        os.fsync(self._fd)
        self._part.replace(self._output)
        sync_directory(self._output.parent)
        self._state_path.unlink(missing_ok=True)

    def convert(
        self,
        make: Callable[[Path, Path, Callable[[], bool]], bool],
        must_stop: Callable[[], bool],
    ) -> bool:
        """Make the file of what is written and saved, under its name.

        Args:
            make: Makes one file of another, unless it must stop; returns whether it did.

        Returns:
            What `make` does.
        """
        whole = self._output.with_name(f"{self._output.name}.part.whole")
        is_made = make(self._part, whole, must_stop)
        if is_made:
            whole.replace(self._output)
            sync_directory(self._output.parent)
            self._part.unlink()
            self._state_path.unlink(missing_ok=True)
        else:
            whole.unlink()
        return is_made

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FastlogError(f"{self._part} is being written by another process") from None

    def _read_state(self, question: str) -> ExportState | None:
        """Return the state of the interrupted export; None if there is none.

        Raises:
            FastlogError: It exported something else, or the file has lost durable bytes.
        """
        try:
            state = msgspec.json.decode(self._state_path.read_bytes(), type=ExportState)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:
            raise FastlogError(
                f"{self._state_path} is damaged; begin again without --resume"
            ) from (None)
        if state.version != VERSION or state.question != question:
            raise FastlogError(
                f"{self._part} was begun with other arguments; name the same ones, or begin again "
                "without --resume"
            )
        if os.fstat(self._fd).st_size < state.length:
            raise FastlogError(
                f"{self._part} is shorter than {self._state_path} says; begin again without "
                "--resume"
            )
        return state


def read_state(output: Path) -> ExportState | None:
    """Return the state of an interrupted export; None if there is none that can be read."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        path = output.with_name(f"{output.name}.part.json")
        return msgspec.json.decode(path.read_bytes(), type=ExportState)
    return None


def is_complete(output: Path) -> bool:
    """Return whether an export has ended: its file is there, and no part of one.

    What a crash has left between the last two steps is removed.
    """
    part = output.with_name(f"{output.name}.part")
    if part.exists() or not output.exists():
        return False
    output.with_name(f"{output.name}.part.json").unlink(missing_ok=True)
    return True
