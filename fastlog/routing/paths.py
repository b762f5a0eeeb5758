"""Paths into extras: what a name such as `extra.db.password` leads to, in every way.

`a.b` is `b` inside `a`, and the attribute whose name is `a.b`. Where a path leads through a list,
it leads into each of its members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Path = tuple[str | int, ...]
Way = tuple[str, ...]
"""The names that lead to a value, without the numbers of lists."""


def find_all(extra: Any, path: Path) -> Iterator[tuple[Way, Any]]:
    """Yield what a path leads to through objects only, each with the names on the way."""
    for way in _ways(path):
        value = extra
        for name in way:
            if not isinstance(value, dict) or name not in value:
                break
            value = value[name]
        else:
            yield way, value


def add(extra: dict[str, Any], way: Way, value: Any) -> None:
    """Put a value where the names lead to, and make the objects on the way."""
    *parents, last = way
    for name in parents:
        inner = extra.setdefault(name, {})
        if not isinstance(inner, dict):  # chosen as a whole already
            return
        extra = inner
    extra[last] = value


def remove(extra: Any, path: Path) -> bool:
    """Remove all that a path leads to; return whether there was anything."""
    return change(extra, path, lambda owner, name: owner.pop(name))


def change(extra: Any, path: Path, do: Callable[[dict[str, Any], str], object]) -> bool:
    """Call `do` with each object and name that a path leads to; return whether there was one."""
    found = [each for way in _ways(path) for each in _owners(extra, way)]
    for owner, name in found:
        if name in owner:  # two ways may lead to one
            do(owner, name)
    return bool(found)


def _ways(path: Path) -> Iterator[Way]:
    """Yield the names that a path may consist of: the leading ones may be one name with dots."""
    names = [str(step) for step in path]
    for joined in range(1, len(names) + 1):
        yield (".".join(names[:joined]), *names[joined:])


def _owners(value: Any, way: Way) -> Iterator[tuple[dict[str, Any], str]]:
    if isinstance(value, list):
        for member in value:
            yield from _owners(member, way)
    elif isinstance(value, dict) and way[0] in value:
        if len(way) == 1:
            yield value, way[0]
        else:
            yield from _owners(value[way[0]], way[1:])
