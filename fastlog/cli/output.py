"""Print found records to stdout."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterable
from enum import Enum

import msgspec

from fastlog.cli.safe_text import csv_cell
from fastlog.query import COLUMNS
from fastlog.search import Found
from fastlog.terminal import escape_json

Print = Callable[[Iterable[Found]], int]


class Style(Enum):
    """A form of output."""

    PLAIN = "plain"
    COLOUR = "colour"
    JSON = "json"
    CSV = "csv"


def printer(style: Style) -> Print:
    """Return a function that prints records to stdout and returns how many it printed.

    It prints each record as soon as it is found.
    """
    _prepare_stdout(style)
    if style is Style.JSON:
        return _printer(to_json)
    if style is Style.CSV:
        sys.stdout.write(_csv_line(COLUMNS))
        return _printer(lambda found: _csv_line(_values(found)))
    from fastlog.terminal import render  # only these two styles need it: import it late

    coloured = style is Style.COLOUR
    return _printer(lambda found: render(found.record, coloured) + "\n")


def to_json(found: Found) -> str:
    """Return a record as a line of JSON, with the names of `COLUMNS`."""
    fields = dict(zip(COLUMNS, _values(found), strict=True))
    fields["extra"] = msgspec.Raw(found.record.extra.encode())
    return escape_json(msgspec.json.encode(fields).decode()) + "\n"


def _printer(line: Callable[[Found], str]) -> Print:
    def write(records: Iterable[Found]) -> int:
        count = 0
        for found in records:
            sys.stdout.write(line(found))
            count += 1
        return count

    return write


def _values(found: Found) -> tuple[object, ...]:
    return (*found.record, found.node)


def _csv_line(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(map(csv_cell, values))
    return line.getvalue()


def _prepare_stdout(style: Style) -> None:
    """Encode JSON and CSV as UTF-8; in other styles, escape what the terminal cannot show."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        if style in (Style.JSON, Style.CSV):
            sys.stdout.reconfigure(encoding="utf-8")
        else:
            sys.stdout.reconfigure(errors="backslashreplace")
