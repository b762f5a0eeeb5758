"""Bulk expressions: what a query is searched for as in the whole text of a chunk.

A bulk expression matches in the text of a chunk wherever a part of the query matches in a text of
an entry, and perhaps elsewhere.
"""

from __future__ import annotations

import re
from typing import Final

from fastlog.errors import ConfigError
from fastlog.query import Node
from fastlog.query.expressions import Expression, compile_regex
from fastlog.query.fields import TEXTS, Field
from fastlog.query.operands import parse_number
from fastlog.query.tree import (
    And,
    Compares,
    Contains,
    Equals,
    Exists,
    Matches,
    Or,
    conjuncts,
    forms,
)
from fastlog.search.number_patterns import number_pattern

_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ANCHORS: Final = {r"\A": "^", r"\z": "$"}
_UNSAFE: Final = re.compile(r"\\Q|\(\?\w*-")
"""Quoted text, in which `\\A` is no anchor, and flags that are switched off."""
_PLAIN: Final = re.compile(r"[\w .:@'!+-]+", re.ASCII)
"""Text that every writer of JSON writes as it is."""
_WORDS: Final = ("true", "false", "null")


def bulk_expressions(query: Node) -> list[Expression]:
    """Return the expressions that an entry must match in bulk; none if no part gives one."""
    patterns = (_pattern(part) for part in conjuncts(query))
    compiled = (_compiled(pattern) for pattern in patterns if pattern is not None)
    return [expression for expression in compiled if expression is not None]


def _pattern(node: Node) -> str | None:
    """Return a pattern that matches wherever this does in a text of an entry; None: unknown."""
    if isinstance(node, Or):
        parts = [_pattern(part) for part in node.parts]
        known = [pattern for pattern in parts if pattern is not None]
        return f"(?:{'|'.join(known)})" if len(known) == len(parts) > 0 else None
    if isinstance(node, And):
        known = [pattern for part in node.parts if (pattern := _pattern(part)) is not None]
        return max(known, key=len, default=None)  # one is enough, and a long one is rare
    if isinstance(node, Contains | Matches):
        return _of_text(node)
    if isinstance(node, Equals | Compares | Exists):
        return _of_extra(node)
    return None


def _of_text(leaf: Contains | Matches) -> str | None:
    """Return the pattern of a leaf about texts.

    Each text is between two line feeds. A value inside `extra` has no place of its own in bulk, so
    a regular expression for it could match there in another way.
    """
    if not {*leaf.field.columns} <= {*TEXTS}:
        return None
    if isinstance(leaf, Contains):
        return f"(?i:{'|'.join(map(re.escape, forms(leaf)))})"
    if leaf.field.path or _UNSAFE.search(leaf.pattern):
        return None
    return f"(?m:{_ESCAPE.sub(lambda match: _ANCHORS.get(match[0], match[0]), leaf.pattern)})"


def _of_extra(leaf: Equals | Compares | Exists) -> str | None:
    """Return a pattern for what `extra` has where the leaf is true.

    For `extra.a.b=77` that is `"b":77` or `"b":"77"`, or the same with the name `a.b`.
    """
    key = _key(leaf.field)
    if key is None:
        return None
    name, is_last = key
    if isinstance(leaf, Exists) or not is_last:
        return name
    return name + (_of_value(leaf.text) if isinstance(leaf, Equals) else _of_range(leaf))


def _key(field: Field) -> tuple[str, bool] | None:
    """Return a pattern for the last name of a path, and whether the value is directly after it."""
    names = [step for step in field.path if isinstance(step, str)]
    if not names or not all(map(_PLAIN.fullmatch, names)):
        return None
    leading = next((at for at, step in enumerate(field.path) if isinstance(step, int)), None)
    spellings = {names[-1], ".".join(map(str, field.path[:leading]))}
    alternatives = "|".join(map(re.escape, sorted(spellings)))
    return f'"(?:{alternatives})":', isinstance(field.path[-1], str)


def _of_value(text: str) -> str:
    """Return a pattern for what is behind the name of an attribute that equals this value."""
    if not _PLAIN.fullmatch(text):
        return ""
    number = parse_number(text)
    if number is None and text not in _WORDS:
        return rf'\s*"{re.escape(text)}"'
    if number is not None and not _is_written_in_one_way(number, text):
        return ""
    return rf'\s*"?{re.escape(text)}\b'


def _of_range(leaf: Compares) -> str:
    """Return a pattern for what is behind the name of an attribute that compares in this way."""
    if isinstance(leaf.value, str):
        return r'\s*"'
    return rf"\s*{number_pattern(leaf.operator, leaf.value)}"


def _is_written_in_one_way(number: float, text: str) -> bool:
    """Return whether JSON has this text for each number that equals this one, perhaps with `.0`.

    0 is also -0.0. Large numbers may have an exponent.
    """
    is_whole = isinstance(number, float) and number.is_integer()
    return repr(number) == text and 0 < abs(number) < 1e15 and not is_whole


def _compiled(pattern: str) -> Expression | None:
    try:
        return compile_regex(pattern)
    except ConfigError:  # too large, with what was added
        return None
