"""Records as lines of an export: NDJSON, which an import reads exactly, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from fastlog.csv_cells import csv_cell
from fastlog.query import COLUMNS
from fastlog.record import Record
from fastlog.search import Found

_encoder: Final = msgspec.json.Encoder()
_EXTRA: Final = Record._fields.index("extra")
_Line: Any = msgspec.defstruct("_Line", [*COLUMNS, "time", "id"], gc=False)
"""Written in half the time of a dict."""


class Form(NamedTuple):
    """The form of an exported file."""

    header: bytes
    """What the file begins with."""
    encode: Callable[[list[Found]], bytes]
    """Returns what the file has of some records, in order."""
    rows: int = 0
    """How many records are encoded at once, at least, unless they have more than `max_bytes`."""
    max_bytes: int = 0
    convert: Callable[[Path, Path, Callable[[], bool]], bool] | None = None
    """Makes the exported file of the one that was written, unless it must stop; None: it is it."""


def line_form(header: bytes, line: Callable[[Found], bytes]) -> Form:
    """Return the form of a file of lines.

    Args:
        line: Returns the line of a record, with its end.
    """
    return Form(header, lambda some: b"".join(map(line, some)))


def id_of(found: Found) -> str:
    """Return the id of a record: journal, block, and number in the block."""
    return f"{found.node}:{found.record.offset}:{found.record.idx}"


def column_values(found: Found) -> dict[str, Any]:
    """Return the columns of a record, for JSON."""
    values: dict[str, Any] = dict(zip(COLUMNS, (*found.record, found.node), strict=True))
    values["extra"] = msgspec.Raw(found.record.extra.encode())
    return values


def added_values(found: Found) -> dict[str, Any]:
    """Return what lines have beside the columns: the time as text, and the record's id."""
    return {"time": utc_text(found.record.created), "id": id_of(found)}


def encode_record(found: Found) -> bytes:
    """Return a record as a line of JSON, without its end."""
    record = found.record
    extra = msgspec.Raw(record.extra.encode())
    line = _Line(
        *(*record[:_EXTRA], extra, *record[_EXTRA + 1 :], found.node),
        *(utc_text(record.created), id_of(found)),
    )
    return one_line(_encoder.encode(line))


def encode_values(values: dict[str, Any]) -> bytes:
    """Return some values as a line of JSON, without its end."""
    return one_line(_encoder.encode(values))


def one_line(text: bytes) -> bytes:
    """Return JSON without line ends between its parts, which `extra` is stored with or without.

    Inside texts, JSON has none.
    """
    return text.replace(b"\n", b" ").replace(b"\r", b" ")


def utc_text(seconds: float) -> str | None:
    """Return a time in the form of ISO 8601 with microseconds; None outside the calendar."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError, OSError):
        return None


def csv_line(values: Iterable[object]) -> bytes:
    """Return values as a line of CSV. Texts that a spreadsheet would run are marked as text."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(map(csv_cell, values))
    return line.getvalue().encode()


LINE_FORMS: Final = {
    "ndjson": line_form(b"", lambda found: encode_record(found) + b"\n"),
    "csv": line_form(csv_line(COLUMNS), lambda found: csv_line((*found.record, found.node))),
}
"""The forms of whole records."""
