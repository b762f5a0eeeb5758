"""What the inert reader makes of a pickle: values where a value says it all, nodes for the rest.

`None`, `bool`, `int`, `float`, `str`, `list` and `tuple` stand for themselves; `bytes` also for
`bytearray` and for the `str` of Python 2, a `tuple` also for a frozenset. Nothing here has
behaviour of the sender's: a node is compared by identity, and never hashed.
"""

from __future__ import annotations

from typing import Any

HUGE_DIGITS = 4096
"""Decimal digits of the longest integer that is kept as a number."""
HUGE_BYTES = 1700
"""The same for a binary one: 1,700 bytes are never more than 4,096 digits."""
HEAD = 32


class Pairs(list[Any]):
    """A dict: key, value, key, value, … as they came, equal keys included."""

    __slots__ = ()


class Members(list[Any]):
    """A set, as it came."""

    __slots__ = ()


class Global:
    """A name that an unpickler would have imported."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name


class Object:
    """What an unpickler would have got by calling `factory` and filling the result."""

    __slots__ = ("args", "factory", "items", "kwargs", "pairs", "state")

    def __init__(self, factory: Any, args: tuple[Any, ...], kwargs: Pairs | None = None) -> None:
        self.factory = factory
        self.args = args
        self.kwargs = kwargs
        self.state: Any = None
        self.items: list[Any] = []
        self.pairs = Pairs()

    def clear(self) -> None:
        """Drop all references, so that a cycle through this object ends."""
        self.factory = None
        self.args = ()
        self.kwargs = None
        self.state = None
        self.items = []
        self.pairs = Pairs()


class Overflow:
    """What stands for every container that a frame holds beyond the reader's bound."""

    __slots__ = ()


class Huge:
    """An integer too long to be a number; `text` is its beginning and its length."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def integer_of_digits(digits: str) -> int | Huge:
    """The integer that these decimal digits, with or without a sign, spell."""
    if len(digits.lstrip("-")) <= HUGE_DIGITS:
        return int(digits)
    return Huge(f"{digits[:HEAD]}… [cut: an integer of {len(digits.lstrip('-'))} digits]")


def integer_of_bytes(data: bytes) -> int | Huge:
    """The integer in these little-endian two's complement bytes."""
    if len(data) <= HUGE_BYTES:
        return int.from_bytes(data, "little", signed=True)
    head = int.from_bytes(data[-HEAD // 2 :], "little", signed=True)
    return Huge(f"{head:#x}… [cut: an integer of {len(data)} bytes]")
