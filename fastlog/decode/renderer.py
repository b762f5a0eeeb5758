"""The renderer: from inert values to the normal form, which is what every sink stores.

    tuple, set, frozenset    list
    bytes, Python 2's str    text: UTF-8 where it is UTF-8, `\\xNN` where it is not
    NaN and the infinities   "NaN", "Infinity", "-Infinity"
    NUL, lone surrogates     `\\x00`, `\\udNNN`
    keys that are not text   their text, followed by the type if the text is in use: `1 (int)`
    a global                 its dotted name
    an object                what `classes.py` gives, else {"!": "module.Class", "args": […], …}
    what is over a bound     cut, with a mark in its place: {"!cut": …}, `… [cut: …]`

A record has one budget of nodes and one of bytes, as JSON writes them, so no aliasing makes the
result larger than that. The fields of the schema are rendered first.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

import msgspec

from fastlog.decode.bounds import DEPTH
from fastlog.decode.inert_tree import dotted, huge_text, is_dict, is_empty, kind_of, resolve
from fastlog.decode.object_reader import ObjectReader, state_of
from fastlog.decode.texts import beginning, clean, text_of, weight_in_json
from fastlog.decode.work import CONTAINER, ESCAPE, KEY, VALUE

KEY_DEPTH = 4
"""Containers inside each other in a key: naming each costs as much as many a record."""
CONTAINER_KEY = 3
"""Values that a key counts for if it is a container or an object: naming it is that much work."""

MORE = "!cut"
"""The key of a mark: how many values were left out, or why."""

NAMES = 4096
"""Keys and classes whose weight is kept."""
NAME_LENGTH = 128
"""Characters of the longest of them."""

_WEIGHTS: Final[dict[str, int]] = {}
_SMALL: Final = 1 << 64
_encode = msgspec.json.Encoder().encode

Normal = None | bool | int | float | str | list[Any] | dict[str, Any]


class Renderer:
    """Renders the values of one record, which share one budget.

    Args:
        weight: Bytes that they may take, as JSON writes them.
        nodes: Values that may be rendered.
        objects: The reader of the record's objects; its work is counted too.
    """

    __slots__ = ("nodes", "objects", "path", "room", "work")

    def __init__(self, weight: int, nodes: int, objects: ObjectReader) -> None:
        self.nodes = nodes
        """Values that may still be rendered."""
        self.room = weight
        """Bytes, as JSON writes them, that values may still take."""
        self.objects = objects
        self.work = objects.work
        self.path: list[int] = []
        """The containers that are being rendered, by identity."""

    def value(self, node: Any, depth: int) -> Normal:
        """Return the normal form of one value, `depth` containers below the record."""
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
        """Return the normal form of a container or an object."""
        if self.spent or (type(node) is dict and "cut" in node):
            return self.mark("size")
        if depth >= DEPTH:
            return self.mark("depth")
        if type(node) is dict and "class" in node:
            self.work.left -= CONTAINER
            plain = self.objects.value(node)
            if type(plain) is str:  # as for most objects: it contains nothing
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
        """Return the mark in the place of a container that is left out."""
        self.room -= len('{"!cut":""}') + len(why)
        self.work.left -= CONTAINER
        return {MORE: why}

    @property
    def spent(self) -> bool:
        """Whether a budget is used up, and the values still to come are cut."""
        return self.nodes <= 0 or self.room <= 0 or self.work.left <= 0

    @property
    def nearly_spent(self) -> bool:
        """Whether one more value would be the last."""
        return self.nodes <= 1 or self.room <= 0 or self.work.left <= VALUE

    def text(self, text: str, length: int = 0) -> str:
        """Return the text in normal form, cut if there is no room for all of it.

        Args:
            text: The text, or the beginning of a longer value.
            length: The length of that value.
        """
        room = max(self.room, 0)
        if len(text) <= room:
            out = text if text.isascii() and "\0" not in text else clean(text)
            weight = len(_encode(out)) - 2
            if weight <= room:
                self.room -= weight
                return out
        out = beginning(clean(text[:room]), room)
        missing = max(len(text), length) - min(len(text), len(out))
        out += f"… [cut: {missing} more]" if missing > 0 else "… [cut]"
        self.room -= weight_in_json(out)
        return out

    def bytes(self, node: bytes) -> str:
        """Return the text of bytes. Escapes take time, which is subtracted from the work."""
        text = text_of(node[: max(self.room, 0) + 4])
        if len(text) > len(node):
            self.work.left -= ESCAPE * len(node)
        return self.text(text, len(node))

    def name(self, key: str) -> str:
        """Return the normal form of a key or a class, which recurs from record to record."""
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
        """Return an integer beyond 64 bits: a number if there is room for its digits, else text."""
        digits = value.bit_length() // 3 + 1
        if digits > self.room:
            return self.text(str(value))
        self.room -= digits
        return value

    def member(self, node: Any, depth: int) -> Normal:
        """Return the normal form of a value in a container, and subtract all of its JSON."""
        kind: Any = type(node)
        value: Any = node
        nodes, work = 1, VALUE
        if kind is dict and "class" in node and depth < DEPTH and not self.nearly_spent:
            value = self.objects.value(node)
            kind, nodes, work = type(value), 2, VALUE + CONTAINER
        # Most values are a short text, or an object that stands for a text or a number.
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
        """Return the normal form of the members of a sequence."""
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
        """Return the normal form of a dict.

        Args:
            flat: Key, value, key, value, ….
            depth: Containers around its values.
            reserved: Names that only a key that is this text may have.
        """
        out: dict[str, Normal] = {}
        names = None
        each = iter(flat)
        for done, (key, value) in enumerate(zip(each, each, strict=True)):
            if self.nodes <= 0 or self.room <= 0 or self.work.left <= 0:
                out[MORE] = len(flat) // 2 - done
                self.room -= len(MORE) + 8
                break
            name = self.name(key) if type(key) is str else ""
            if name is not key:
                names = names or _KeyNames(self, flat, depth, reserved)
                name = names.name(key, name)
            self.room -= 3  # quotes and colon
            out[name] = self.member(value, depth)
        return out

    def object(self, node: Any, depth: int) -> Normal:
        """Return the normal form of an object."""
        plain = self.objects.value(node)
        if type(plain) is not dict or "class" not in plain:
            # One level only: a set contains its members as the list that it becomes does.
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
        """Add what an object has beside its arguments to its normal form."""
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
        """Return the name of a part of an object; subtract it with comma, quotes and colon."""
        self.room -= len(name) + 4
        return name


def number(value: float) -> float | str:
    """Return a float, or its name if JSON cannot represent it."""
    if math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


class _KeyNames:
    """The names of the keys of one dict that are not clean text; no two of them are equal."""

    __slots__ = ("by_text", "counts", "depth", "flat", "in_use", "renderer", "reserved")

    def __init__(
        self, renderer: Renderer, flat: list[Any], depth: int, reserved: frozenset[str]
    ) -> None:
        self.renderer = renderer
        self.flat = flat
        self.depth = depth
        self.reserved = reserved
        self.in_use: set[str] | None = None
        """Names that no other key may get; made when the first is needed."""
        self.by_text: dict[tuple[str, str], str] = {}
        """The last name for a type and a text."""
        self.counts: dict[tuple[str, str], int] = {}

    def name(self, key: Any, text: str) -> str:
        """Return the name for `key`; `text` is the normal form of a `str`."""
        self.renderer.work.left -= KEY
        if type(key) is str:
            if text == key:
                return text
            kind, exact = "str", False
        else:
            kind = "tuple" if isinstance(key, (list, tuple)) else kind_of(key)
            text, exact = self.text(key)
        if exact and (kind, text) in self.by_text:
            return self.by_text[kind, text]  # an equal key: the last value counts
        if self.in_use is None:
            self.in_use = {*self.reserved, *(key for key in self.flat[::2] if type(key) is str)}
        name = text
        while name in self.in_use:
            count = self.counts.get((kind, text), 0) + 1
            self.counts[kind, text] = count
            name = f"{text} ({kind})" if count == 1 else f"{text} ({kind} {count})"
            self.renderer.room -= len(name) - len(text)
        self.in_use.add(name)
        self.by_text[kind, text] = name
        return name

    def text(self, key: Any) -> tuple[str, bool]:
        """Return the text of a key that is no `str`, and whether it is unique among keys of the
        type."""
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
        # As a text with a budget: keys in keys double their backslashes with each level.
        text = json.dumps(value, ensure_ascii=False)
        return self.renderer.text(text), type(key) in (int, float)
