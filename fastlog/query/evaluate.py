"""The evaluator: whether a record matches a query. It has the last word on every store's answers.

A tree is compiled to a function of a row. The row may have some columns only, as long as the tree
is about no others: so a part of a query is decided once for a call site, and not for each of its
records.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from fastlog.query.expressions import Expression, compile_regex, compile_text, matches
from fastlog.query.fields import COLUMNS, Field
from fastlog.query.tree import (
    And,
    Below,
    Compares,
    Contains,
    Equals,
    Exists,
    Leaf,
    Matches,
    Node,
    Not,
    Or,
    forms,
)

Row = Sequence[Any]
Predicate = Callable[[Row], bool]

MISSING: Final = object()
"""The value of a field that a record does not have."""
_WORDS: Final = {True: "true", False: "false", None: "null"}
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compile_query(node: Node, columns: Sequence[str] = COLUMNS) -> Predicate:
    """Return a function that tells whether a row matches.

    Args:
        columns: The names of the values of a row.

    Raises:
        ValueError: The query is about a column that the rows do not have.
    """
    if isinstance(node, And | Or):
        return _joined([compile_query(part, columns) for part in node.parts], isinstance(node, And))
    if isinstance(node, Not):
        inner = compile_query(node.part, columns)
        return lambda row: not inner(row)
    fields = [node.field._replace(columns=(name,)) for name in node.field.columns]
    return _joined([_compile_leaf(node._replace(field=field), columns) for field in fields], False)


def value_of(field: Field, columns: Sequence[str] = COLUMNS) -> Callable[[Row], Any]:
    """Return a function that gets the value of a field from a row; `MISSING` where it is not there.

    Args:
        field: A field of one column.
        columns: The names of the values of a row.
    """
    [name] = field.columns
    at = columns.index(name)
    if field.path:
        return _attribute_of(at, field.path)
    if name == "extra":
        return lambda row: MISSING if row[at] == "{}" else row[at]
    return lambda row: MISSING if row[at] is None else row[at]


def _attribute_of(at: int, path: tuple[str | int, ...]) -> Callable[[Row], Any]:
    """Return a function that gets an attribute of `extra`, which has this place in the row."""
    if len(path) > 1 or not isinstance(path[0], str):
        return lambda row: find_extra(decode_extra(row[at]), path)
    [name] = path

    def plain(row: Row) -> Any:
        extra = decode_extra(row[at])
        return extra.get(name, MISSING) if isinstance(extra, dict) else MISSING

    return plain


@lru_cache(maxsize=1)
def decode_extra(text: str) -> Any:
    """Return the object that the text of `extra` is. It must not be changed."""
    return msgspec.json.decode(text)


def find_extra(extra: Any, path: tuple[str | int, ...]) -> Any:
    """Return the value that a path leads to, or `MISSING`.

    `a.b` is `b` inside `a`, or else the attribute whose name is `a.b`.
    """
    value = _follow(extra, path)
    names = next((at for at, step in enumerate(path) if isinstance(step, int)), len(path))
    while value is MISSING and names > 1:
        joined = ".".join(map(str, path[:names]))
        value = _follow(extra, (joined, *path[names:]))
        names -= 1
    return value


def text_of_value(value: Any) -> str:
    """Return a value of JSON as text: a text as it is, all others as compact JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _follow(value: Any, path: Iterable[str | int]) -> Any:
    for step in path:
        if isinstance(step, int):
            if not isinstance(value, list) or step >= len(value):
                return MISSING
            value = value[step]
        else:
            if not isinstance(value, dict) or step not in value:
                return MISSING
            value = value[step]
    return value


def _compile_leaf(leaf: Leaf, columns: Sequence[str]) -> Predicate:
    """Compile a leaf whose field has one column."""
    test, value = _TESTS[type(leaf)](leaf), value_of(leaf.field, columns)
    return lambda row: test(value(row))


def _joined(parts: list[Predicate], is_and: bool) -> Predicate:
    if not parts:
        return lambda row: is_and
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        first, second = parts
        if is_and:
            return lambda row: first(row) and second(row)
        return lambda row: first(row) or second(row)
    if is_and:
        return lambda row: all(part(row) for part in parts)
    return lambda row: any(part(row) for part in parts)


def _equals(leaf: Equals) -> Callable[[Any], bool]:
    text, number = leaf.text, leaf.number

    def test(value: Any) -> bool:
        if isinstance(value, str):
            return value == text
        if value is MISSING:
            return False
        if value is None or isinstance(value, bool):
            return _WORDS[value] == text
        if isinstance(value, int | float):
            return number is not None and value == number
        return text_of_value(value) == text

    return test


def _compares(leaf: Compares) -> Callable[[Any], bool]:
    compare, wanted = _COMPARE[leaf.operator], leaf.value
    if isinstance(wanted, str):
        return lambda value: isinstance(value, str) and compare(value, wanted)
    return lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and compare(value, wanted)
    )


def _contains(leaf: Contains) -> Callable[[Any], bool]:
    return _found([compile_text(form) for form in forms(leaf)])


def _matches(leaf: Matches) -> Callable[[Any], bool]:
    return _found([compile_regex(leaf.pattern)])


def _found(expressions: list[Expression]) -> Callable[[Any], bool]:
    def test(value: Any) -> bool:
        if value is MISSING:
            return False
        text = text_of_value(value)
        return any(matches(expression, text) for expression in expressions)

    return test


def _below(leaf: Below) -> Callable[[Any], bool]:
    name, prefix = leaf.name, f"{leaf.name}."
    return lambda value: isinstance(value, str) and (value == name or value.startswith(prefix))


def _exists(_: Exists) -> Callable[[Any], bool]:
    return lambda value: value is not MISSING


_TESTS: Final[dict[type[Leaf], Callable[[Any], Callable[[Any], bool]]]] = {
    Equals: _equals,
    Compares: _compares,
    Contains: _contains,
    Matches: _matches,
    Below: _below,
    Exists: _exists,
}
