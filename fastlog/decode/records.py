"""From what a frame holds to its record, in one way for both engines.

The schema's fields have a budget of their own and are served first. The other attributes share
what the columns have left; where that is not enough, the small ones come first. What is cut leaves
marks, what is not as it should be is noted and kept as well. Where these make a record too large,
it is made anew of less.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any, Final

import msgspec

from fastlog.decode.message import CannotMergeError, merged
from fastlog.decode.nodes import is_dict, is_object, kind_of
from fastlog.decode.normal import (
    Renderer,
    clean,
    is_empty,
    most_stored,
    nodes_of,
    text_of,
    weight_in_json,
    weight_of,
)
from fastlog.decode.objects import Reading, base_value
from fastlog.decode.shapes import VALUE, Work
from fastlog.errors import RejectedError
from fastlog.record import (
    ARGS,
    COLUMNS,
    FIELDS,
    KINDS,
    MESSAGE,
    SILENT,
    SILENT_IF_EMPTY,
    TIMES,
    TWIN,
    Checked,
    Record,
    checked,
    extra_of,
    json_text,
)

_LONG: Final = ("message", "exc_text", "stack_info")
_SERVED: Final = sorted(range(len(COLUMNS)), key=lambda at: COLUMNS[at] in _LONG)
"""The fields in the order in which they are served: those that may be long come last."""
ATTEMPTS = 3
"""How often a record that is too large is made anew, each time of less. Of no values at all, only
of marks, none is too large."""
FIELDS_WORK = VALUE * len(COLUMNS)
"""Work of fields as they should be, which does not count: C does it for most records."""

_DROP, _DROP_IF_EMPTY, _TWIN = -1, -2, -3
_SLOTS: Final = {
    **{"msg" if name == "message" else name: at for at, name in enumerate(COLUMNS)},
    **dict.fromkeys(SILENT, _DROP),
    **dict.fromkeys(SILENT_IF_EMPTY, _DROP_IF_EMPTY),
    TWIN: _TWIN,
}
_RAW_SLOTS: Final = {name.encode(): at for name, at in _SLOTS.items()}
_TEXT_TYPES: Final = (str, bytes)
_LONGEST = 1 << 63
_encode = msgspec.json.Encoder().encode
_TWINS: Final = (TWIN, TWIN.encode())
_RECEIVED: Final = Record._fields.index("received")
_EXTRA: Final = Record._fields.index("extra")
_RECORD: Final = partial(tuple.__new__, Record)  # Record._make would count the values once more


def record_of(
    root: Any, length: int, *, host: str, received: float, offset: int, idx: int
) -> Record:
    """Make the record of a frame.

    Args:
        root: the inert value of the frame.
        length: of the frame, which bounds what becomes of it.
        host, received, offset, idx: as in `Record`.

    Raises:
        RejectedError: the value has no attributes.
    """
    reading = Reading(Work(length))
    sent = _Sent([None] * len(COLUMNS), [])
    sent.sort(_attributes(root, reading))
    columns, extra = _fitted(sent, length, received, reading)
    return _RECORD((*columns, host, received, extra, offset, idx))


def complete(columns: tuple[Any, ...], rest: list[Any], length: int) -> Record:
    """Make the record of a frame whose fields are in order already.

    Args:
        columns: the record; what stands for `extra` does not count. Nothing in it was cut.
        rest: keys and inert values, in turn, of the attributes that are no fields.
        length: of the frame.
    """
    values = columns[: len(COLUMNS)]
    weight, reading = _weight(values), Reading(Work(length))
    attributes = _rendered(rest, weight_of(length) - weight, nodes_of(length), reading)
    extra = extra_of(attributes, values[MESSAGE], {}, [])
    if weight + len(extra) > most_stored(length):
        sent = _Sent(list(values), rest)
        fewer, text = _fitted(sent, length, columns[_RECEIVED], reading, (list(values), extra))
        return _RECORD((*fewer, *columns[len(COLUMNS) : _EXTRA], text, *columns[_EXTRA + 1 :]))
    return _RECORD((*columns[:_EXTRA], str(extra, "utf-8"), *columns[_EXTRA + 1 :]))


def _attributes(root: Any, reading: Reading) -> list[Any]:
    """The keys and values of a dict, or of an object that has some."""
    node = root
    if is_object(node):
        node = reading.value(node)
        if is_object(node) and is_dict(node.get("state")):
            node = node["state"]
    if not is_dict(node):
        # What an object stands for may be any kind of sequence, depending on the engine.
        sequence = node is not root and isinstance(node, (list, tuple))
        raise RejectedError(f"not a record: {'list' if sequence else kind_of(node)}")
    return node["pairs"]  # type: ignore[no-any-return]


class _Sent:
    """The attributes of a record, as they came."""

    __slots__ = ("has_twin", "message", "rest", "values")

    def __init__(self, values: list[Any], rest: list[Any]) -> None:
        self.values = values
        """Of the schema's fields, in order."""
        self.rest = rest
        """Keys and values of all others, without those that say nothing."""
        self.message = "msg"
        """The attribute that the message comes from."""
        self.has_twin = False
        """Whether there is a `message` beside it."""

    def sort(self, flat: list[Any]) -> None:
        """Take the attributes from a dict."""
        values, rest, slots = self.values, self.rest, _SLOTS
        raw: list[Any] = []
        twin = False
        each = iter(flat)
        for key, value in zip(each, each, strict=True):
            kind = type(key)
            if kind is str:
                slot = slots.get(key)
            elif kind is bytes:
                slot = _RAW_SLOTS.get(key)
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
            elif slot == _DROP_IF_EMPTY and not (is_empty(value) or value in ("", b"")):
                rest += (key, value)
        if raw:
            self._add_raw(flat, raw)
        if twin:
            self._settle_message()
        self.has_twin = twin and self.message != TWIN

    def _add_raw(self, flat: list[Any], raw: list[Any]) -> None:
        """The text of Python 2 names fields too, where none has the name in text."""
        named = {key for key in flat[::2] if type(key) is str}
        for at in range(0, len(raw), 2):
            if str(raw[at], "latin-1") in named:
                self.rest += raw[at : at + 2]
            else:
                self.values[_RAW_SLOTS[raw[at]]] = raw[at + 1]

    def _settle_message(self) -> None:
        """Take the message from `message`, where `msg` has none; JSON clients call it so."""
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


_Made = tuple[list[Any], bytes]
"""Columns, and the JSON of `extra`."""


def _fitted(
    sent: _Sent, length: int, received: float, reading: Reading, made: _Made | None = None
) -> tuple[list[Any], str]:
    """The columns and the extra of a record, no larger than a frame of this length may become.

    Args:
        made: what the first attempt gave, if it was made already.
    """
    limit, room = most_stored(length), weight_of(length)
    for again in range(ATTEMPTS, -1, -1):
        columns, extra = made or _made(sent, length, received, reading, room)
        stored = _weight(columns) + len(extra)
        if stored <= limit or not again:
            return columns, str(extra, "utf-8")
        # By how much it was too large; a sixteenth; nothing but marks.
        room = (0, limit // 16, max(0, room * limit // stored - room // 8))[again - 1]
        reading.work.again()
        made = None
    raise AssertionError("the last attempt is taken as it is")


def _made(sent: _Sent, length: int, received: float, reading: Reading, room: int) -> _Made:
    """The columns and the extra of a record, with so much room for their values."""
    nodes, before = nodes_of(length), reading.work.left
    columns, odd, notes = _columns(sent, received, Renderer(room, nodes, reading))
    if before - reading.work.left <= FIELDS_WORK:
        reading.work.left = before
    rest = sent.rest
    if rest and sent.message == "msg":
        rest = _merge(columns, rest, odd, notes, room, Renderer(room, nodes, reading))
    if sent.has_twin:
        rest = _without_twin(rest, columns[MESSAGE])
    if not (rest or odd or notes):
        return columns, b"{}"
    attributes = _rendered(rest, room - _weight(columns), nodes, reading)
    return columns, extra_of(attributes, columns[MESSAGE], odd, notes)


def _weight(columns: Sequence[Any]) -> int:
    """The bytes of the texts, as JSON writes them."""
    return len(_encode("".join([text for text in columns if type(text) is str]))) - 2


def _columns(sent: _Sent, received: float, renderer: Renderer) -> Checked:
    """The schema's fields, rendered and checked."""
    values = sent.values[:]
    if not _as_wanted(values, renderer.room):
        for at in _SERVED:
            if values[at] is not None:
                values[at] = _field(values[at], KINDS[at], renderer)
    return checked(values, received, sent.message)


def _as_wanted(values: list[Any], room: int) -> bool:
    """Whether no value has to be rendered: all are numbers, or clean texts that have room."""
    texts: list[Any] = []
    for value, kind in zip(values, KINDS, strict=True):
        if type(value) is not kind:
            if value is not None:
                return False
        elif kind is str:
            texts.append(value)
        elif not (TIMES[0] <= value < TIMES[1] if kind is float else -_LONGEST <= value < _LONGEST):
            return False
    joined = "".join(texts)
    if "\0" in joined:
        return False
    try:
        return weight_in_json(joined) <= room
    except UnicodeEncodeError:  # lone surrogates
        return False


def _field(value: Any, wanted: type, renderer: Renderer) -> Any:
    """A value of the schema in normal form; of a subclass of int, float or str, the base value."""
    base = _base(value, renderer)
    if base is not None and (type(base) in _TEXT_TYPES) == (wanted is str):
        value = base
    if type(value) is str:
        return renderer.text(clean(value))
    if type(value) is bytes:
        return renderer.text(text_of(value))
    return renderer.value(value, 0)


def _base(value: Any, renderer: Renderer) -> Any:
    """The number or the text that a subclass of int, float or str was made of, or None."""
    if not is_object(value):
        return None
    plain = renderer.reading.value(value)
    return base_value(plain) if is_object(plain) else None


def _rendered(rest: list[Any], room: int, nodes: int, reading: Reading) -> dict[str, Any]:
    """The other attributes in normal form."""
    renderer = Renderer(room, nodes, reading)
    extra = renderer.mapping(rest, 0, FIELDS)
    if renderer.spent and len(rest) > 2:  # once more, so that a large one hides none of the small
        reading.work.again()
        pairs = sorted(zip(rest[::2], rest[1::2], strict=True), key=_size)
        renderer = Renderer(room, nodes, reading)
        extra = renderer.mapping(list(chain.from_iterable(pairs)), 0, FIELDS)
    return extra


def _size(pair: tuple[Any, Any]) -> int:
    node = pair[1]
    if type(node) is dict:
        node = node.get("pairs", ())
    return len(node) if isinstance(node, (str, bytes, list, tuple)) else 1


def _without_twin(rest: list[Any], message: str) -> list[Any]:
    """Take out a `message` that says nothing, or what the message says."""
    kept: list[Any] = []
    for key, value in zip(rest[::2], rest[1::2], strict=True):
        if type(key) in _TEXT_TYPES and key in _TWINS:
            text = clean(value) if type(value) is str else value
            if text is None or (text_of(text) if type(text) is bytes else text) == message:
                continue
        kept += key, value
    return kept


def _merge(
    columns: list[Any],
    rest: list[Any],
    odd: dict[str, Any],
    notes: list[str],
    room: int,
    renderer: Renderer,
) -> list[Any]:
    """Merge the message with its arguments, where the client has not done so; returns the rest."""
    keys = rest[::2]
    name: Any = ARGS if ARGS in keys else ARGS.encode()
    if name not in keys or not columns[MESSAGE]:
        return rest
    at = 2 * (len(keys) - 1 - keys[::-1].index(name))

    def render(node: Any) -> Any:
        base = _base(node, renderer)
        return renderer.value(node if base is None else base, 0)

    try:
        if "msg" in odd:
            raise CannotMergeError("the message is no text")
        text = merged(columns[MESSAGE], rest[at + 1], room, render, json_text)
    except CannotMergeError as error:
        notes.append(f"args: not merged with the message: {error}")
        return rest
    columns[MESSAGE] = text
    return rest[:at] + rest[at + 2 :]
