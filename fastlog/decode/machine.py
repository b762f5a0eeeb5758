"""The machine that the inert pickle reader runs: the stack, the marks, the memo and their bounds.

It keeps the values since the last MARK in a list of their own. An operand below the mark is then
out of reach by construction, and what a MARK collects needs no copying.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final

from fastlog.decode.nodes import NAME_LENGTH, Node, global_text, is_dict, is_object, object_node
from fastlog.errors import RejectedError

CONTAINERS = 65_536
"""Containers that one pickle may hold; the rest become one shared `{"cut": …}`. The renderer shows
fewer, so this only bounds what an attacker's empty lists cost."""

_UINT4 = Struct("<I").unpack_from
_UINT8 = Struct("<Q").unpack_from

_UNSET: Final = object()
NAMES_TIMES, NAMES_MORE = 2, 1024
"""Characters that the globals of a pickle may have: so many for each of its bytes, and more."""
OVERFLOW: Final[Node] = {"cut": "size"}
"""What stands for every container beyond the bound."""
_MUTABLE = (list, dict)

_BINUNICODE = ord("X")
_SHORT_BINUNICODE = 0x8C
_SHORT_BINSTRING = ord("U")
_BINPUT = ord("q")
_MEMOIZE = 0x94


def malformed(what: str) -> RejectedError:
    """The error for bytes that are no pickle."""
    return RejectedError(f"malformed pickle: {what}")


def utf8(data: bytes) -> str:
    """The text in these bytes; lone surrogates pass, as they do in a `str`."""
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        pass
    try:
        return str(data, "utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise malformed("text is not UTF-8") from None


class Machine:
    """The state of one reading. A step takes the position behind its opcode, and returns the one
    behind its argument."""

    __slots__ = ("data", "end", "framed", "holes", "memo", "names", "outer", "protocol", "room",
                 "shared", "stack")  # fmt: skip

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.end = len(data)
        """Where the present frame ends, or the bytes do."""
        self.framed = False
        self.protocol = 0
        """The highest that a PROTO has named so far."""
        self.stack: list[Any] = []
        """The values since the last mark."""
        self.outer: list[list[Any]] = []
        """The values below each open mark."""
        self.memo: list[Any] = []
        self.holes = 0
        """Slots of the memo that are not set."""
        self.room = CONTAINERS
        self.names = NAMES_TIMES * len(data) + NAMES_MORE
        """Characters of globals that may still come."""
        self.shared: list[Any] = []
        """The containers that GET fetched: every cycle goes through one of them."""

    def run(self, steps: Sequence[Step]) -> Any:
        """Read the pickle; `steps` has one step for each of the 256 opcodes."""
        data, size, end = self.data, len(self.data), self.end
        stack, memo, unpack = self.stack, self.memo, _UINT4
        pos = 0
        while True:
            if pos == end:
                if end == size:
                    raise malformed("no STOP")
                end = self.end = size
                self.framed = False
            op = data[pos]
            pos += 1
            # What makes up nearly all of a record is done here; all else is a step.
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
            elif op == _MEMOIZE and not self.holes:
                memo.append(stack[-1])
            else:
                pos = steps[op](self, pos)
                if pos < 0:
                    return self.stack[0]
                stack, end = self.stack, self.end

    # What the steps are made of

    def argument(self, pos: int, length: int) -> bytes:
        if length > self.end - pos:
            raise malformed("truncated")
        return self.data[pos : pos + length]

    def line(self, pos: int) -> bytes:
        stop = self.data.find(b"\n", pos, self.end)
        if stop < 0:
            raise malformed("truncated")
        return self.data[pos:stop]

    def length(self, pos: int, width: int) -> int:
        if width > self.end - pos:
            raise malformed("truncated")
        if width == 1:
            return self.data[pos]
        return int((_UINT4 if width == 4 else _UINT8)(self.data, pos)[0])

    def put(self, index: int) -> None:
        value, memo = self.stack[-1], self.memo
        if index >= len(self.data) // 2 + 2:  # a PUT takes two bytes, so no pickler gets there
            raise malformed("memo index out of bounds")
        gap = index - len(memo)
        if gap >= 0:
            memo.extend([_UNSET] * gap)
            memo.append(value)
            self.holes += gap
            return
        if memo[index] is _UNSET:
            self.holes -= 1
        memo[index] = value

    def get(self, index: int) -> None:
        memo = self.memo
        value = memo[index] if index < len(memo) else _UNSET
        if value is _UNSET:
            raise malformed("memo slot not set")
        if isinstance(value, _MUTABLE) and value is not OVERFLOW:
            self.shared.append(value)
        self.stack.append(value)

    def push(self, make: Callable[..., Any], *args: Any) -> None:
        """Push a new container, while there is room for it."""
        self.room -= 1
        self.stack.append(make(*args) if self.room >= 0 else OVERFLOW)

    def collect(self) -> list[Any]:
        """Close the last mark; answers the values behind it."""
        values = self.stack
        self.stack = self.outer.pop()
        return values

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(values)
        elif is_object(target):
            if values:
                target.setdefault("items", []).extend(values)
        elif target is not OVERFLOW:
            raise malformed("APPEND to what is no list")

    def update(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        if len(flat) % 2:
            raise malformed("key without a value")
        if type(target) is dict and ("pairs" in target or "class" in target):
            if flat:
                target.setdefault("pairs", []).extend(flat)
        elif target is not OVERFLOW:
            raise malformed("SETITEM in what is no dict")

    def build(self, state: Any) -> None:
        target = self.stack[-1]
        if is_object(target):
            target["state"] = state
        elif target is not OVERFLOW:
            raise malformed("BUILD of what is no object")

    def import_name(self, module: str, name: str) -> None:
        """Push a global. Both names may have come out of the memo, so their characters count."""
        self.room -= 1
        module, name = module[:NAME_LENGTH], name[:NAME_LENGTH]
        size = len(module) + len(name)
        if self.room < 0 or size > self.names:
            self.stack.append(OVERFLOW)
            return
        self.names -= size
        self.stack.append({"global": global_text(self.protocol, module, name)})

    def call(self, factory: Any, args: Any, kwargs: Any = None) -> None:
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
        """Drop the last value. Where that is the result of `setter(target, state)`, the target is
        below it: CPython writes this for an object with a setter of its own for its state."""
        value = self.stack.pop()
        if not is_object(value) or len(value["args"]) != 2 or not self.stack:
            return
        target, state = value["args"]
        if target is self.stack[-1] and is_object(target) and "state" not in target:
            target["state"] = state


Step = Callable[[Machine, int], int]
"""What one opcode does."""
