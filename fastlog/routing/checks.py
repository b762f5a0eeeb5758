"""Checks of what the configuration says about routing; `config.load` gets them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from fastlog.errors import ConfigError
from fastlog.query import Node, TimeContext, parse, resolve
from fastlog.query.expressions import compile_regex, matches
from fastlog.query.fields import Field

ALWAYS: Final = ("created", "received", "offset", "idx", "node")
"""The fields that every sink stores: they say when a record was made, and which one it is."""
_GROUPS: Final = {"level": ("levelno", "levelname"), "logger": ("name",)}
_LATER: Final = 7.3 * 86400
"""Seconds between two moments at which a query is parsed: of other days, hours and minutes."""


def parse_filter(text: str) -> Node:
    """Return the tree of a filter.

    A block must give the same records whenever it is decoded, so a filter has no times that depend
    on when it is read.

    Raises:
        ConfigError: The text is no query, or depends on the time.
    """
    now = time.time()
    tree = parse(text, TimeContext(now))
    if tree != parse(text, TimeContext(now + _LATER)):
        raise ConfigError(
            "a filter here has no time that moves, such as 1h or today; write a date with a year"
        )
    return tree


def parse_stored(name: str) -> list[Field]:
    """Return the fields that a name means, of those that a sink may lack.

    Raises:
        ConfigError: There is no such field, or each sink stores it.
    """
    fields = parse_field(name)
    for field in fields:
        if field.columns[0] in ALWAYS:
            raise ConfigError(f"{name} is stored always; {', '.join(ALWAYS)} are")
    return fields


def parse_field(name: str) -> list[Field]:
    """Return the fields that a name means: `level` is two columns.

    Raises:
        ConfigError: There is no such field.
    """
    fields = [resolve(each) for each in _GROUPS.get(name, (name,))]
    for field in fields:
        if any(isinstance(step, int) for step in field.path):
            raise ConfigError(f"{name}: name the whole list; a member of it is no field here")
        if field.path and field.path[0] == "!notes":
            raise ConfigError(f"{name}: name extra, or the field that a note is about")
    return fields


def check_pattern(pattern: str) -> None:
    """Check a pattern of a redaction.

    Raises:
        ConfigError: It is no regular expression, or matches where there is no text.
    """
    if matches(compile_regex(pattern), ""):
        raise ConfigError(f"{pattern!r} matches the empty text, which is everywhere")


CHECKS: Final[Mapping[str, Callable[[str], object]]] = {
    "filter": parse_filter,
    "field": parse_field,
    "stored": parse_stored,
    "pattern": check_pattern,
}
"""For `config.load`."""
