"""Checks of the arguments and the state of a pickled object, for the readers of classes."""

from __future__ import annotations

from typing import Any, Final, TypeGuard

from fastlog.decode.inert_tree import Node, is_dict, is_object, pairs_node

SEQUENCES: Final = (list, tuple)
STATE_LENGTH = 64
"""Keys and values of a state among which an attribute is searched."""
BITS = 128
"""Bits of the largest integer that readers calculate with."""


def is_sequence(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Return whether the value is a list, a tuple or a set."""
    return isinstance(value, SEQUENCES)


def is_text(value: Any) -> TypeGuard[str | bytes]:
    """Return whether the value is text, of Python 2 or 3."""
    return type(value) is str or type(value) is bytes


def is_small(value: Any) -> TypeGuard[int]:
    """Return whether the value is an integer of at most `BITS`: cheap to calculate with."""
    return type(value) is int and value.bit_length() <= BITS


def sent_bytes(value: Any, most: int) -> bytes | None:
    """Return the bytes in a value; below protocol 3, Python 3 writes bytes as a call:
    `_codecs.encode(text, …)`.

    Args:
        value: An inert value.
        most: The length that the bytes may have.

    Returns:
        None for another value, and for more bytes, before they cause any work.
    """
    if is_object(value):
        args = value["args"]
        value = args[0] if len(args) == 2 else "" if not args else None
    if not is_text(value) or len(value) > most:
        return None
    if type(value) is bytes:
        return value
    try:
        return value.encode("latin-1")  # type: ignore[union-attr]
    except UnicodeEncodeError:
        return None


def all_small(values: Any, count: int) -> bool:
    """Return whether the value is a sequence of `count` small integers."""
    return is_sequence(values) and len(values) == count and all(map(is_small, values))


def text_in(value: str | bytes) -> str:
    """Return the text; what is not UTF-8 in it becomes lone surrogates."""
    return value if type(value) is str else str(value, "utf-8", "surrogateescape")  # type: ignore[arg-type]


def state_value(node: Node, name: str) -> Any:
    """Return the attribute of that name from the state of an object, or None."""
    return value_of(node.get("state"), name)


def value_of(pairs: Any, name: str) -> Any:
    """Return the value of a text key of a dict, or None. Only the beginning of the dict is searched
    (`STATE_LENGTH`)."""
    if not is_dict(pairs):
        return None
    flat = pairs["pairs"]
    raw = name.encode()
    for at in range(0, min(len(flat), STATE_LENGTH), 2):
        key = flat[at]
        if is_text(key) and key in (name, raw):
            return flat[at + 1]
    return None


def range_text(start: int, stop: int, step: int) -> str:
    """Return a range as `repr` shows it."""
    return f"range({start}, {stop})" if step == 1 else f"range({start}, {stop}, {step})"


def described(cls: str, /, **parts: Any) -> Node:
    """Return the node of a dict that describes an object: its class and parts with names."""
    flat: list[Any] = ["!", cls]
    for key, value in parts.items():
        flat += (key, value)
    return pairs_node(flat)
