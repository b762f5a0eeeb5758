"""The attributes of a record as the client sent them: fields of the schema, and others."""

from __future__ import annotations

from itertools import chain
from typing import Any, Final

from fastlog.decode.inert_tree import is_dict, is_empty, is_object, kind_of, pairs_node
from fastlog.decode.object_reader import ObjectReader
from fastlog.decode.texts import clean, text_of
from fastlog.decode.validation import (
    COLUMNS,
    DROPPED,
    DROPPED_IF_EMPTY,
    MEMBERS,
    MESSAGE,
    NESTED,
    RESERVED,
    TWIN,
)
from fastlog.errors import RejectedError

_DROP, _DROP_IF_EMPTY, _TWIN, _NESTED = -1, -2, -3, -4
_SLOTS: Final = {
    **{"msg" if name == "message" else name: at for at, name in enumerate(COLUMNS)},
    **dict.fromkeys(DROPPED, _DROP),
    **dict.fromkeys(DROPPED_IF_EMPTY, _DROP_IF_EMPTY),
    TWIN: _TWIN,
    NESTED: _NESTED,
}
"""What becomes of an attribute, by its name: the index of its column, or one of the above."""
_SLOTS_BY_BYTES: Final = {name.encode(): at for name, at in _SLOTS.items()}
_TEXT_TYPES: Final = (str, bytes)
_TWINS: Final = (TWIN, TWIN.encode())


def attributes_of(root: Any, objects: ObjectReader) -> list[Any]:
    """Return the attributes of a record: key, value, key, value, ….

    Args:
        root: The inert value of a frame: a dict, or an object whose state is a dict.
        objects: Reads that object.

    Raises:
        RejectedError: The value has no attributes.
    """
    node = root
    if is_object(node):
        node = objects.value(node)
        if is_object(node) and is_dict(node.get("state")):
            node = node["state"]
    if not is_dict(node):
        # An object may stand for any kind of sequence, depending on the engine.
        sequence = node is not root and isinstance(node, (list, tuple))
        raise RejectedError(f"not a record: {'list' if sequence else kind_of(node)}")
    return node["pairs"]  # type: ignore[no-any-return]


class Attributes:
    """The attributes of a record as the client sent them: inert values."""

    __slots__ = ("has_twin", "message", "rest", "values")

    def __init__(self, values: list[Any], rest: list[Any]) -> None:
        self.values = values
        """Of the fields of the schema, in order."""
        self.rest = rest
        """Keys and values of all others, without those that are dropped."""
        self.message = "msg"
        """The name of the attribute that the message comes from."""
        self.has_twin = False
        """Whether the rest has a `message` beside the `msg`."""

    def sort(self, flat: list[Any]) -> None:
        """Add attributes: key, value, key, value, …."""
        values, rest, slots = self.values, self.rest, _SLOTS
        raw: list[Any] = []
        twin = nested = False
        each = iter(flat)
        for key, value in zip(each, each, strict=True):
            kind = type(key)
            if kind is str:
                slot = slots.get(key)
            elif kind is bytes:
                slot = _SLOTS_BY_BYTES.get(key)
                if slot is not None and slot >= 0:
                    raw += (key, value)
                    continue
            else:
                slot = None
            if slot is None:
                rest += (key, value)
            elif slot >= 0:
                values[slot] = value
            elif slot == _TWIN:
                twin = True
                rest += (key, value)
            elif slot == _NESTED:
                nested = True
                rest += (key, value)
            elif slot == _DROP_IF_EMPTY and not (is_empty(value) or value in ("", b"")):
                rest += (key, value)
        if raw:
            self._add_named_by_bytes(flat, raw)
        if nested:
            self.rest = _lifted(self.rest)
        if twin:
            self._choose_message()
        self.has_twin = twin and self.message != TWIN

    def _add_named_by_bytes(self, flat: list[Any], raw: list[Any]) -> None:
        """Add attributes whose names are `str` of Python 2: fields if no text has that name."""
        named = {key for key in flat[::2] if type(key) is str}
        for at in range(0, len(raw), 2):
            if str(raw[at], "latin-1") in named:
                self.rest += raw[at : at + 2]
            else:
                self.values[_SLOTS_BY_BYTES[raw[at]]] = raw[at + 1]

    def _choose_message(self) -> None:
        """Take the message from `message` if there is no `msg`: JSON clients use this name."""
        if self.values[MESSAGE] is not None:
            return
        keys = self.rest[::2]
        name: Any = TWIN if TWIN in keys else TWIN.encode()
        at = 2 * (len(keys) - 1 - keys[::-1].index(name))
        self.values[MESSAGE] = self.rest[at + 1]
        self.rest = list(
            chain.from_iterable(
                pair
                for pair in zip(self.rest[::2], self.rest[1::2], strict=True)
                if type(pair[0]) not in _TEXT_TYPES or pair[0] != name
            )
        )
        self.message = TWIN


def _lifted(rest: list[Any]) -> list[Any]:
    """Return the keys and values with the members of a dict `extra` in its place.

    A member stays in `extra` if its name is no text, has a meaning as an attribute, or is that of
    another attribute; and all do beyond the bounds of `MEMBERS`.
    """
    if len(rest) > 2 * MEMBERS:
        return rest
    names = [_name(key) for key in rest[::2]]
    at = 2 * names.index(NESTED)
    node = rest[at + 1]
    if not is_dict(node) or names.count(NESTED) > 1 or len(node["pairs"]) > 2 * MEMBERS:
        return rest
    taken = RESERVED.union(name for name in names if name is not None)
    lifted: list[Any] = []
    kept: list[Any] = []
    for pair in zip(node["pairs"][::2], node["pairs"][1::2], strict=True):
        name = _name(pair[0])
        (kept if name is None or name in taken else lifted).extend(pair)
    if kept:
        lifted += rest[at], pairs_node(kept)
    return [*rest[:at], *lifted, *rest[at + 2 :]]


def _name(key: Any) -> str | None:
    """Return the name of an attribute; None if it is no text, or too long."""
    if type(key) in _TEXT_TYPES and len(key) > MEMBERS:
        return None
    if type(key) is str:
        return clean(key)
    return text_of(key) if type(key) is bytes else None


def without_twin(rest: list[Any], message: str) -> list[Any]:
    """Return the keys and values without a `message` that is None or equals the message."""
    kept: list[Any] = []
    for key, value in zip(rest[::2], rest[1::2], strict=True):
        if type(key) in _TEXT_TYPES and key in _TWINS:
            text = clean(value) if type(value) is str else value
            if text is None or (text_of(text) if type(text) is bytes else text) == message:
                continue
        kept += key, value
    return kept
