"""A sink's cursor in a file of its own, for sinks that cannot keep it beside the records."""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from fastlog.errors import SinkError, SinkUnavailableError
from fastlog.files import make_directory, replace_file

T = TypeVar("T", bound=msgspec.Struct)


class Cursor(msgspec.Struct):
    """How far a sink got; others derive from it what more they must know."""

    node: str = ""
    offset: int = 0


class CursorFile(Generic[T]):
    """`<data_dir>/cursors/NAME.json`: read at the start, replaced whole and durably.

    A crash at any moment leaves the old cursor or the new one.
    """

    def __init__(self, data_dir: Path, name: str, kind: type[T]) -> None:
        self.path = data_dir / "cursors" / f"{name}.json"
        self._kind = kind

    def load(self) -> T | None:
        """The cursor that was saved last; None when there is none.

        Raises:
            SinkError: the file is no cursor; the text says what to do.
            SinkUnavailableError: the file cannot be read now.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=self._kind)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SinkUnavailableError(f"cannot read {self.path}: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise SinkError(
                f"{self.path} is damaged ({error}); "
                "remove it to start again at the journal's oldest record"
            ) from error

    def save(self, cursor: T) -> None:
        """Make this the cursor; it is durable when the call returns.

        Raises:
            SinkUnavailableError: the old cursor is still there.
        """
        try:
            make_directory(self.path.parent)
            replace_file(self.path, msgspec.json.encode(cursor) + b"\n", durable=True)
        except OSError as error:
            raise SinkUnavailableError(f"cannot write {self.path}: {error.strerror}") from error
