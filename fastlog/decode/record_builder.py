"""From the inert tree of a frame to its record, in the same way for both engines.

The fields of the schema are rendered first. All other attributes share what these leave of the
budget; if that is not enough, the small ones are rendered first. A cut leaves a mark, and an
invalid value is kept with a note about it. If marks and notes make a record too large, it is built
again with a smaller budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any, Final

import msgspec

from fastlog.decode.attributes import Attributes, attributes_of, without_twin
from fastlog.decode.bounds import node_limit, stored_limit, weight_limit
from fastlog.decode.inert_tree import is_object
from fastlog.decode.message_args import CannotMergeError, merge_args
from fastlog.decode.object_reader import ObjectReader, base_value
from fastlog.decode.renderer import Renderer
from fastlog.decode.texts import clean, text_of, weight_in_json
from fastlog.decode.validation import (
    ARGS,
    COLUMNS,
    FIELDS,
    KINDS,
    MESSAGE,
    TIMES,
    Validated,
    extra_of,
    json_text,
    validate,
)
from fastlog.decode.work import VALUE, Work
from fastlog.record import Record

_LONG: Final = ("message", "exc_text", "stack_info")
_RENDER_ORDER: Final = sorted(range(len(COLUMNS)), key=lambda at: COLUMNS[at] in _LONG)
"""The order in which columns are rendered: those that may be long come last."""
ATTEMPTS = 3
"""How often a record that is too large is built again, each time with a smaller budget. With no
values at all, only marks, no record is too large."""
FIELDS_WORK = VALUE * len(COLUMNS)
"""Work of valid fields, which is not subtracted: C does it for most records."""

_TEXT_TYPES: Final = (str, bytes)
_INT64 = 1 << 63
_encode = msgspec.json.Encoder().encode
_RECEIVED: Final = Record._fields.index("received")
_EXTRA: Final = Record._fields.index("extra")
_RECORD: Final = partial(tuple.__new__, Record)  # Record._make would count the values once more


def build_record(
    root: Any,
    length: int,
    *,
    host: str,
    certificate: str | None = None,
    received: float,
    offset: int,
    idx: int,
) -> Record:
    """Return the record of a frame.

    Args:
        root: The inert value of the frame.
        length: Bytes of the frame, which bound the record.
        host, certificate, received, offset, idx: As in `Record`.

    Raises:
        RejectedError: The value has no attributes.
    """
    objects = ObjectReader(Work(length))
    sent = Attributes([None] * len(COLUMNS), [])
    sent.sort(attributes_of(root, objects))
    columns, extra = _fitted(sent, length, received, objects)
    return _RECORD((*columns, host, certificate, received, extra, offset, idx))


def complete_record(columns: tuple[Any, ...], rest: list[Any], length: int) -> Record:
    """Return the record of a frame whose fields are valid.

    Args:
        columns: The record; its `extra` is ignored. Nothing in it was cut.
        rest: Key, inert value, key, inert value, … of the attributes that are no fields.
        length: Bytes of the frame.
    """
    values = columns[: len(COLUMNS)]
    weight, objects = _weight(values), ObjectReader(Work(length))
    attributes = _rendered(rest, weight_limit(length) - weight, node_limit(length), objects)
    extra = extra_of(attributes, values[MESSAGE], {}, [])
    if weight + len(extra) > stored_limit(length):
        sent = Attributes(list(values), rest)
        shorter, text = _fitted(sent, length, columns[_RECEIVED], objects, (list(values), extra))
        return _RECORD((*shorter, *columns[len(COLUMNS) : _EXTRA], text, *columns[_EXTRA + 1 :]))
    return _RECORD((*columns[:_EXTRA], str(extra, "utf-8"), *columns[_EXTRA + 1 :]))


_Built = tuple[list[Any], bytes]
"""Columns, and the JSON of `extra`."""


def _fitted(
    sent: Attributes,
    length: int,
    received: float,
    objects: ObjectReader,
    built: _Built | None = None,
) -> tuple[list[Any], str]:
    """Return the columns and the extra of a record, no larger than a frame of `length` bytes may
    become.

    Args:
        sent: The attributes.
        length: Bytes of the frame.
        received: As in `Record`.
        objects: The reader of the record's objects.
        built: The result of the first attempt, if there was one.
    """
    limit, room = stored_limit(length), weight_limit(length)
    for again in range(ATTEMPTS, -1, -1):
        columns, extra = built or _build(sent, length, received, objects, room)
        stored = _weight(columns) + len(extra)
        if stored <= limit or not again:
            return columns, str(extra, "utf-8")
        # Room for the next attempts: less in proportion to the excess; a sixteenth; only marks.
        room = (0, limit // 16, max(0, room * limit // stored - room // 8))[again - 1]
        objects.work.again()
        built = None
    raise AssertionError("the last attempt is returned whatever its size")


def _build(
    sent: Attributes, length: int, received: float, objects: ObjectReader, room: int
) -> _Built:
    """Return the columns and the extra of a record, with `room` bytes for their values."""
    nodes, before = node_limit(length), objects.work.left
    columns, invalid, notes = _columns(sent, received, Renderer(room, nodes, objects))
    if before - objects.work.left <= FIELDS_WORK:
        objects.work.left = before
    rest = sent.rest
    if rest and sent.message == "msg":
        rest = _merge(columns, rest, invalid, notes, room, Renderer(room, nodes, objects))
    if sent.has_twin:
        rest = without_twin(rest, columns[MESSAGE])
    if not (rest or invalid or notes):
        return columns, b"{}"
    attributes = _rendered(rest, room - _weight(columns), nodes, objects)
    return columns, extra_of(attributes, columns[MESSAGE], invalid, notes)


def _weight(columns: Sequence[Any]) -> int:
    """Return the bytes of the texts, as JSON writes them."""
    return len(_encode("".join([text for text in columns if type(text) is str]))) - 2


def _columns(sent: Attributes, received: float, renderer: Renderer) -> Validated:
    """Return the columns of the fields, rendered and validated."""
    values = sent.values[:]
    if not _are_valid(values, renderer.room):
        for at in _RENDER_ORDER:
            if values[at] is not None:
                values[at] = _field(values[at], KINDS[at], renderer)
    return validate(values, received, sent.message)


def _are_valid(values: list[Any], room: int) -> bool:
    """Return whether no value must be rendered: all are numbers, or clean texts with room."""
    texts: list[Any] = []
    for value, kind in zip(values, KINDS, strict=True):
        if type(value) is not kind:
            if value is not None:
                return False
        elif kind is str:
            texts.append(value)
        elif not (TIMES[0] <= value < TIMES[1] if kind is float else -_INT64 <= value < _INT64):
            return False
    joined = "".join(texts)
    if "\0" in joined:
        return False
    try:
        return weight_in_json(joined) <= room
    except UnicodeEncodeError:  # lone surrogates
        return False


def _field(value: Any, kind: type, renderer: Renderer) -> Any:
    """Return the value of a field in normal form: the base value of a subclass of int, float or
    str."""
    base = _base(value, renderer)
    if base is not None and (type(base) in _TEXT_TYPES) == (kind is str):
        value = base
    if type(value) is str:
        return renderer.text(clean(value))
    if type(value) is bytes:
        return renderer.text(text_of(value))
    return renderer.value(value, 0)


def _base(value: Any, renderer: Renderer) -> Any:
    """Return the number or the text in an object of a subclass of int, float or str, or None."""
    if not is_object(value):
        return None
    meaning = renderer.objects.value(value)
    return base_value(meaning) if is_object(meaning) else None


def _rendered(rest: list[Any], room: int, nodes: int, objects: ObjectReader) -> dict[str, Any]:
    """Return the attributes that are no fields in normal form."""
    renderer = Renderer(room, nodes, objects)
    extra = renderer.mapping(rest, 0, FIELDS)
    if renderer.spent and len(rest) > 2:  # again, so that a large value displaces no small one
        objects.work.again()
        pairs = sorted(zip(rest[::2], rest[1::2], strict=True), key=_size)
        renderer = Renderer(room, nodes, objects)
        extra = renderer.mapping(list(chain.from_iterable(pairs)), 0, FIELDS)
    return extra


def _size(pair: tuple[Any, Any]) -> int:
    node = pair[1]
    if type(node) is dict:
        node = node.get("pairs", ())
    return len(node) if isinstance(node, (str, bytes, list, tuple)) else 1


def _merge(
    columns: list[Any],
    rest: list[Any],
    invalid: dict[str, Any],
    notes: list[str],
    room: int,
    renderer: Renderer,
) -> list[Any]:
    """Merge the message with its arguments, if the client has not done so.

    Returns:
        The rest without the arguments that were merged.
    """
    keys = rest[::2]
    name: Any = ARGS if ARGS in keys else ARGS.encode()
    if name not in keys or not columns[MESSAGE]:
        return rest
    at = 2 * (len(keys) - 1 - keys[::-1].index(name))

    def render(node: Any) -> Any:
        base = _base(node, renderer)
        return renderer.value(node if base is None else base, 0)

    try:
        if "msg" in invalid:
            raise CannotMergeError("the message is no text")
        text = merge_args(columns[MESSAGE], rest[at + 1], room, render, json_text)
    except CannotMergeError as error:
        notes.append(f"args: not merged with the message: {error}")
        return rest
    columns[MESSAGE] = text
    return rest[:at] + rest[at + 2 :]
