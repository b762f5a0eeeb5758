"""Rows: the values of a record as a SELECT gives them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from fastlog.errors import DamagedFileError
from fastlog.query import COLUMNS

COLUMN_LIST: Final = ", ".join(f"[{column}]" for column in COLUMNS)
"""`COLUMNS` for a SELECT."""
_TEXT: set[type] = {str, type(None)}
_NUMBER: set[type] = {int, type(None)}
_TYPES_BY_COLUMN: dict[str, set[type]] = {
    "created": {float},
    "received": {float},
    "offset": {int},
    "idx": {int},
    "extra": {str},
    "levelno": _NUMBER,
    "lineno": _NUMBER,
    "process": _NUMBER,
    "thread": _NUMBER,
}
_TYPES: list[set[type]] = [_TYPES_BY_COLUMN.get(column, _TEXT) for column in COLUMNS]
"""The types that the values of `COLUMNS` may have: other types show damage that SQLite does not
notice."""

Row = tuple[Any, ...]
"""The values of `COLUMNS`."""


def checked(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows, and check that their types are those that a sink writes.

    Raises:
        DamagedFileError: A value has a type that its column never has.
    """
    valid: set[Row] = set()
    for row in rows:
        types = tuple(map(type, row))
        if types not in valid:
            for column, kind, allowed in zip(COLUMNS, types, _TYPES, strict=True):
                if kind not in allowed:
                    raise DamagedFileError(
                        f"is damaged: {column} of a record is of type {kind.__name__}"
                    )
            valid.add(types)
        yield row
