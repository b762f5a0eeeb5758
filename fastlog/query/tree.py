"""The tree that a query is parsed into.

Logic has two values: each leaf is true or false of a record. Where the field is missing, it is
false. `field!=value` is `Not(Equals(…))`, so it is true there.

Leaves are about the columns of a record. What a user writes as `level` or `logger` is resolved to
these by the parser.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

import msgspec

from fastlog.query.fields import Field

Operator = Literal["<", "<=", ">", ">="]


class And(NamedTuple):
    """All of the parts are true; none of them is needed to make it true."""

    parts: tuple[Node, ...]


class Or(NamedTuple):
    """One of the parts is true."""

    parts: tuple[Node, ...]


class Not(NamedTuple):
    """The part is false."""

    part: Node


class Equals(NamedTuple):
    """The value is this text, or this number.

    `true`, `false` and `null` are also those values of JSON. Lists and objects are compared as
    compact JSON.
    """

    field: Field
    text: str
    number: float | None
    """The number that the text is, if it is one."""


class Compares(NamedTuple):
    """The value is less or greater. Numbers are compared with numbers only, texts with texts."""

    field: Field
    operator: Operator
    value: float | str


class Contains(NamedTuple):
    """A text is somewhere in the value; case is ignored as `expressions.compile_text` does.

    JSON is searched as it is written, so the text may stand there with its escapes: see `forms`.
    """

    field: Field
    text: str


class Matches(NamedTuple):
    """A regular expression of RE2 is found somewhere in the value."""

    field: Field
    pattern: str


class Below(NamedTuple):
    """The column is this name, or a name below it: `app` and `app.db`, but not `apple`."""

    field: Field
    name: str


class Exists(NamedTuple):
    """The field is there."""

    field: Field


Leaf = Equals | Compares | Contains | Matches | Below | Exists
Node = And | Or | Not | Leaf

EVERYTHING: Final = And(())
"""Every record matches."""


def both(*parts: Node) -> Node:
    """Return what matches where all of the parts do."""
    flat = tuple(
        each for part in parts for each in (part.parts if isinstance(part, And) else (part,))
    )
    return flat[0] if len(flat) == 1 else And(flat)


def any_of(parts: Iterable[Node]) -> Node:
    """Return what matches where one of the parts does."""
    some = tuple(parts)
    return some[0] if len(some) == 1 else Or(some)


def conjuncts(node: Node) -> tuple[Node, ...]:
    """Return the parts that must all be true."""
    return node.parts if isinstance(node, And) else (node,)


def leaves(node: Node) -> Iterator[Leaf]:
    """Yield all leaves."""
    if isinstance(node, And | Or):
        for part in node.parts:
            yield from leaves(part)
    elif isinstance(node, Not):
        yield from leaves(node.part)
    else:
        yield node


def equals(field: Field, value: float | str | None) -> Node:
    """Return what matches where the field has this value; where it is missing for None."""
    if value is None:
        return Not(Exists(field))
    return Equals(field, str(value), None if isinstance(value, str) else value)


def between(field: Field, since: float | None, until: float | None) -> Node:
    """Return what matches where `since` ≤ the time < `until`; None leaves an end open."""
    parts: list[Node] = []
    if since is not None:
        parts.append(Compares(field, ">=", since))
    if until is not None:
        parts.append(Compares(field, "<", until))
    return And(tuple(parts))


def columns_of(node: Node) -> set[str]:
    """Return the columns that a tree is about."""
    return {name for leaf in leaves(node) for name in leaf.field.columns}


def forms(leaf: Contains) -> tuple[str, ...]:
    """Return the texts to look for: the text, and where JSON is searched also its form in JSON."""
    if "extra" not in leaf.field.columns:
        return (leaf.text,)
    escaped = msgspec.json.encode(leaf.text).decode()[1:-1]
    return (leaf.text,) if escaped == leaf.text else (leaf.text, escaped)


def whole(pattern: str, *, ignore_case: bool) -> str:
    """Return a regular expression for a text in which `*` stands for any characters."""
    flags = "(?is)" if ignore_case else "(?s)"
    return rf"{flags}\A{pattern}\z"
