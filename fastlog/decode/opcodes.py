"""The opcodes of pickle: a table with a step for each of them.

A step takes the position after its opcode, and returns the position after its argument. The state
that the steps change is in `pickle_machine.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from fastlog.decode.inert_tree import Members, integer_of_bytes, pairs_node
from fastlog.decode.literals import read_float, read_int, read_long, read_string, read_unicode
from fastlog.decode.pickle_machine import OVERFLOW, PickleMachine, Step, malformed, utf8
from fastlog.errors import RejectedError

OPEN_MARKS = 10_000
"""Marks that may be open at the same time."""
PROTOCOL = 5
"""The highest protocol there is."""

_INDEX = re.compile(rb"[0-9]{1,6}")


# Protocol, frames, marks and the end


def _proto(m: PickleMachine, pos: int) -> int:
    protocol = m.length(pos, 1)
    if protocol > PROTOCOL:
        raise malformed("unknown protocol")
    m.protocol = max(m.protocol, protocol)
    return pos + 1


def _frame(m: PickleMachine, pos: int) -> int:
    if m.in_frame:
        raise malformed("nested frame")
    length = m.length(pos, 8)
    pos += 8
    if not 1 <= length <= m.end - pos:
        raise malformed("frame length")
    m.end = pos + length
    m.in_frame = True
    return pos


def _stop(m: PickleMachine, pos: int) -> int:
    if pos != len(m.data):
        raise malformed("bytes behind STOP")
    if m.outer_stacks:
        raise malformed("open mark")
    if len(m.stack) != 1:
        raise malformed("not one value")
    return -1


def _mark(m: PickleMachine, pos: int) -> int:
    if len(m.outer_stacks) == OPEN_MARKS:
        raise malformed("nested too deep")
    m.outer_stacks.append(m.stack)
    m.stack = []
    return pos


def _pop(m: PickleMachine, pos: int) -> int:
    if m.stack:
        m.pop()
    else:
        m.collect()
    return pos


def _pop_mark(m: PickleMachine, pos: int) -> int:
    m.collect()
    return pos


# The memo


def _memoize(m: PickleMachine, pos: int) -> int:
    m.put(len(m.memo) - m.unset_slots)
    return pos


def _put(m: PickleMachine, pos: int) -> int:
    m.put(_index(m.line(pos)))
    return m.data.index(b"\n", pos) + 1


def _get(m: PickleMachine, pos: int) -> int:
    m.get(_index(m.line(pos)))
    return m.data.index(b"\n", pos) + 1


def _long_binput(m: PickleMachine, pos: int) -> int:
    m.put(m.length(pos, 4))
    return pos + 4


def _binget(m: PickleMachine, pos: int) -> int:
    m.get(m.length(pos, 1))
    return pos + 1


def _long_binget(m: PickleMachine, pos: int) -> int:
    m.get(m.length(pos, 4))
    return pos + 4


def _index(line: bytes) -> int:
    if not _INDEX.fullmatch(line):
        raise malformed("memo index out of bounds")
    return int(line)


# Values


def _constant(value: Any) -> Step:
    def step(m: PickleMachine, pos: int) -> int:
        m.stack.append(value)
        return pos

    return step


def _number(width: int, unpack: Callable[..., tuple[Any, ...]]) -> Step:
    def step(m: PickleMachine, pos: int) -> int:
        if width > m.end - pos:
            raise malformed("truncated")
        m.stack.append(unpack(m.data, pos)[0])
        return pos + width

    return step


def _counted(width: int, make: Callable[[bytes], Any], *, signed: bool = False) -> Step:
    def step(m: PickleMachine, pos: int) -> int:
        size = m.length(pos, width)
        if signed and size >= 1 << 31:
            raise malformed("negative length")
        pos += width
        m.stack.append(make(m.argument(pos, size)))
        return pos + size

    return step


def _text_line(make: Callable[[bytes], Any]) -> Step:
    def step(m: PickleMachine, pos: int) -> int:
        line = m.line(pos)
        m.stack.append(make(line))
        return pos + len(line) + 1

    return step


def _bytes(data: bytes) -> bytes:
    return data


# Containers


def _empty(make: Callable[[], Any]) -> Step:
    def step(m: PickleMachine, pos: int) -> int:
        m.push(make)
        return pos

    return step


def _of_mark(kind: type) -> Step:
    def step(m: PickleMachine, pos: int) -> int:
        m.push(kind, m.collect())
        return pos

    return step


def _tuple_of(count: int) -> Step:
    def step(m: PickleMachine, pos: int) -> int:
        stack = m.stack
        if len(stack) < count:
            raise malformed("stack underflow")
        values = stack[-count:]
        del stack[-count:]
        m.push(tuple, values)
        return pos

    return step


def _dict(m: PickleMachine, pos: int) -> int:
    flat = m.collect()
    if len(flat) % 2:
        raise malformed("key without a value")
    m.push(pairs_node, flat)
    return pos


def _append(m: PickleMachine, pos: int) -> int:
    m.extend([m.stack.pop()])
    return pos


def _appends(m: PickleMachine, pos: int) -> int:
    m.extend(m.collect())
    return pos


def _setitem(m: PickleMachine, pos: int) -> int:
    value = m.stack.pop()
    m.update([m.stack.pop(), value])
    return pos


def _setitems(m: PickleMachine, pos: int) -> int:
    m.update(m.collect())
    return pos


def _additems(m: PickleMachine, pos: int) -> int:
    values = m.collect()
    target = m.stack[-1]
    if type(target) is Members:
        target.extend(values)
    elif target is not OVERFLOW:
        raise malformed("ADDITEMS to what is no set")
    return pos


# Objects


def _global(m: PickleMachine, pos: int) -> int:
    module = m.line(pos)
    pos += len(module) + 1
    name = m.line(pos)
    m.import_name(utf8(module), utf8(name))
    return pos + len(name) + 1


def _stack_global(m: PickleMachine, pos: int) -> int:
    name, module = m.stack.pop(), m.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise malformed("global without a name")
    m.import_name(module, name)
    return pos


def _reduce(m: PickleMachine, pos: int) -> int:
    args = m.stack.pop()
    m.call(m.stack.pop(), args)
    return pos


def _newobj_ex(m: PickleMachine, pos: int) -> int:
    kwargs, args = m.stack.pop(), m.stack.pop()
    m.call(m.stack.pop(), args, kwargs)
    return pos


def _obj(m: PickleMachine, pos: int) -> int:
    values = m.collect()
    if not values:
        raise malformed("stack underflow")
    m.call(values[0], tuple(values[1:]))
    return pos


def _inst(m: PickleMachine, pos: int) -> int:
    args = tuple(m.collect())
    pos = _global(m, pos)
    m.call(m.stack.pop(), args)
    return pos


def _build(m: PickleMachine, pos: int) -> int:
    m.build(m.stack.pop())
    return pos


# The table


def _forbidden(name: str) -> Step:
    def step(m: PickleMachine, pos: int) -> int:
        raise RejectedError(f"forbidden opcode {name}")

    return step


def _unknown(m: PickleMachine, pos: int) -> int:
    raise malformed("unknown opcode")


def _table(steps: dict[bytes, Step]) -> list[Step]:
    return [steps.get(bytes([opcode]), _unknown) for opcode in range(256)]


STEPS: Final = _table(
    {
        b"\x80": _proto,
        b"\x95": _frame,
        b".": _stop,
        b"(": _mark,
        b"0": _pop,
        b"1": _pop_mark,
        b"\x94": _memoize,
        b"p": _put,
        b"g": _get,
        b"r": _long_binput,
        b"h": _binget,
        b"j": _long_binget,
        b"N": _constant(None),
        b"\x88": _constant(True),
        b"\x89": _constant(False),
        b")": _constant(()),
        b"K": _number(1, Struct("<B").unpack_from),
        b"M": _number(2, Struct("<H").unpack_from),
        b"J": _number(4, Struct("<i").unpack_from),
        b"G": _number(8, Struct(">d").unpack_from),
        b"I": _text_line(read_int),
        b"L": _text_line(read_long),
        b"F": _text_line(read_float),
        b"S": _text_line(read_string),
        b"V": _text_line(read_unicode),
        b"\x8a": _counted(1, integer_of_bytes),
        b"\x8b": _counted(4, integer_of_bytes, signed=True),
        b"T": _counted(4, _bytes, signed=True),
        b"C": _counted(1, _bytes),
        b"B": _counted(4, _bytes),
        b"\x8e": _counted(8, _bytes),
        b"\x96": _counted(8, _bytes),
        b"\x8d": _counted(8, utf8),
        b"]": _empty(list),
        b"}": _empty(pairs_node),
        b"\x8f": _empty(Members),
        b"l": _of_mark(list),
        b"t": _of_mark(tuple),
        b"\x91": _of_mark(tuple),
        b"d": _dict,
        b"\x85": _tuple_of(1),
        b"\x86": _tuple_of(2),
        b"\x87": _tuple_of(3),
        b"a": _append,
        b"e": _appends,
        b"s": _setitem,
        b"u": _setitems,
        b"\x90": _additems,
        b"c": _global,
        b"\x93": _stack_global,
        b"R": _reduce,
        b"\x81": _reduce,
        b"\x92": _newobj_ex,
        b"o": _obj,
        b"i": _inst,
        b"b": _build,
        b"2": _forbidden("DUP"),
        b"P": _forbidden("PERSID"),
        b"Q": _forbidden("BINPERSID"),
        b"\x82": _forbidden("EXT1"),
        b"\x83": _forbidden("EXT2"),
        b"\x84": _forbidden("EXT4"),
        b"\x97": _forbidden("NEXT_BUFFER"),
        b"\x98": _forbidden("READONLY_BUFFER"),
    }
)
"""A step for each opcode but those that `PickleMachine.run` reads itself (`X`, `q`, …)."""
