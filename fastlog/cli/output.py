"""Output: found records as the lines that a command prints, in one of several styles."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from fastlog.csv_cells import csv_cell
from fastlog.query import COLUMNS
from fastlog.search import Found
from fastlog.terminal import DIM, escape_json, painted, render
from fastlog.zone import LOCAL, Zone

if TYPE_CHECKING:
    from fastlog.cli.fields import PrintedField
    from fastlog.cli.template import Template
    from fastlog.cli.window import Window


class Style(Enum):
    """A form of output."""

    PLAIN = "plain"
    COLOUR = "colour"
    JSON = "json"
    CSV = "csv"


class Output(NamedTuple):
    """What is printed of each record, and in which form."""

    style: Style
    fields: tuple[PrintedField, ...] = ()
    """The fields to print; (): the usual ones of the style."""
    template: Template | None = None
    """The line to print instead of fields."""
    zone: Zone = LOCAL
    """The zone of times."""
    window: Window | None = None
    """Where records are printed, if that is a terminal."""
    marks_matches: bool = False
    """Whether records are printed that do not match, and the others are marked."""

    @property
    def is_for_programs(self) -> bool:
        """Whether the style is one that programs read."""
        return self.style in (Style.JSON, Style.CSV)

    def header(self) -> str:
        """Return what comes before the first record."""
        if self.style is not Style.CSV:
            return ""
        names = [field.name for field in self.fields] or COLUMNS
        return csv_line([*names, *(["match"] if self.marks_matches else [])])

    def measure(self, some: Iterable[Found]) -> None:
        """Align the columns of records that will be printed, where lines are aligned."""
        if self.window is not None:
            self.window.measure(some)

    def line(self, found: Found, *, is_match: bool = True) -> str:
        """Return the text of a record, with the end of its last line."""
        if self.style is Style.JSON:
            return json_line(self._named_values(found, is_match))
        if self.style is Style.CSV:
            marks = [is_match] if self.marks_matches else []
            return csv_line([*self._values(found), *marks])
        return self._text(found, is_match) + "\n"

    def _text(self, found: Found, is_match: bool) -> str:
        colour = self.style is Style.COLOUR
        if self.template is not None:
            text = self.template.line(found, self.zone)
        elif self.fields:
            own = colour and is_match
            text = " ".join(field.column(found, self.zone, colour=own) for field in self.fields)
        elif self.window is not None:
            return self.window.text(found, faint=not is_match)
        else:
            return render(found.record, colour, self.zone, faint=not is_match)
        return text if is_match else painted(text, DIM, colour)

    def _values(self, found: Found) -> list[Any]:
        if not self.fields:
            return [*found.record, found.node]
        return [field.value(found, self.zone) for field in self.fields]

    def _named_values(self, found: Found, is_match: bool) -> dict[str, Any]:
        if self.fields:
            named = {field.name: field.value(found, self.zone) for field in self.fields}
        else:
            named = {"created": None, "time": self.zone.iso(found.record.created)}
            named |= zip(COLUMNS, (*found.record, found.node), strict=True)
            named["extra"] = msgspec.Raw(found.record.extra.encode())
        return named | {"match": is_match} if self.marks_matches else named


def json_line(values: dict[str, Any]) -> str:
    """Return an object as a line of JSON."""
    return escape_json(msgspec.json.encode(values).decode()) + "\n"


def csv_line(values: Iterable[object]) -> str:
    """Return values as a line of CSV."""
    import csv  # other styles start without it

    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(csv_cell(_cell(value)) for value in values)
    return line.getvalue()


def prepare_stdout(style: Style) -> None:
    """Encode JSON and CSV as UTF-8; in other styles, escape what the terminal cannot show."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        if style in (Style.JSON, Style.CSV):
            sys.stdout.reconfigure(encoding="utf-8")
        else:
            sys.stdout.reconfigure(errors="backslashreplace")


def _cell(value: object) -> object:
    """Return what CSV has for a value: text, a number, nothing, or JSON."""
    if isinstance(value, bool | list | dict | msgspec.Raw):
        return msgspec.json.encode(value).decode()
    return value
