"""The records of a file of lines: of an export, of an `ndjson:` sink, or of another program.

A line of an export has the record's identity (journal, offset and number). Lines of other programs
get one that a second import of the same file gives again: the digest of the file, and where in it
the line is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, get_type_hints

import msgspec
from msgspec import Meta

from fastlog.errors import RejectedError
from fastlog.record import Record
from fastlog.search import Found, Progress
from fastlog.transfer.foreign_lines import read_foreign

MAX_LINE: Final = 64 << 20
"""Bytes of the longest line that is read. No line of an export is as long."""
_READ: Final = 1 << 20
_NODE: Final = re.compile(r"[0-9a-f]{1,64}")
_NODE_DIGITS: Final = 32
_BOM: Final = b"\xef\xbb\xbf"
_COUNT: Final = len(Record._fields)
_EXTRA: Final = Record._fields.index("extra")


def _line_types() -> list[tuple[str, Any] | tuple[str, Any, Any]]:
    integer = Annotated[int, Meta(ge=-1 << 63, le=(1 << 63) - 1)]
    natural = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
    types: dict[Any, Any] = {int | None: integer | None, int: natural}
    hints = get_type_hints(Record) | {"extra": msgspec.Raw}
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for name in Record._fields:
        kind = types.get(hints[name], hints[name])
        # Exports of older versions lack the columns that came later.
        is_optional = hints[name] in (str | None, int | None, float | None)
        fields.append((name, kind, None) if is_optional else (name, kind))
    fields.append(("node", str | msgspec.UnsetType, msgspec.UNSET))
    return [*fields, *((name, Any, None) for name in _ADDED)]


_ADDED: Final = ("time", "id", "match")
"""What lines have beside the columns. A line with more is of a newer version, and its columns would
be lost."""
_Line: Any = msgspec.defstruct(
    "_Line", _line_types(), kw_only=True, gc=False, forbid_unknown_fields=True
)
_Identity: Any = msgspec.defstruct(
    "_Identity", [(name, Any, msgspec.UNSET) for name in ("node", "offset", "idx", "received")]
)
_decode: Final = msgspec.json.Decoder(_Line).decode
_decode_identity: Final = msgspec.json.Decoder(_Identity).decode
_values: Final = msgspec.structs.astuple


class LineFile:
    """A file of lines that is imported.

    Args:
        report: Called with the number of a line that cannot be read, from 1, and the reason.
        now: When it is imported, in seconds since the epoch.
    """

    def __init__(self, path: Path, report: Callable[[int, str], object], now: float) -> None:
        self._path, self._report, self._now = path, report, now
        self.digest = ""
        """What stands for the id of a journal in lines that name none; "" while there was none."""
        self.unreadable = 0
        """Lines that could not be read."""

    def records(self, progress: Progress) -> Iterator[Found]:
        """Yield the records.

        Args:
            progress: Counts the bytes. If it must stop, the records end.

        Raises:
            OSError: The file cannot be read.
        """
        offset = 0
        with self._path.open("rb", _READ) as file:
            for number, (line, length) in enumerate(_lines(file), 1):
                start, offset = offset, offset + length
                progress.read += length
                if progress.must_stop():
                    return
                try:
                    found = self._read(line, start)
                except RejectedError as error:
                    self.unreadable += 1
                    self._report(number, str(error))
                    continue
                if found is not None:
                    yield found

    def _read(self, line: bytes, start: int) -> Found | None:
        """Return the record of a line; None if the line is empty.

        Raises:
            RejectedError: It is no record.
        """
        text = line.removeprefix(_BOM).strip() if start == 0 else line.strip()
        if len(line) > MAX_LINE:
            raise RejectedError(f"is longer than {MAX_LINE >> 20} MiB")
        if not text:
            return None
        try:
            values = _decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            if _has_identity(text):
                raise RejectedError(f"is not a line of an export: {error}") from None
            record = read_foreign(text, self._now, start)
            return Found(record, self._source_id())
        return self._exact(values, text, start)

    def _exact(self, line: Any, text: bytes, start: int) -> Found:
        """Return the record of a line that has all columns."""
        values = [*_values(line)[:_COUNT]]
        node = line.node
        extra = str(bytes(values[_EXTRA]), "utf-8")
        if not extra.startswith("{") or b"\\u0000" in text:
            raise RejectedError("is not a line of an export: a text has a NUL, or extra is none")
        values[_EXTRA] = extra
        record = Record(*values)
        if not 0 <= record.received < _LAST:
            raise RejectedError("is not a line of an export: received is no time")
        if node is msgspec.UNSET:
            return Found(record._replace(offset=start, idx=0), self._source_id())
        if not _NODE.fullmatch(node):
            raise RejectedError("is not a line of an export: node is no id of a journal")
        return Found(record, node)

    def _source_id(self) -> str:
        """Return the id that stands for the journal, where lines name none."""
        if not self.digest:
            with self._path.open("rb") as file:
                self.digest = hashlib.file_digest(file, "sha256").hexdigest()[:_NODE_DIGITS]
        return self.digest


_LAST: Final = 253_402_300_800.0
"""The end of the year 9999, in seconds since the epoch."""


def _has_identity(text: bytes) -> bool:
    """Return whether a line names the place of a record in a journal."""
    try:
        return msgspec.UNSET not in _values(_decode_identity(text))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _lines(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield the lines of a file and their lengths; of one that is too long, only the start."""
    while line := file.readline(MAX_LINE + 1):
        length, end = len(line), line[-1:]
        while len(line) > MAX_LINE and end != b"\n" and (more := file.readline(_READ)):
            length, end = length + len(more), more[-1:]
        yield line, length
