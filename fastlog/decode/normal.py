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
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

import msgspec

from fastlog.decode.nodes import Global, Huge, Members, Object, Overflow, Pairs
from fastlog.decode.objects import dotted, simplify
from fastlog.errors import RejectedError

DEPTH = 32
"""Containers inside each other, the record itself not counted."""
NODES = 20_000
WEIGHT = 1 << 20
"""Bytes of a record's texts and of its `extra`, as JSON writes them."""
WEIGHT_TIMES = 8
WEIGHT_MORE = 448
"""A line of NDJSON takes at most 576 bytes for names, numbers and nulls: 1 KiB together."""
NODES_MORE = 64

MORE = "!cut"
"""The key of a mark: how many were left out, or why."""

_SMALL: Final = 1 << 64

Normal = None | bool | int | float | str | list[Any] | dict[str, Any]

_ESCAPES: Final = {
    "\0": "\\x00",
    **{chr(0xDC00 + byte): f"\\x{byte:02x}" for byte in range(128, 256)},
}
_SEQUENCES = (list, tuple, Members)
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


def attributes(
    value: Any, first: frozenset[str], weight: int = WEIGHT, nodes: int = NODES
) -> dict[str, Normal]:
    """The attributes of a record in normal form.

    Args:
        value: a dict, or an object with a dict as its state, as `inert.read` or `json` gave it.
        first: the names that are served first, whatever the others take.
        weight: bytes that all of them may have, as JSON writes them. The marks of what is cut come
            on top.
        nodes: values that they may have.

    Raises:
        RejectedError: the value has no attributes.
    """
    known: dict[str, Any] = {}
    raw: dict[str, Any] = {}
    rest = Pairs()
    for key, node in _record(value):
        if type(key) is str and key in first:
            known[key] = node
        elif type(key) is bytes and len(key) < 64 and (name := str(key, "latin-1")) in first:
            raw[name] = node
        else:
            rest.append(key)
            rest.append(node)
    for name, node in raw.items():
        if name in known:  # a Python 3 client may well have both
            rest.extend((name.encode("latin-1"), node))
        else:
            known[name] = node
    renderer = Renderer(weight, nodes)
    served = {name: renderer.value(node, 0) for name, node in known.items()}
    extra = renderer.mapping(rest, 0, first)
    if renderer.spent:  # once more, so that a large attribute hides none of the small ones
        renderer = Renderer(weight, nodes)
        served = {name: renderer.value(node, 0) for name, node in known.items()}
        ordered = sorted(_pairs(rest), key=_size)
        extra = renderer.mapping(Pairs(chain.from_iterable(ordered)), 0, first)
    return extra | served


def _size(pair: tuple[Any, Any]) -> int:
    node = pair[1]
    return len(node) if isinstance(node, (str, bytes, list, tuple, dict)) else 1


def _record(value: Any) -> Iterator[tuple[Any, Any]]:
    if type(value) is Object:
        plain = simplify(value)
        value = plain.state if type(plain) is Object and type(plain.state) is Pairs else plain
    if type(value) is dict:
        return iter(value.items())
    if type(value) is Pairs:
        return _pairs(value)
    raise RejectedError(f"not a record: {_kind(value)}")


def _pairs(flat: list[Any]) -> Iterator[tuple[Any, Any]]:
    each = iter(flat)
    return zip(each, each, strict=True)


def _kind(node: Any) -> str:
    names = {Pairs: "dict", Members: "set", Huge: "int", Object: "object", Global: "global"}
    return names.get(type(node), type(node).__name__.lower())


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


def text_of(data: bytes) -> str:
    """These bytes as text: UTF-8 where it is, escapes where it is not."""
    try:
        text = str(data, "utf-8")
    except UnicodeDecodeError:
        # `backslashreplace` would call back for each bad byte, and str.translate() grows its result
        # by one character at a time, which only some allocators forgive.
        text = str(data, "utf-8", "surrogateescape")
        return _UNREADABLE.sub(lambda run: "".join(map(_ESCAPES.__getitem__, run[0])), text)
    return text.replace("\0", "\\x00") if "\0" in text else text


class Renderer:
    """Renders the values of one record; the budget is shared by all of them."""

    __slots__ = ("nodes", "path", "room")

    def __init__(self, weight: int, nodes: int) -> None:
        self.nodes = nodes
        self.room = weight
        """Bytes, as JSON writes them, that may still come."""
        self.path: list[int] = []
        """The containers that are being rendered, by identity."""

    def value(self, node: Any, depth: int) -> Normal:
        """The normal form of one value, `depth` containers below the record."""
        self.nodes -= 1
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
            return self.text(text_of(node[: max(self.room, 0) + 4]), len(node))
        if kind is Huge:
            return self.text(node.text)
        if kind is Global:
            return self.text(dotted(node))
        return self.container(node, depth)

    def container(self, node: Any, depth: int) -> Normal:
        if self.spent or type(node) is Overflow:
            return self.mark("size")
        if depth >= DEPTH:
            return self.mark("depth")
        if id(node) in self.path:
            return self.mark("cycle")
        self.path.append(id(node))
        try:
            if type(node) is Object:
                return self.object(node, depth)
            if type(node) in _SEQUENCES:
                return self.sequence(node, depth + 1)
            return self.mapping(node, depth + 1)
        finally:
            self.path.pop()

    def mark(self, why: str) -> dict[str, Normal]:
        """What stands in the place of a container that is left out."""
        self.room -= len('{"!cut":""}') + len(why)
        return {MORE: why}

    @property
    def spent(self) -> bool:
        return self.nodes <= 0 or self.room <= 0

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

    def integer(self, value: int) -> int | str:
        """An integer beyond 64 bits: a number where there is room for its digits, else text."""
        digits = value.bit_length() // 3 + 1
        if digits > self.room:
            return self.text(str(value))
        self.room -= digits
        return value

    def member(self, node: Any, depth: int) -> Normal:
        """The normal form of a value in a container, whose JSON is charged whole."""
        value = self.value(node, depth)
        kind = type(value)
        self.room -= 1  # the comma
        if kind is str:
            self.room -= 2 + (len(value) if type(node) is float else 0)  # type: ignore[arg-type]
        elif kind is list or kind is dict:
            self.room -= 1  # two brackets, and no comma before the first
        elif kind is not int:
            self.room -= len(_encode(value))
        elif -_SMALL < value < _SMALL:  # type: ignore[operator]
            self.room -= len(str(value))
        return value

    def sequence(self, nodes: Any, depth: int) -> list[Normal]:
        out: list[Normal] = []
        for node in nodes:
            if self.spent:
                out.append({MORE: len(nodes) - len(out)})
                self.room -= len(MORE) + 8
                break
            out.append(self.member(node, depth))
        return out

    def mapping(
        self, node: Any, depth: int, reserved: frozenset[str] = frozenset()
    ) -> dict[str, Normal]:
        """A dict; no key of it that is not text takes a name of `reserved`."""
        out: dict[str, Normal] = {}
        naming = _Naming(self, node, depth, reserved)
        pairs = node.items() if type(node) is dict else _pairs(node)
        for done, (key, value) in enumerate(pairs):
            if self.spent:
                total = len(node) if type(node) is dict else len(node) // 2
                out[MORE] = total - done
                self.room -= len(MORE) + 8
                break
            name = self.text(key) if type(key) is str else ""
            if name is not key:
                name = naming.name(key, name)
            self.room -= 3  # quotes and colon
            out[name] = self.member(value, depth)
        return out

    def object(self, node: Object, depth: int) -> Normal:
        plain = simplify(node)
        if type(plain) is not Object:
            # One level only: a set holds its members, as the list that it becomes would.
            if type(plain) in _SEQUENCES:
                return self.sequence(plain, depth + 1)
            return (
                self.mapping(plain, depth + 1) if type(plain) is Pairs else self.value(plain, depth)
            )
        out: dict[str, Normal] = {"!": self.text(dotted(plain.factory))}
        self.room -= len('"!":""')
        if plain.args:
            out[self.part("args")] = self.sequence(plain.args, depth + 1)
        if plain.kwargs:
            out[self.part("kwargs")] = self.mapping(plain.kwargs, depth + 1)
        if plain.items:
            out[self.part("items")] = self.sequence(plain.items, depth + 1)
        if plain.pairs:
            out[self.part("pairs")] = self.mapping(plain.pairs, depth + 1)
        if plain.state is not None and plain.state != []:
            state = plain.state if depth + 1 >= DEPTH else _state(plain.state)
            out[self.part("state")] = self.value(state, depth + 1)
        return out

    def part(self, name: str) -> str:
        """The name of a part of an object, charged with comma, quotes and colon."""
        self.room -= len(name) + 4
        return name


def number(value: float) -> float | str:
    """A float, or the name of one that is no number."""
    if math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _state(state: Any) -> Any:
    """The attributes of an object with slots come as a pair of dicts."""
    if type(state) is tuple and len(state) == 2 and type(state[1]) is Pairs:
        if state[0] is None:
            return state[1]
        if type(state[0]) is Pairs:
            return Pairs([*state[0], *state[1]])
    return state


class _Naming:
    """Names the keys of one dict that are not plain text, so that no two of them collide."""

    def __init__(self, renderer: Renderer, node: Any, depth: int, reserved: frozenset[str]) -> None:
        self.renderer = renderer
        self.node = node
        self.depth = depth
        self.reserved = reserved
        self.taken: set[str] | None = None
        self.given: dict[tuple[str, str], str] = {}
        self.counts: dict[tuple[str, str], int] = {}

    def name(self, key: Any, text: str) -> str:
        """The name for `key`; `text` is its text, where it is a `str`."""
        if type(key) is str:
            if text == key:
                return text
            kind, exact = "str", False
        else:
            kind = _kind(key)
            text, exact = self.text(key)
        if exact and (kind, text) in self.given:
            return self.given[kind, text]  # an equal key: the last one counts
        if self.taken is None:
            keys = self.node if type(self.node) is dict else self.node[::2]
            self.taken = {*self.reserved, *(other for other in keys if type(other) is str)}
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
            text = self.renderer.text(text_of(key[: max(self.renderer.room, 0) + 4]))
            return text, "\\" not in text
        value = self.renderer.value(key, self.depth)
        if isinstance(value, str):
            return value, type(key) is float
        # Through the budget, since keys in keys double their quotes with each level.
        text = json.dumps(value, ensure_ascii=False)
        return self.renderer.text(text), type(key) in (int, float)
