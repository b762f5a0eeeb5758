"""Fields: what a query can ask about, by the names that a user writes.

A field is a column of the record, an attribute that the application added (`extra.user`, or just
`user` where no column has that name), or all texts of the record at once.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

from fastlog.config import closest
from fastlog.errors import ConfigError
from fastlog.record import Record

COLUMNS = (*Record._fields, "node")
"""The columns of `records`, in the order in which they are printed."""
TIMES: Final = ("created", "received")
"""The columns that hold seconds since the epoch."""
NUMBERS: Final = ("levelno", "lineno", "process", "thread", "offset", "idx")
"""The columns that hold integers."""
TEXTS: Final = ("message", "exc_text", "stack_info", "extra")
"""The columns that a word is looked for in."""
NOTES: Final = "!notes"
"""The attribute of `extra` that has the notes of validation."""

ALIASES: Final = {"time": "created", "traceback": "exc_text"}
"""Further names of columns."""
SPECIAL: Final = ("level", "logger", "note", "has")
"""Names that are no columns, and have a meaning of their own in a query."""

SEGMENT: Final = r'(?:[^\W](?:[\w-]*\w)?|"(?:[^"\\]|\\.)+")'
PATH: Final = rf"[^\W\d](?:[\w-]*\w)?(?:\.{SEGMENT}|\[\d{{1,9}}\])*"
"""What the name of a field looks like: names with dots between them, and `[0]` for members of
lists. A name after the first may be quoted."""
_STEP: Final = rf"\.?({SEGMENT})|\[(\d+)\]"
_MISSPELT: Final = 0.85
"""How similar a name and that of a column are where it is taken for a mistake."""


class Kind(Enum):
    """What the values of a field are."""

    TEXT = "text"
    """A text that is compared as a whole."""
    CONTAINED = "contained"
    """A long text, in which other texts are looked for."""
    NUMBER = "number"
    TIME = "time"
    """Seconds since the epoch."""
    EXTRA = "extra"
    """Any value of JSON."""


class Field(NamedTuple):
    """A column, several columns of text, or an attribute inside `extra`."""

    name: str
    """As it is written in a query."""
    kind: Kind
    columns: tuple[str, ...]
    path: tuple[str | int, ...] = ()
    """The names and positions that lead to the attribute; () for a column as a whole."""


def _column_kind(name: str) -> Kind:
    if name in TEXTS:
        return Kind.CONTAINED
    if name in TIMES:
        return Kind.TIME
    return Kind.NUMBER if name in NUMBERS else Kind.TEXT


_COLUMN_FIELDS = {name: Field(name, _column_kind(name), (name,)) for name in COLUMNS}
ANYWHERE: Final = Field("message, traceback or extras", Kind.CONTAINED, TEXTS)
"""The field of a word that names none."""
NOTE: Final = Field("note", Kind.CONTAINED, ("extra",), (NOTES,))


def column(name: str) -> Field:
    """Return the field of a column."""
    return _COLUMN_FIELDS[name]


def resolve(text: str) -> Field:
    """Return the field that a name means.

    Raises:
        ConfigError: The text is no name, or nearly that of a column and so probably a mistake.
    """
    if not re.fullmatch(PATH, text):
        raise ConfigError(f'{text!r} is no name of a field; an odd name is extra."ODD NAME"')
    name = ALIASES.get(text, text)
    if name in _COLUMN_FIELDS:
        return _COLUMN_FIELDS[name]
    if name == "note":
        return NOTE
    path = tuple(
        int(index) if index else _unquoted(segment) for segment, index in re.findall(_STEP, text)
    )
    if path[0] == "extra":
        return Field(text, Kind.EXTRA, ("extra",), path[1:])
    if len(path) == 1:
        close = closest(text, [*COLUMNS, *ALIASES, *SPECIAL], _MISSPELT)
        if close is not None:
            raise ConfigError(
                f"there is no field {text!r}; did you mean {close!r}?"
                f" An extra of this name is extra.{text}"
            )
    return Field(f"extra.{text}", Kind.EXTRA, ("extra",), path)


def _unquoted(segment: str) -> str:
    return re.sub(r"\\(.)", r"\1", segment[1:-1]) if segment.startswith('"') else segment
