"""A sink's cursor in a file of its own, for sinks that cannot keep it beside the records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from fastlog.errors import SinkConflictError, SinkError, SinkUnavailableError
from fastlog.files import make_directory, replace_file
from fastlog.sinks import SinkContext
from fastlog.sinks.unavailable import unavailable

if TYPE_CHECKING:
    from fastlog.block import Block

T = TypeVar("T", bound=msgspec.Struct)


class Cursor(msgspec.Struct):
    """The offset up to which a sink has applied a journal. Subclasses add fields."""

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
        """Return the cursor that was saved last; None when there is none.

        Raises:
            SinkError: The file is no cursor; the text gives the remedy.
            SinkUnavailableError: The file cannot be read now.
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
        """Replace the saved cursor; the new one is durable when the call returns.

        Raises:
            SinkUnavailableError: The old cursor is still saved.
        """
        try:
            make_directory(self.path.parent)
            replace_file(self.path, msgspec.json.encode(cursor) + b"\n", durable=True)
        except OSError as error:
            raise unavailable(self.path, error) from error


class SavedCursor:
    """The cursor of an at-least-once sink: it moves in memory, and `save` makes it durable."""

    def __init__(self, context: SinkContext) -> None:
        self._file = CursorFile(context.data_dir, context.name, Cursor)
        self._cursor = Cursor()
        self._durable = 0

    @property
    def offset(self) -> int:
        """The journal offset up to which blocks are applied."""
        return self._cursor.offset

    @property
    def is_durable(self) -> bool:
        """Whether the saved cursor is the current one."""
        return self._durable == self._cursor.offset

    def open(self, node: str) -> int:
        """Load the cursor of a node; it is 0 where the saved one is of another node.

        Returns:
            The offset.
        """
        saved = self._file.load()
        self._cursor = saved if saved is not None and saved.node == node else Cursor(node)
        self._durable = self._cursor.offset
        return self._durable

    def check(self, block: Block) -> None:
        """Check that a block is not applied yet.

        Raises:
            SinkConflictError: The block is before the cursor.
        """
        if block.offset < self._cursor.offset:
            raise SinkConflictError(f"block {block.offset} is applied already")

    def move(self, block: Block) -> None:
        """Move the cursor to the end of a block."""
        self._cursor.offset = block.end

    def save(self) -> int:
        """Make the cursor durable.

        Returns:
            The offset.

        Raises:
            SinkUnavailableError: The old cursor is still saved.
        """
        if not self.is_durable:
            self._file.save(self._cursor)
            self._durable = self._cursor.offset
        return self._durable
