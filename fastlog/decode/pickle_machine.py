"""The pickle machine of the inert reader: the stack, the marks, the memo and their bounds.

It keeps the values since the last MARK in a list of their own. So no operation can reach an operand
below the mark, and what a MARK collects needs no copying.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final

from fastlog.decode.inert_tree import (
    NAME_LENGTH,
    Node,
    global_text,
    is_dict,
    is_object,
    object_node,
)
from fastlog.errors import RejectedError

CONTAINERS = 65_536
"""Containers that one pickle may hold; all others become one shared `{"cut": …}`. The renderer
shows fewer, so this only bounds what an attacker's empty lists cost."""

_UINT4 = Struct("<I").unpack_from
_UINT8 = Struct("<Q").unpack_from

_UNSET: Final = object()
NAMES_TIMES, NAMES_MORE = 2, 1024
"""Characters that the globals of a pickle may have: `NAMES_TIMES` for each of its bytes, plus
`NAMES_MORE`."""
OVERFLOW: Final[Node] = {"cut": "size"}
"""The node that stands for every container beyond the bound."""
_MUTABLE = (list, dict)

_BINUNICODE = ord("X")
_SHORT_BINUNICODE = 0x8C
_SHORT_BINSTRING = ord("U")
_BINPUT = ord("q")
_MEMOIZE = 0x94


def malformed(what: str) -> RejectedError:
    """Return the error for bytes that are no pickle."""
    return RejectedError(f"malformed pickle: {what}")


def utf8(data: bytes) -> str:
    """Return the text in UTF-8 bytes; lone surrogates pass, as they do in a `str`.

    Raises:
        RejectedError: The bytes are not UTF-8.
    """
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        pass
    try:
        return str(data, "utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise malformed("text is not UTF-8") from None


class PickleMachine:
    """The state of reading one pickle."""

    __slots__ = ("containers_left", "data", "end", "fetched", "in_frame", "memo",
                 "name_chars_left", "outer_stacks", "protocol", "stack", "unset_slots")  # fmt: skip

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.end = len(data)
        """Where the current frame ends or, outside of a frame, the bytes."""
        self.in_frame = False
        self.protocol = 0
        """The highest protocol of the PROTO opcodes so far."""
        self.stack: list[Any] = []
        """The values since the last mark."""
        self.outer_stacks: list[list[Any]] = []
        """The values below each open mark."""
        self.memo: list[Any] = []
        self.unset_slots = 0
        """Slots of the memo, below its length, that are not set."""
        self.containers_left = CONTAINERS
        self.name_chars_left = NAMES_TIMES * len(data) + NAMES_MORE
        """Characters that the globals to come may have."""
        self.fetched: list[Any] = []
        """The containers that GET fetched: every cycle goes through one of them."""

    def run(self, steps: Sequence[Step]) -> Any:
        """Read the pickle and return its value.

        Args:
            steps: One for each of the 256 opcodes.

        Raises:
            RejectedError: The bytes are no pickle, or use an opcode that no record needs.
            IndexError: An opcode needs more operands than the stack has.
        """
        data, size, end = self.data, len(self.data), self.end
        stack, memo, unpack = self.stack, self.memo, _UINT4
        pos = 0
        while True:
            if pos == end:
                if end == size:
                    raise malformed("no STOP")
                end = self.end = size
                self.in_frame = False
            op = data[pos]
            pos += 1
            # The opcodes that make up nearly all of a record are done here, all others by a step.
            if op == _BINPUT:
                if pos == end:
                    raise malformed("truncated")
                if data[pos] == len(memo):
                    memo.append(stack[-1])
                else:
                    self.put(data[pos])
                pos += 1
            elif op == _BINUNICODE or op == _SHORT_BINUNICODE or op == _SHORT_BINSTRING:  # noqa: SIM109
                if op == _BINUNICODE:
                    start = pos + 4
                    if start > end:
                        raise malformed("truncated")
                    pos = start + unpack(data, pos)[0]
                else:
                    start = pos + 1
                    if start > end:
                        raise malformed("truncated")
                    pos = start + data[pos]
                if pos > end:
                    raise malformed("truncated")
                chunk = data[start:pos]
                if op == _SHORT_BINSTRING:
                    stack.append(chunk)
                elif chunk.isascii():
                    stack.append(str(chunk, "ascii"))
                else:
                    stack.append(utf8(chunk))
            elif op == _MEMOIZE and not self.unset_slots:
                memo.append(stack[-1])
            else:
                pos = steps[op](self, pos)
                if pos < 0:
                    return self.stack[0]
                stack, end = self.stack, self.end

    # The operations that steps consist of

    def argument(self, pos: int, length: int) -> bytes:
        """Return `length` bytes at `pos`."""
        if length > self.end - pos:
            raise malformed("truncated")
        return self.data[pos : pos + length]

    def line(self, pos: int) -> bytes:
        """Return the bytes from `pos` to the next line feed, without it."""
        stop = self.data.find(b"\n", pos, self.end)
        if stop < 0:
            raise malformed("truncated")
        return self.data[pos:stop]

    def length(self, pos: int, width: int) -> int:
        """Return the unsigned little-endian integer in `width` bytes (1, 4 or 8) at `pos`."""
        if width > self.end - pos:
            raise malformed("truncated")
        if width == 1:
            return self.data[pos]
        return int((_UINT4 if width == 4 else _UINT8)(self.data, pos)[0])

    def put(self, index: int) -> None:
        """Store the last value in a slot of the memo."""
        value, memo = self.stack[-1], self.memo
        if index >= len(self.data) // 2 + 2:  # a PUT takes two bytes, so no pickler has more
            raise malformed("memo index out of bounds")
        gap = index - len(memo)
        if gap >= 0:
            memo.extend([_UNSET] * gap)
            memo.append(value)
            self.unset_slots += gap
            return
        if memo[index] is _UNSET:
            self.unset_slots -= 1
        memo[index] = value

    def get(self, index: int) -> None:
        """Push the value in a slot of the memo."""
        memo = self.memo
        value = memo[index] if index < len(memo) else _UNSET
        if value is _UNSET:
            raise malformed("memo slot not set")
        if isinstance(value, _MUTABLE) and value is not OVERFLOW:
            self.fetched.append(value)
        self.stack.append(value)

    def push(self, make: Callable[..., Any], *args: Any) -> None:
        """Push a new container, or `OVERFLOW` beyond the bound of containers."""
        self.containers_left -= 1
        self.stack.append(make(*args) if self.containers_left >= 0 else OVERFLOW)

    def collect(self) -> list[Any]:
        """Remove the last mark and the values above it; return these values."""
        values = self.stack
        self.stack = self.outer_stacks.pop()
        return values

    def extend(self, values: list[Any]) -> None:
        """Append values to the list or the object on the stack."""
        target = self.stack[-1]
        if type(target) is list:
            target.extend(values)
        elif is_object(target):
            if values:
                target.setdefault("items", []).extend(values)
        elif target is not OVERFLOW:
            raise malformed("APPEND to what is no list")

    def update(self, flat: list[Any]) -> None:
        """Add key, value, key, value, … to the dict or the object on the stack."""
        target = self.stack[-1]
        if len(flat) % 2:
            raise malformed("key without a value")
        if type(target) is dict and ("pairs" in target or "class" in target):
            if flat:
                target.setdefault("pairs", []).extend(flat)
        elif target is not OVERFLOW:
            raise malformed("SETITEM in what is no dict")

    def build(self, state: Any) -> None:
        """Set the state of the object on the stack."""
        target = self.stack[-1]
        if is_object(target):
            target["state"] = state
        elif target is not OVERFLOW:
            raise malformed("BUILD of what is no object")

    def import_name(self, module: str, name: str) -> None:
        """Push a global. Both names may come from the memo, so their characters are counted."""
        self.containers_left -= 1
        module, name = module[:NAME_LENGTH], name[:NAME_LENGTH]
        size = len(module) + len(name)
        if self.containers_left < 0 or size > self.name_chars_left:
            self.stack.append(OVERFLOW)
            return
        self.name_chars_left -= size
        self.stack.append({"global": global_text(self.protocol, module, name)})

    def call(self, factory: Any, args: Any, kwargs: Any = None) -> None:
        """Push the object that calling `factory` would give."""
        if type(factory) is not dict or not ("global" in factory or "class" in factory):
            if factory is not OVERFLOW:
                raise malformed("call of what is no global")
        elif "global" in factory:
            factory = factory["global"]
        if args is OVERFLOW:
            args = (args,)
        if kwargs is OVERFLOW:
            kwargs = None
        if type(args) is not tuple or not (kwargs is None or is_dict(kwargs)):
            raise malformed("arguments that are no tuple")
        self.push(object_node, factory, args, kwargs)

    def pop(self) -> None:
        """Remove the last value. If it is the result of `setter(target, state)` with the target
        below it, the target gets the state: CPython writes this for an object that has its own
        setter of the state."""
        value = self.stack.pop()
        if not is_object(value) or len(value["args"]) != 2 or not self.stack:
            return
        target, state = value["args"]
        if target is self.stack[-1] and is_object(target) and "state" not in target:
            target["state"] = state


Step = Callable[[PickleMachine, int], int]
"""What one opcode does: it gets the position after the opcode, and returns the position after its
argument."""
