"""What readers of objects have in common: the shapes that they look for, the work they spend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeGuard

from fastlog.decode.nodes import Node, is_dict, is_object, pairs_node

SEQUENCES: Final = (list, tuple)
STATE_LENGTH = 64
"""Keys and values of a state among which an attribute is looked for."""
BITS = 128
"""Of the integers that readers calculate with."""

WORK_TIMES = 6
WORK_MORE = 512
"""Work that a frame may cause: so much for each byte, and so much more. A unit is about 50 ns."""
VALUE, CONTAINER, OBJECT, KEY, ESCAPE = 3, 9, 32, 12, 3
"""Work of rendering any value; besides, of a container, an object, a global or a mark; of reading
an object, once; of naming a key that is no clean text; of each of the bytes that must be escaped.
No JSON has more containers than its bytes allow for."""


class Work:
    """The work that one frame may still cause. It is counted when it is done."""

    __slots__ = ("_again", "left")

    def __init__(self, length: int) -> None:
        self.left = WORK_TIMES * length + WORK_MORE
        self._again = self.left // 4

    def again(self) -> None:
        """Allow for one more attempt; all of them together get half of what the first had."""
        self.left = self._again
        self._again //= 2

    def spend(self, units: int) -> bool:
        """Spend that much; False if there is not so much left: then do not do the work."""
        if units > self.left:
            self.left = 0
            return False
        self.left -= units
        return True


Reader = Callable[[Node, Work], Any]


def is_sequence(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Whether the value is a list, a tuple or a set."""
    return isinstance(value, SEQUENCES)


def is_text(value: Any) -> TypeGuard[str | bytes]:
    """Whether the value is text, of Python 2 or 3."""
    return type(value) is str or type(value) is bytes


def is_small(value: Any) -> TypeGuard[int]:
    """Whether the value is an integer that costs nothing to calculate with."""
    return type(value) is int and value.bit_length() <= BITS


def sent_bytes(value: Any, most: int) -> bytes | None:
    """Return bytes, of so many at most; below protocol 3, Python 3 writes them as a call:
    `_codecs.encode(text, …)`. None for another value, and before any work for more of them."""
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
    """Whether these are so many small integers, in a sequence."""
    return is_sequence(values) and len(values) == count and all(map(is_small, values))


def text_in(value: str | bytes) -> str:
    """Return the text; what is not UTF-8 in it becomes lone surrogates."""
    return value if type(value) is str else str(value, "utf-8", "surrogateescape")  # type: ignore[arg-type]


def state_value(node: Node, name: str) -> Any:
    """Return the attribute of an object from its state, or None."""
    return value_of(node.get("state"), name)


def value_of(pairs: Any, name: str) -> Any:
    """Return the value of a key among the first of a dict, or None."""
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
    """Return a dict that describes an object of this class by parts that have names."""
    flat: list[Any] = ["!", cls]
    for key, value in parts.items():
        flat += (key, value)
    return pairs_node(flat)
