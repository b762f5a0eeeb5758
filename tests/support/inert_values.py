"""What the inert reader gives for a pickle, in a form that tests compare."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from fastlog.decode.inert_tree import Members
from fastlog.decode.unpickle import unpickle


def value_of(data: bytes) -> Any:
    with unpickle(data) as value:
        return plain(value)


def plain(node: Any) -> Any:
    """Return a tree without cycles, with a set as `("set", member, …)`, to compare it."""
    match node:
        case Members():
            return ("set", *map(plain, node))
        case dict():
            return {key: plain(value) for key, value in node.items()}
        case tuple():
            return tuple(map(plain, node))
        case list():
            return [plain(each) for each in node]
    return node


def pairs(*flat: Any) -> Any:
    return {"pairs": list(flat)}


def called(cls: Any, *args: Any, **parts: Any) -> Any:
    return {"class": cls, "args": args, **parts}


F = "0:m:F"

PICKLERS: list[Callable[..., bytes]] = [pickle.dumps, pickle._dumps]  # type: ignore[attr-defined]
