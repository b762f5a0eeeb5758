"""Printed fields: the values of a record that `--fields`, `--format` and `--by` name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from fastlog.errors import ConfigError
from fastlog.query import COLUMNS, resolve
from fastlog.query.evaluate import MISSING, value_of
from fastlog.query.fields import TIMES
from fastlog.search import Found
from fastlog.terminal import CYAN, DIM, level_colour, one_line, painted
from fastlog.zone import Zone

TIME: Final = "time"
"""The field that shows `created` as a date and a time, in every style."""
NOTHING: Final = "-"
"""What is printed for a value that the record does not have."""
_LEVEL_WIDTH: Final = 8
_COMMA: Final = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')
"""A comma that is not inside quotes."""


class PrintedField:
    """A field of records, by the name that a user has written.

    Raises:
        ConfigError: There is no field of this name; the text suggests one.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        """The name that it has in the output: the one that the user has written."""
        self.column_name = _canonical(name)
        """The name that searches know."""
        self._read = _reader(self.column_name)

    def value(self, found: Found, zone: Zone) -> Any:
        """Return its value for programs: text, a number, `None` or JSON."""
        return self.for_programs(self._read(found), zone)

    def for_programs(self, value: Any, zone: Zone) -> Any:
        """Return a value of this field for programs, as `value` does."""
        if self.name == TIME:
            return zone.iso(value)
        if self.column_name == "extra":
            return msgspec.Raw((value or "{}").encode())
        return value

    def text(self, found: Found, zone: Zone) -> str:
        """Return its value for people, on one line, with unprintable characters escaped."""
        return self.shown(self._read(found), zone)

    def date_text(self, found: Found, zone: Zone, form: str) -> str:
        """Return a time in the form of `strftime`."""
        moment = zone.moment(self._read(found))
        return self.text(found, zone) if moment is None else one_line(moment.strftime(form))

    def shown(self, value: object, zone: Zone) -> str:
        """Return a value of this field for people, as `text` does."""
        if self.is_time and isinstance(value, int | float):
            return zone.text(value)
        return shown_value(value)

    @property
    def is_time(self) -> bool:
        """Whether the values are times."""
        return self.column_name in TIMES

    def column(self, found: Found, zone: Zone, *, colour: bool) -> str:
        """Return the text in its colour, and padded where that aligns the lines."""
        text = self.text(found, zone)
        if self.column_name in ("level", "levelname"):
            text = text.ljust(_LEVEL_WIDTH)
            return painted(text, level_colour(found.record.levelno), colour)
        if self.is_time:
            return painted(text, DIM, colour)
        return painted(text, CYAN, colour) if self.column_name == "name" else text


def parse_fields(text: str) -> tuple[PrintedField, ...]:
    """Return the fields of a list with commas.

    Raises:
        ConfigError: The list is empty, or a name in it is none.
    """
    names = [name.strip() for name in _COMMA.split(text)]
    if not all(names):
        raise ConfigError(f"expected names of fields with commas between them, got {text!r}")
    return tuple(map(PrintedField, names))


def shown_value(value: object) -> str:
    """Return a value for people, on one line, with unprintable characters escaped."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return one_line(value)
    return one_line(msgspec.json.encode(value).decode())


def _canonical(name: str) -> str:
    """Return the name of a field by which searches know it.

    Raises:
        ConfigError: There is no such field; the text suggests one.
    """
    if name in ("level", "logger"):
        return "name" if name == "logger" else name
    field = resolve(name)
    return field.name if field.path else field.columns[0]


def _reader(name: str) -> Callable[[Found], Any]:
    """Return what reads the value of a field; `None` where it is missing."""
    if name == "level":
        return _level
    if name == "node":
        return lambda found: found.node
    field = resolve(name)
    if not field.path:
        return lambda found: found.record[COLUMNS.index(name)]
    value = value_of(field, COLUMNS)

    def read(found: Found) -> Any:
        found_value = value(found.record)
        return None if found_value is MISSING else found_value

    return read


def _level(found: Found) -> str | None:
    record = found.record
    if record.levelname is not None:
        return record.levelname
    return None if record.levelno is None else str(record.levelno)
