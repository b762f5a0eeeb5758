"""What the objects of one record stand for, by the table of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastlog.decode.arguments import is_sequence, value_of
from fastlog.decode.classes import READERS
from fastlog.decode.copyreg_helpers import unwrap
from fastlog.decode.inert_tree import (
    FACTORIES,
    NAME_LENGTH,
    Node,
    dotted,
    is_dict,
    pairs_node,
    resolve,
)
from fastlog.decode.work import OBJECT, Work

CLASSES = 4096
"""Classes whose reader is kept, by the text of the global."""
_Reader = Callable[[Node, Work], Any]
_READERS_BY_TEXT: Final[dict[str, tuple[_Reader | None, bool]]] = {}


class ObjectReader:
    """Reads the objects of one record, each of them once."""

    __slots__ = ("_values", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self._values: dict[int, Any] = {}
        # By identity: the nodes of a record live as long as this reader, and so do the values.

    def value(self, node: Node) -> Any:
        """Return the value that an object stands for: an inert value. It is again an object if the
        table has no reader that knows the shape of this one."""
        key = id(node)
        value = self._values.get(key)
        if value is None:
            self.work.left -= OBJECT
            value = self._values[key] = self._read(node)
        return value

    def _read(self, node: Node) -> Any:
        for _ in range(FACTORIES):
            if type(node["class"]) is not str:
                self.work.left -= 2 * OBJECT  # what was called is the result of a call
            reader, is_helper = _reader_of(node["class"])
            if is_helper:
                node = unwrap(node, self.work)
                reader, _ = _reader_of(node["class"])
            value = reader(node, self.work) if reader else None
            if value is None:
                break
            if type(value) is not dict or "class" not in value:
                return value
            node = value  # an object around another, as a block around an array: read the inner one
        return node


def _reader_of(cls: Any) -> tuple[_Reader | None, bool]:
    """Return the reader of a class, and whether the class is a helper of `copyreg`."""
    if type(cls) is not str:
        name = dotted(cls)
        return READERS.get(name), False
    known = _READERS_BY_TEXT.get(cls)
    if known is None:
        name = resolve(cls)
        known = READERS.get(name), name.startswith("copyreg.")
        if len(cls) <= 2 * NAME_LENGTH:
            if len(_READERS_BY_TEXT) >= CLASSES:
                _READERS_BY_TEXT.clear()
            _READERS_BY_TEXT[cls] = known
    return known


def state_of(node: Node) -> Any:
    """Return the state of an object as it is stored: its attributes, in whatever form its class
    pickles them."""
    state = node.get("state")
    if is_sequence(state) and len(state) == 2 and is_dict(state[1]):
        if state[0] is None:  # a class with slots has a pair of dicts
            return state[1]
        if is_dict(state[0]):
            return pairs_node([*state[0]["pairs"], *state[1]["pairs"]])
    if is_dict(state):
        fields = value_of(state, "__dict__")
        if is_dict(fields) and len(state["pairs"]) <= 10:
            for version in ("__pydantic_fields_set__", "__fields_set__"):
                if value_of(state, version) is not None:
                    return _pydantic_fields(fields, state)
    return state


def _pydantic_fields(fields: Node, state: Node) -> Node:
    """Return the fields of a pydantic model, and the extra ones that it allows."""
    more = value_of(state, "__pydantic_extra__")
    return pairs_node([*fields["pairs"], *more["pairs"]]) if is_dict(more) else fields


def base_value(node: Any) -> Any:
    """Return the number or the text that a subclass of int, float or str has as its one argument;
    None if the object does not have that shape."""
    args = node["args"]
    if len(args) != 1 or "kwargs" in node or "items" in node or "pairs" in node:
        return None
    return args[0] if type(args[0]) in (int, float, str, bytes) else None
