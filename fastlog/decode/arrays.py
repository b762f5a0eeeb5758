"""Readers of the numbers of numpy and `array`, and of the objects of pandas that hold them."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from fastlog.decode.arguments import (
    described,
    is_sequence,
    is_small,
    is_text,
    range_text,
    sent_bytes,
    state_value,
    text_in,
    value_of,
)
from fastlog.decode.inert_tree import Node, dotted, is_dict, is_global, is_object, resolve
from fastlog.decode.times import NOT_A_TIME, counted_delta, counted_moment, unit_of
from fastlog.decode.work import Work

ELEMENTS = 20_000
"""Elements of the largest array that is stored as a list. A larger one is described."""
DIMENSIONS = 32
"""Dimensions of an array, at most."""
SINGLY = 8
"""Units of work for an element that is no number, in addition to those for its bytes."""
ITEM_BYTES = 4096
"""Bytes, at most, of a scalar."""

_NUMBERS: Final = {
    "b1": "?",
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
    "f2": "e",
    "f4": "f",
    "f8": "d",
}
"""The codes of `struct` by the codes that numpy has for types."""
_KINDS: Final = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}


class _Type(NamedTuple):
    """A dtype."""

    code: str
    """Kind and size in bytes: `f8`; of text, in characters: `U5`."""
    order: str
    """The byte order, as `struct` writes it."""
    size: int
    """Bytes of an element."""
    unit: tuple[str, int]
    """Of a time: the unit, and how many units one step is."""

    @property
    def name(self) -> str:
        kind = _KINDS.get(self.code[0])
        return self.code if kind is None else kind + ("" if kind == "bool" else str(8 * self.size))


def _type_of(node: Any) -> _Type | None:
    """Return the dtype in a node, or None."""
    if not is_object(node) or dotted(node["class"]) != "numpy.dtype" or not node["args"]:
        return None
    code, state = node["args"][0], node.get("state")
    if not is_text(code) or not 2 <= len(code) <= 8 or not is_sequence(state) or len(state) < 2:
        return None
    code = text_in(code)
    kind = _sized(code, ">" if state[1] in (">", b">") else "<")
    if kind is None or code[0] not in "mM":
        return kind
    metadata = state[8] if len(state) > 8 and is_sequence(state[8]) else ()
    unit = unit_of(metadata[-1]) if metadata else None
    return kind._replace(unit=unit) if unit else kind


@lru_cache(maxsize=256)
def _sized(code: str, order: str) -> _Type | None:
    """Return the dtype of a code, without a unit."""
    if not code[1:].isascii() or not (code[1:].isdigit() or code[0] in "mM"):
        return None
    return _Type(code, order, int(code[1:]) * (4 if code[0] == "U" else 1), ("generic", 1))


def dtype_name(node: Node, work: Work) -> Any:
    """Return the name of `numpy.dtype`."""
    kind = _type_of(node)
    return kind and kind.name


# Elements


def _elements(kind: _Type, data: bytes, count: int) -> list[Any] | None:
    """Return `count` elements; `data` has exactly their bytes. None if the dtype is unknown."""
    if kind.code in _NUMBERS:
        numbers = struct.unpack(f"{kind.order}{count}{_NUMBERS[kind.code]}", data)
        return list(map(_dtoa32, numbers)) if kind.code in ("f2", "f4") else list(numbers)
    read = _READ.get(kind.code[0])
    if read is None or (kind.code[0] == "f" and kind.code not in ("f12", "f16")):
        return None
    size = kind.size
    try:
        return [read(kind, data[at : at + size]) for at in range(0, count * size, size)]
    except (ValueError, OverflowError, struct.error):
        return None


def _dtoa32(value: float) -> float:
    """Return the shortest decimal of a float of 32 bits: 0.1 for 0.10000000149."""
    if not math.isfinite(value):
        return value
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        if struct.pack("<f", short) == struct.pack("<f", value):
            return short
    return value


def _moment(kind: _Type, data: bytes) -> Any:
    (count,) = struct.unpack(f"{kind.order}q", data)
    return _counted(kind, count, counted_moment)


def _span(kind: _Type, data: bytes) -> Any:
    (count,) = struct.unpack(f"{kind.order}q", data)
    return _counted(kind, count, counted_delta)


def _counted(kind: _Type, count: int, show: Callable[[int, str], str | None]) -> Any:
    unit, step = kind.unit
    if count == NOT_A_TIME:
        return "NaT"
    if unit == "generic":
        return count * step
    return show(count * step, unit) or f"{count * step} {unit}"


def _complex(kind: _Type, data: bytes) -> str:
    code = {8: "2f", 16: "2d"}.get(kind.size, "")
    return str(complex(*struct.unpack(kind.order + code, data)))


def _long_double(kind: _Type, data: bytes) -> float:
    """Return the float nearest to a number of 80 bits, as x86 has it."""
    fraction, exponent = struct.unpack("<QH", data[:10])
    sign, exponent = -1 if exponent & 0x8000 else 1, exponent & 0x7FFF
    if exponent == 0x7FFF:
        return math.nan if fraction << 1 & (1 << 64) - 1 else sign * math.inf
    try:
        return sign * math.ldexp(fraction, exponent - 16_446)
    except OverflowError:
        return sign * math.inf


_READ: Final[dict[str, Callable[[_Type, bytes], Any]]] = {
    "U": lambda kind, data: str(
        data, "utf-32-be" if kind.order == ">" else "utf-32-le", "replace"
    ).rstrip("\0"),
    "S": lambda kind, data: data.rstrip(b"\0"),
    "M": _moment,
    "m": _span,
    "c": _complex,
    "f": _long_double,
}


# Scalars and arrays


def scalar(node: Node, work: Work) -> Any:
    """Return the value of a scalar such as `numpy.float64(0.25)`, from its dtype and its bytes."""
    args = node["args"]
    if len(args) != 2 or (kind := _type_of(args[0])) is None:
        return None
    if kind.code == "O8":
        return args[1]
    if kind.size > ITEM_BYTES or not work.spend(kind.size // 64):
        return None
    data = sent_bytes(args[1], kind.size)
    if data is None or len(data) != kind.size:
        return None
    values = _elements(kind, data, 1)
    return values[0] if values else None


def array(node: Node, work: Work) -> Any:
    """Return the elements of `numpy.ndarray` and the like: shape, dtype, order and bytes are its
    state."""
    state = node.get("state")
    if not is_sequence(state) or len(state) != 5:
        return None
    return _array(node, state[1], state[2], "F" if state[3] is True or state[3] == 1 else "C",
                  state[4], work)  # fmt: skip


def array_of_buffer(node: Node, work: Work) -> Any:
    """Return the elements of `numpy._core.numeric._frombuffer(bytes, dtype, shape, order)`, which
    protocol 5 has."""
    args = node["args"]
    if len(args) != 4:
        return None
    return _array(node, args[2], args[1], "F" if args[3] in ("F", b"F") else "C", args[0], work)


def masked_array(node: Node, work: Work) -> Any:
    """Return the elements of `numpy.ma.MaskedArray`: None where they are masked."""
    state = node.get("state")
    if not is_sequence(state) or len(state) != 7:
        return None
    order = "F" if state[3] is True or state[3] == 1 else "C"
    return _array(node, state[1], state[2], order, state[4], work, mask=state[5])


def _array(
    node: Node, shape: Any, dtype: Any, order: str, data: Any, work: Work, mask: Any = None
) -> Any:
    kind = _type_of(dtype)
    if kind is None or not is_sequence(shape) or len(shape) > DIMENSIONS:
        return None
    if not all(is_small(length) and length >= 0 for length in shape):
        return None
    count = math.prod(shape)
    if count > ELEMENTS or math.prod(max(length, 1) for length in shape) > ELEMENTS:
        return _description(shape, kind)
    if kind.code == "O8":
        values = data if is_sequence(data) and len(data) == count else None
        if values is None or not work.spend(count):
            return None
    else:
        each = len(shape) + kind.size // 8 + (0 if kind.code in _NUMBERS else SINGLY)
        if not work.spend(count * each):
            return _description(shape, kind)
        raw = sent_bytes(data, count * kind.size)
        if raw is None or len(raw) != count * kind.size:
            return None
        values = _elements(kind, raw, count) if count else []
    if values is None:
        return _description(shape, kind)
    hidden = None if mask is None else sent_bytes(mask, count)
    if hidden is not None and len(hidden) == count:
        values = [None if masked else value for value, masked in zip(values, hidden, strict=True)]
    return _nested(list(values), shape, order)


def _description(shape: Any, kind: _Type) -> Node:
    return described("numpy.ndarray", shape=list(shape), dtype=kind.name, **{"!cut": "size"})


def _nested(flat: list[Any], shape: Any, order: str) -> Any:
    """Return the elements as lists in lists."""
    if not shape:
        return flat[0]
    if order == "F" and len(shape) > 1:
        flat = _rows_first(flat, shape)
    for length in reversed(shape[1:]):
        count = len(flat) // length if length else math.prod(shape[:1])
        flat = [flat[at * length : at * length + length] for at in range(count)]
    return flat


def _rows_first(flat: list[Any], shape: Any) -> list[Any]:
    """Return elements that are in Fortran order in C order."""
    steps = [1]
    for length in shape[:-1]:
        steps.append(steps[-1] * length)
    positions = [0]
    for length, step in zip(shape, steps, strict=True):
        positions = [base + step * at for base in positions for at in range(length)]
    return [flat[at] for at in positions]


# array.array

_CODES: Final = ("B", "b", "<H", ">H", "<h", ">h", "<I", ">I", "<i", ">i", "<Q", ">Q", "<q", ">q",
                 "<f", ">f", "<d", ">d")  # fmt: skip
_TEXTS: Final = {18: "utf-16-le", 19: "utf-16-be", 20: "utf-32-le", 21: "utf-32-be"}


def standard_array(node: Node, work: Work) -> Any:
    """Return the elements of `array.array(code, list)`, as protocols below 3 write it."""
    args = node["args"]
    return args[1] if len(args) == 2 and (is_sequence(args[1]) or is_text(args[1])) else None


def standard_array_of_bytes(node: Node, work: Work) -> Any:
    """Return the elements of `array._array_reconstructor(cls, code, format, bytes)`."""
    args = node["args"]
    if len(args) != 4 or not is_small(args[2]) or type(args[3]) is not bytes:
        return None
    data, form = args[3], args[2]
    if form in _TEXTS:
        return str(data, _TEXTS[form], "replace") if work.spend(len(data) // 16) else None
    if not 0 <= form < len(_CODES):
        return None
    code = _CODES[form]
    count, rest = divmod(len(data), struct.calcsize(code))
    if rest:
        return None
    if count > ELEMENTS:
        return described("array.array", shape=[count], dtype=code[-1], **{"!cut": "size"})
    if not work.spend(count):
        return None
    values = struct.unpack(f"{code[:-1]}{count}{code[-1]}", data)
    return list(map(_dtoa32, values)) if code[-1] == "f" else list(values)


# pandas


def index(node: Node, work: Work) -> Any:
    """Return the values of an index of pandas, or its range as text."""
    args = node["args"]
    if len(args) != 2 or not is_dict(args[1]):
        return None
    data = value_of(args[1], "data")
    if data is not None:
        return data
    start, stop, step = (value_of(args[1], name) for name in ("start", "stop", "step"))
    if is_small(start) and is_small(stop) and is_small(step):
        return range_text(start, stop, step)
    return None


def backed_array(node: Node, work: Work) -> Any:
    """Return the array of numpy in an array of pandas; with its type, if that has more than the
    type of the numpy array."""
    args, state = node["args"], node.get("state")
    if not is_sequence(state) or not 2 <= len(state) <= 3 or not args or not is_global(args[0]):
        return None
    kind, *others = state
    values = next((part for part in others if is_object(part)), None)
    if not is_object(kind) or values is None:
        return None
    if dotted(kind["class"]) in ("numpy.dtype", "pandas.StringDtype"):
        return values
    return described(resolve(args[0]["global"]), dtype=kind, values=values)


def block(node: Node, work: Work) -> Any:
    """Return the values of a block of a DataFrame."""
    return node["args"][0] if node["args"] else None


def frame(node: Node, work: Work) -> Any:
    """Return the values of `pandas.DataFrame` as it keeps them: columns of one type together."""
    manager = state_value(node, "_mgr")
    if not is_object(manager) or len(manager["args"]) != 2:
        return None
    blocks, axes = manager["args"]
    if not is_sequence(axes) or len(axes) != 2:
        return None
    return described("pandas.DataFrame", columns=axes[0], index=axes[1], blocks=blocks)


def series(node: Node, work: Work) -> Any:
    """Return the values of `pandas.Series`."""
    manager = state_value(node, "_mgr")
    state = manager.get("state") if is_object(manager) else None
    if not is_sequence(state) or len(state) < 2:
        return None
    (axes, blocks) = state[:2]
    if not is_sequence(axes) or not is_sequence(blocks) or len(axes) != 1 or len(blocks) != 1:
        return None
    name = state_value(node, "_name")
    return described("pandas.Series", name=name, index=axes[0], values=blocks[0])


ARRAYS: Final = frozenset(
    f"{core}.{name}"
    for core in ("numpy._core", "numpy.core")
    for name in ("multiarray._reconstruct", "numeric._frombuffer")
)
"""The functions that make an array of numpy."""
