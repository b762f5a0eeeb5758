"""Values of the fields of found records, by the names that queries use."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import msgspec

from fastlog.errors import ConfigError
from fastlog.query.fields import COLUMNS, PATH, Field, resolve
from fastlog.search.stream import Found

Reader = Callable[[Found], Any]
"""Returns the value of a field: text, a number, a value of JSON, or `None` where it is missing."""

NAMES: Final = {"logger": "name", "traceback": "exc_text"}
"""Further names of columns. `level`, the name or else the number of a level, is no column."""


def canonical(name: str) -> str:
    """Return the name of a field as it is shown: that of a column, `level`, or `extra.…`.

    Raises:
        ConfigError: There is no such field; the text suggests one.
    """
    if name == "level":
        return name
    if not re.fullmatch(PATH, name):
        raise ConfigError(f"expected a field such as message or extra.user, got {name!r}")
    field = resolve(NAMES.get(name, name))
    return field.name if field.path else field.columns[0]


@lru_cache
def reader(name: str) -> Reader:
    """Return what reads the value of a field.

    Args:
        name: as `canonical` returns it.
    """
    if name == "level":
        return _level
    field = resolve(name)
    if field.path:
        return lambda found: _attribute(found.record.extra, field)
    position = COLUMNS.index(field.columns[0])
    if position == len(COLUMNS) - 1:
        return lambda found: found.node
    return lambda found: found.record[position]


def _level(found: Found) -> str | None:
    record = found.record
    if record.levelname is not None:
        return record.levelname
    return None if record.levelno is None else str(record.levelno)


def _attribute(extra: str, field: Field) -> Any:
    """Return what is at the path, or else the attribute whose name is the whole path."""
    members = _decoded(extra)
    value = members
    for step in field.path:
        try:
            value = value[step]
        except (LookupError, TypeError):
            whole = ".".join(map(str, field.path))
            return members.get(whole) if isinstance(members, dict) else None
    return value


@lru_cache(maxsize=1)
def _decoded(extra: str) -> Any:
    return msgspec.json.decode(extra)
