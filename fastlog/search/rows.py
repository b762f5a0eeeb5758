"""Rows: the values of a record as a SELECT gives them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from fastlog.errors import DamagedFileError
from fastlog.query import COLUMNS


def column_list(columns: Sequence[str] = COLUMNS) -> str:
    """Return columns as the list of a SELECT."""
    return ", ".join(f"[{column}]" for column in columns)


COLUMN_LIST: Final = column_list()
"""`COLUMNS` for a SELECT."""
_TEXT: set[type] = {str, type(None)}
_NUMBER: set[type] = {int, type(None)}
_TYPES: dict[str, set[type]] = {
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
"""The types that the values of a column may have, where these are not `_TEXT`: other types show
damage that SQLite does not notice."""

Row = tuple[Any, ...]
"""The values of some columns; of `COLUMNS`, unless others are named."""


def checked(rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> Iterator[Row]:
    """Yield the rows, and check that their types are those that a sink writes.

    Raises:
        DamagedFileError: A value has a type that its column never has.
    """
    valid: set[Row] = set()
    for row in rows:
        types = tuple(map(type, row))
        if types not in valid:
            for column, kind in zip(columns, types, strict=True):
                if kind not in _TYPES.get(column, _TEXT):
                    raise DamagedFileError(
                        f"is damaged: {column} of a record is of type {kind.__name__}"
                    )
            valid.add(types)
        yield row
