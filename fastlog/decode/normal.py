"""The normal form: what every sink gets for a value, whatever Python sent it and however.

    tuple, set, frozenset    list
    bytes, Python 2's str    text: UTF-8 where it is, `\\xNN` where it is not
    NaN and the infinities   "NaN", "Infinity", "-Infinity"
    NUL, lone surrogates     `\\x00`, `\\udNNN`
    keys that are not text   their text, with the type behind it where that is taken: `1 (int)`
    a global                 its dotted name
    an object                what `objects.py` knows, else {"!": "module.Class", "args": […], …}
    what is over a bound     cut, and a mark where it was: {"!cut": …}, `… [cut: …]`

A record has one budget of nodes and one of bytes, as JSON writes them, so no aliasing makes the
result larger than that. The schema's own fields are served first.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

import msgspec

from fastlog.decode.nodes import dotted, huge_text, is_dict, kind_of, resolve
from fastlog.decode.objects import Reading, state_of
from fastlog.decode.shapes import CONTAINER, ESCAPE, KEY, VALUE

DEPTH = 32
"""Containers inside each other, the record itself not counted."""
NODES = 20_000
WEIGHT = 1 << 20
"""Bytes of a record's texts and of its `extra`, as JSON writes them."""
WEIGHT_TIMES = 8
WEIGHT_MORE = 448
"""A line of NDJSON takes at most 576 bytes for names, numbers and nulls: 1 KiB together."""
NODES_MORE = 64

KEY_DEPTH = 4
"""Containers inside each other in a key: naming each costs as much as many a record."""
CONTAINER_KEY = 3
"""Values that a key counts for which is a container or an object: naming it is so much work."""

MORE = "!cut"
"""The key of a mark: how many were left out, or why."""

NAMES = 4096
"""Of keys and classes, of which the weight is kept."""
NAME_LENGTH = 128
"""Characters of the longest of them."""

_WEIGHTS: Final[dict[str, int]] = {}
_SMALL: Final = 1 << 64

Normal = None | bool | int | float | str | list[Any] | dict[str, Any]

_ESCAPES: Final = {
    "\0": "\\x00",
    **{chr(0xDC00 + byte): f"\\x{byte:02x}" for byte in range(128, 256)},
}
SHORT_RUN = 6
"""Bytes below which a table is quicker than `bytes.hex`."""
_UNREADABLE = re.compile("[\0\udc80-\udcff]+")
_HALF_ESCAPE = re.compile(rb"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-f]{0,3})?\Z")
_encode = msgspec.json.Encoder().encode


def most_stored(length: int) -> int:
    """Return how many bytes, as JSON writes them, a frame of this length may become.

    Aliases and escapes make more of a frame than it has; short frames that take much room on the
    disk would push the records of others out.
    """
    return WEIGHT_TIMES * length + WEIGHT_MORE


def weight_of(length: int) -> int:
    """Return the budget for the values of such a frame; marks and notes come on top."""
    return min(WEIGHT, most_stored(length))


def nodes_of(length: int) -> int:
    """Values that a frame of so many bytes may become. A value takes a byte or more, so only one
    whose containers are shared, and shared again, can mean more; 300 bytes would be 20 ms of work.
    """
    return min(NODES, length + NODES_MORE)


def clean(text: str) -> str:
    """The text, with escapes for NUL and lone surrogates."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = str(text.encode("utf-8", "backslashreplace"), "utf-8")
    return text.replace("\0", "\\x00") if "\0" in text else text


def weight_in_json(text: str) -> int:
    """Return how many bytes JSON makes of the text, without the quotes around it."""
    return len(_encode(text)) - 2


def _head(text: str, room: int) -> str:
    """Return the beginning of a clean text that takes at most so many bytes in JSON."""
    data = _encode(text[:room])[1:-1]
    if len(data) > room:
        data = _HALF_ESCAPE.sub(rb"\1", data[:room])
        return str(msgspec.json.decode(b'"' + data.decode("utf-8", "ignore").encode() + b'"'))
    return text[:room]


def _escaped(run: re.Match[str]) -> str:
    """The escapes of NULs and of bytes that are no UTF-8."""
    if len(run[0]) < SHORT_RUN:
        return "".join(map(_ESCAPES.__getitem__, run[0]))
    return "\\x" + run[0].encode("utf-8", "surrogateescape").hex("|").replace("|", "\\x")


def text_of(data: bytes) -> str:
    """These bytes as text: UTF-8 where it is, escapes where it is not."""
    try:
        text = str(data, "utf-8")
    except UnicodeDecodeError:
        # `backslashreplace` would call back for each bad byte, and str.translate() grows its result
        # by one character at a time, which only some allocators forgive.
        text = str(data, "utf-8", "surrogateescape")
        return _UNREADABLE.sub(_escaped, text)
    return text.replace("\0", "\\x00") if "\0" in text else text


class Renderer:
    """Renders the values of one record; the budget is shared by all of them."""

    __slots__ = ("nodes", "path", "reading", "room", "work")

    def __init__(self, weight: int, nodes: int, reading: Reading) -> None:
        self.nodes = nodes
        self.room = weight
        """Bytes, as JSON writes them, that may still come."""
        self.reading = reading
        self.work = reading.work
        self.path: list[int] = []
        """The containers that are being rendered, by identity."""

    def value(self, node: Any, depth: int) -> Normal:
        """The normal form of one value, `depth` containers below the record."""
        self.nodes -= 1
        self.work.left -= VALUE
        kind = type(node)
        if kind is str:
            return self.text(node)
        if node is None or kind is bool:
            return node  # type: ignore[no-any-return]
        if kind is int:
            return node if -_SMALL < node < _SMALL else self.integer(node)
        if kind is float:
            return number(node)
        if kind is bytes:
            return self.bytes(node)
        if kind is dict:
            if "global" in node:
                self.work.left -= CONTAINER
                return self.text(resolve(node["global"]))
            if "huge" in node:
                return self.text(huge_text(*node["huge"]))
        return self.container(node, depth)

    def container(self, node: Any, depth: int) -> Normal:
        if self.spent or (type(node) is dict and "cut" in node):
            return self.mark("size")
        if depth >= DEPTH:
            return self.mark("depth")
        if type(node) is dict and "class" in node:
            self.work.left -= CONTAINER
            plain = self.reading.value(node)
            if type(plain) is str:  # what most objects stand for: nothing lies within it
                self.nodes -= 1
                return self.text(plain)
        else:
            self.work.left -= CONTAINER
        key = id(node)
        if key in self.path:
            return self.mark("cycle")
        self.path.append(key)
        try:
            if type(node) is not dict:
                return self.sequence(node, depth + 1)
            if "class" in node:
                return self.object(node, depth)
            return self.mapping(node["pairs"], depth + 1)
        finally:
            self.path.pop()

    def mark(self, why: str) -> dict[str, Normal]:
        """What stands in the place of a container that is left out."""
        self.room -= len('{"!cut":""}') + len(why)
        self.work.left -= CONTAINER
        return {MORE: why}

    @property
    def spent(self) -> bool:
        """Whether the record has had its share, and what is left of it is cut."""
        return self.nodes <= 0 or self.room <= 0 or self.work.left <= 0

    @property
    def nearly_spent(self) -> bool:
        """Whether one more value would be the last."""
        return self.nodes <= 1 or self.room <= 0 or self.work.left <= VALUE

    def text(self, text: str, length: int = 0) -> str:
        """The text in its normal form, and its end cut off where there is no room for it.

        Args:
            length: of the value whose beginning the text is.
        """
        room = max(self.room, 0)
        if len(text) <= room:
            out = text if text.isascii() and "\0" not in text else clean(text)
            weight = len(_encode(out)) - 2
            if weight <= room:
                self.room -= weight
                return out
        out = _head(clean(text[:room]), room)
        missing = max(len(text), length) - min(len(text), len(out))
        out += f"… [cut: {missing} more]" if missing > 0 else "… [cut]"
        self.room -= weight_in_json(out)
        return out

    def bytes(self, node: bytes) -> str:
        """The text of bytes; escapes take time, and are charged."""
        text = text_of(node[: max(self.room, 0) + 4])
        if len(text) > len(node):
            self.work.left -= ESCAPE * len(node)
        return self.text(text, len(node))

    def name(self, key: str) -> str:
        """The text of a key, which many records have."""
        weight = _WEIGHTS.get(key)
        if weight is None:
            if len(key) > NAME_LENGTH or not key.isascii() or "\0" in key:
                return self.text(key)
            if len(_WEIGHTS) >= NAMES:
                _WEIGHTS.clear()
            weight = _WEIGHTS[key] = len(_encode(key)) - 2
        if weight > self.room:
            return self.text(key)
        self.room -= weight
        return key

    def integer(self, value: int) -> int | str:
        """An integer beyond 64 bits: a number where there is room for its digits, else text."""
        digits = value.bit_length() // 3 + 1
        if digits > self.room:
            return self.text(str(value))
        self.room -= digits
        return value

    def member(self, node: Any, depth: int) -> Normal:
        """The normal form of a value in a container, whose JSON is charged whole."""
        kind: Any = type(node)
        value: Any = node
        nodes, work = 1, VALUE
        if kind is dict and "class" in node and depth < DEPTH and not self.nearly_spent:
            value = self.reading.value(node)
            kind, nodes, work = type(value), 2, VALUE + CONTAINER
        # Most values are such a text, or objects that stand for one or for a number.
        if kind is str and value.isascii() and "\0" not in value:
            weight = len(_encode(value)) + 1  # with the comma
            if weight <= self.room:
                self.nodes -= nodes
                self.work.left -= work
                self.room -= weight
                return value  # type: ignore[no-any-return]
        if nodes == 2 and (kind is float or (kind is int and -_SMALL < value < _SMALL)):
            self.nodes -= nodes
            self.work.left -= work + VALUE
            value = number(value) if kind is float else value
        else:
            value = self.value(node, depth)
        self.room -= 1  # the comma
        kind = type(value)
        if kind is str:
            self.room -= 2 + (len(value) if type(node) is float else 0)
        elif kind is list or kind is dict:
            self.room -= 1  # two brackets, and no comma before the first
        elif kind is not int:
            self.room -= len(_encode(value))
        elif -_SMALL < value < _SMALL:
            self.room -= len(str(value))
        return value  # type: ignore[no-any-return]

    def sequence(self, nodes: Any, depth: int) -> list[Normal]:
        out: list[Normal] = []
        for node in nodes:
            if self.nodes <= 0 or self.room <= 0 or self.work.left <= 0:
                out.append({MORE: len(nodes) - len(out)})
                self.room -= len(MORE) + 8
                break
            out.append(self.member(node, depth))
        return out

    def mapping(
        self, flat: list[Any], depth: int, reserved: frozenset[str] = frozenset()
    ) -> dict[str, Normal]:
        """A dict, from its keys and values in turn; no key that is not text takes a name of
        `reserved`."""
        out: dict[str, Normal] = {}
        naming = None
        each = iter(flat)
        for done, (key, value) in enumerate(zip(each, each, strict=True)):
            if self.nodes <= 0 or self.room <= 0 or self.work.left <= 0:
                out[MORE] = len(flat) // 2 - done
                self.room -= len(MORE) + 8
                break
            name = self.name(key) if type(key) is str else ""
            if name is not key:
                naming = naming or _Naming(self, flat, depth, reserved)
                name = naming.name(key, name)
            self.room -= 3  # quotes and colon
            out[name] = self.member(value, depth)
        return out

    def object(self, node: Any, depth: int) -> Normal:
        plain = self.reading.value(node)
        if type(plain) is not dict or "class" not in plain:
            # One level only: a set holds its members, as the list that it becomes would.
            if isinstance(plain, (list, tuple)):
                return self.sequence(plain, depth + 1)
            if is_dict(plain):
                return self.mapping(plain["pairs"], depth + 1)
            return self.value(plain, depth)
        out: dict[str, Normal] = {"!": self.name(dotted(plain["class"]))}
        self.room -= len('"!":""')
        if plain["args"]:
            out[self.part("args")] = self.sequence(plain["args"], depth + 1)
        if len(plain) > 2:
            self.parts(plain, out, depth + 1)
        return out

    def parts(self, plain: Any, out: dict[str, Normal], depth: int) -> None:
        """Add what an object has beside its arguments."""
        if "kwargs" in plain and plain["kwargs"]["pairs"]:
            out[self.part("kwargs")] = self.mapping(plain["kwargs"]["pairs"], depth)
        if plain.get("items"):
            out[self.part("items")] = self.sequence(plain["items"], depth)
        if plain.get("pairs"):
            out[self.part("pairs")] = self.mapping(plain["pairs"], depth)
        if not is_empty(plain.get("state")):
            state = state_of(plain) if depth < DEPTH else plain["state"]
            out[self.part("state")] = self.value(state, depth)

    def part(self, name: str) -> str:
        """The name of a part of an object, charged with comma, quotes and colon."""
        self.room -= len(name) + 4
        return name


def is_empty(node: Any) -> bool:
    """Whether a value says nothing: None, and what has no members."""
    if type(node) is dict:
        return "pairs" in node and "class" not in node and not node["pairs"]
    return node is None or (isinstance(node, (list, tuple)) and not node)


def number(value: float) -> float | str:
    """A float, or the name of one that is no number."""
    if math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


class _Naming:
    """Names the keys of one dict that are not plain text, so that no two of them collide."""

    __slots__ = ("counts", "depth", "given", "keys", "renderer", "reserved", "taken")

    def __init__(
        self, renderer: Renderer, flat: list[Any], depth: int, reserved: frozenset[str]
    ) -> None:
        self.renderer = renderer
        self.keys = flat
        self.depth = depth
        self.reserved = reserved
        self.taken: set[str] | None = None
        self.given: dict[tuple[str, str], str] = {}
        self.counts: dict[tuple[str, str], int] = {}

    def name(self, key: Any, text: str) -> str:
        """The name for `key`; `text` is its text, where it is a `str`."""
        self.renderer.work.left -= KEY
        if type(key) is str:
            if text == key:
                return text
            kind, exact = "str", False
        else:
            kind = "tuple" if isinstance(key, (list, tuple)) else kind_of(key)
            text, exact = self.text(key)
        if exact and (kind, text) in self.given:
            return self.given[kind, text]  # an equal key: the last one counts
        if self.taken is None:
            self.taken = {*self.reserved, *(key for key in self.keys[::2] if type(key) is str)}
        name = text
        while name in self.taken:
            count = self.counts.get((kind, text), 0) + 1
            self.counts[kind, text] = count
            name = f"{text} ({kind})" if count == 1 else f"{text} ({kind} {count})"
            self.renderer.room -= len(name) - len(text)
        self.taken.add(name)
        self.given[kind, text] = name
        return name

    def text(self, key: Any) -> tuple[str, bool]:
        """The text of a key that is no `str`, and whether no other key of its type has it."""
        if key is None or type(key) is bool:
            return str(key), True
        if type(key) is bytes:
            text = self.renderer.bytes(key)
            return text, "\\" not in text
        if type(key) is int and -_SMALL < key < _SMALL:
            self.renderer.nodes -= 1
            self.renderer.work.left -= VALUE
            return self.renderer.text(str(key)), True
        if type(key) is not int and type(key) is not float:
            self.renderer.nodes -= CONTAINER_KEY
            self.renderer.work.left -= KEY
        value = self.renderer.value(key, max(self.depth, DEPTH - KEY_DEPTH))
        if isinstance(value, str):
            return value, type(key) is float
        # Through the budget, since keys in keys double their quotes with each level.
        text = json.dumps(value, ensure_ascii=False)
        return self.renderer.text(text), type(key) in (int, float)
