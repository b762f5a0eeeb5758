"""What well-known classes look like in a pickle, and the plain values that they stand for.

Only the shape of the arguments is looked at: nothing is imported or called on a sender's word. An
object whose shape is not the expected one is left as it is, so a lie costs the liar a nice form.

One object can be met twenty thousand times in one record. So a reader that does work which grows
with its argument must answer with that argument, in whatever form: rendering it is charged to the
record's budget, giving up on it is not.
"""

from __future__ import annotations

import ntpath
import posixpath
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from itertools import pairwise
from typing import Any, Final

from fastlog.decode.nodes import Global, Object, Overflow, Pairs

MODULES: Final = {
    "__builtin__": "builtins",
    "exceptions": "builtins",
    "copy_reg": "copyreg",
    "pathlib._local": "pathlib",
}
"""Modules that have another name in another Python, by that name."""

NAME_LENGTH = 256
PATH_PARTS = 256
PATH_LENGTH = 4_096
STATE_LENGTH = 32
_LATIN: Final = ("latin1", "latin-1", b"latin-1")
FACTORIES = 8
"""How deep the result of a call may be called again, and still get a name."""


def dotted(node: Any) -> str:
    """The name of a global, or of what was called to make an object."""
    suffix = ""
    for _ in range(FACTORIES):
        if type(node) is Global:
            module = MODULES.get(node.module, node.module)
            return f"{module[:NAME_LENGTH]}.{node.name[:NAME_LENGTH]}{suffix}"
        if type(node) is not Object:
            break
        owner = _attribute(node)
        if owner:
            node, name = owner
            suffix = f".{name[:NAME_LENGTH]}{suffix}"
        else:
            node, suffix = node.factory, f"(){suffix}"
    return f"…{suffix}"


def simplify(node: Object) -> Any:
    """The plain value that an object stands for: a `str`, `bytes`, list, `Pairs`, ….

    An object of any other class comes back as an `Object`, freed of the helpers of `copyreg`.
    """
    for _ in range(FACTORIES):
        unwrapped = _unwrap(node)
        if unwrapped is None:
            break
        node = unwrapped
    if _attribute(node):
        return dotted(node)
    reader = READERS.get(dotted(node.factory))
    value = reader(node) if reader else None
    return node if value is None else value


def _attribute(node: Object) -> tuple[Any, str] | None:
    # `getattr(Color, "RED")` is how an Enum and a method of a class are pickled.
    factory, args = node.factory, node.args
    if type(factory) is Global and factory.name == "getattr" and len(args) == 2:
        owner, name = args
        if type(owner) in (Global, Object) and type(name) is str:
            return owner, name
    return None


def _unwrap(node: Object) -> Object | None:
    factory, args = node.factory, node.args
    if type(factory) is not Global or factory.module not in ("copy_reg", "copyreg"):
        return None
    inner: Object | None = None
    if factory.name == "_reconstructor" and len(args) == 3:
        cls, base, value = args
        if dotted(base) == "builtins.tuple" and type(value) is tuple:
            inner = Object(cls, value)
        else:
            inner = Object(cls, () if dotted(base) == "builtins.object" else (value,))
    elif factory.name == "__newobj__" and args:
        inner = Object(args[0], args[1:])
    elif factory.name == "__newobj_ex__" and len(args) == 3 and type(args[1]) is tuple:
        inner = Object(args[0], args[1], args[2] if type(args[2]) is Pairs else None)
    if inner is None or type(inner.factory) not in (Global, Object, Overflow):
        return None
    inner.state, inner.items, inner.pairs = node.state, node.items, node.pairs
    return inner


# Readers: the value, or None where the arguments are not of the expected shape.


def _encode(node: Object) -> Any:
    """`_codecs.encode(text, "latin1")`: bytes, from a Python 3 that speaks protocol 2 or less."""
    if len(node.args) == 2 and type(node.args[0]) is str and node.args[1] in _LATIN:
        try:
            return node.args[0].encode("latin-1")
        except UnicodeEncodeError:
            return node.args[0]
    return None


def _bytes(node: Object) -> Any:
    """`bytes()`, and `bytearray` of bytes, or of text in Latin-1."""
    args = node.args
    if not args:
        return b""
    if len(args) != 1:
        return _encode(node)
    if type(args[0]) is Object and dotted(args[0].factory) == "_codecs.encode":
        return _encode(args[0])
    return args[0] if type(args[0]) is bytes else None


def _collection(node: Object) -> Any:
    """A set, a frozenset or a deque: the argument, and what was appended."""
    if not node.args:
        return node.items
    first = node.args[0]
    if type(first) not in (list, tuple) or node.state is not None:
        return None
    return [*first, *node.items] if node.items else first


def _dict(node: Object) -> Any:
    """A dict of another class: Python 2 gives an OrderedDict a list of pairs."""
    if not node.args or type(node.args[0]) is not list:
        pairs = node.args[0] if node.args and type(node.args[0]) is Pairs else ()
        return Pairs([*pairs, *node.pairs])
    flat = Pairs()
    for pair in node.args[0]:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            return node.args[0]
        flat.extend(pair)
    flat.extend(node.pairs)
    return flat


def _text(node: Object) -> Any:
    """`Decimal("1.50")`, `str` and the like: its text."""
    if len(node.args) == 1 and type(node.args[0]) in (str, bytes):
        return node.args[0]
    return None


def _value(node: Object) -> Any:
    """A member of an Enum of the standard library: its value."""
    return node.args[0] if len(node.args) == 1 and type(node.args[0]) in (int, str) else None


def _path(join: Callable[..., str]) -> Callable[[Object], Any]:
    def read(node: Object) -> Any:
        parts = node.args
        if len(parts) > PATH_PARTS or not all(type(part) in (str, bytes) for part in parts):
            return None
        if sum(map(len, parts)) > PATH_LENGTH:
            return None
        texts = [str(p, "utf-8", "surrogateescape") if type(p) is bytes else p for p in parts]
        return join(*texts) if texts else "."

    return read


def _uuid(node: Object) -> Any:
    state = node.state
    if type(state) is not Pairs or len(state) > STATE_LENGTH:
        return None
    for key, value in zip(state[::2], state[1::2], strict=True):
        if key in ("int", b"int") and type(value) is int and 0 <= value < 1 << 128:
            digits = f"{value:032x}"
            cuts = (0, 8, 12, 16, 20, 32)
            return "-".join(digits[start:stop] for start, stop in pairwise(cuts))
    return None


def _packed(node: Object, length: int) -> bytes | None:
    """The state of a datetime, date or time, that it has as its first argument."""
    if not 1 <= len(node.args) <= 2:
        return None
    state = node.args[0]
    if type(state) is Object and len(state.args) == 2:
        state = state.args[0]  # _codecs.encode(text, "latin1")
    if type(state) is str and len(state) == length:
        try:
            state = state.encode("latin-1")
        except UnicodeEncodeError:
            return None
    return state if type(state) is bytes and len(state) == length else None


def _datetime(node: Object) -> Any:
    raw = _packed(node, 10)
    if raw is None:
        return None
    zone, name = _zone(node.args)
    year, month, micro = (
        int.from_bytes(raw[:2], "big"),
        raw[2] & 0x7F,
        int.from_bytes(raw[7:], "big"),
    )
    try:
        moment = datetime(
            year, month, raw[3], raw[4], raw[5], raw[6], micro, zone, fold=raw[2] >> 7
        )
        return moment.isoformat() + name
    except ValueError:
        return None


def _time(node: Object) -> Any:
    raw = _packed(node, 6)
    if raw is None:
        return None
    zone, name = _zone(node.args)
    try:
        micro = int.from_bytes(raw[3:6], "big")
        moment = time(raw[0] & 0x7F, raw[1], raw[2], micro, zone, fold=raw[0] >> 7)
        return moment.isoformat() + name
    except ValueError:
        return None


def _date(node: Object) -> Any:
    raw = _packed(node, 4)
    try:
        return date(int.from_bytes(raw[:2], "big"), raw[2], raw[3]).isoformat() if raw else None
    except ValueError:
        return None


def _delta(node: Any) -> timedelta | None:
    if (
        type(node) is not Object
        or len(node.args) != 3
        or dotted(node.factory) != "datetime.timedelta"
    ):
        return None
    if not all(type(part) is int and part.bit_length() < 64 for part in node.args):
        return None
    try:
        return timedelta(*node.args)
    except OverflowError:
        return None


def _timedelta(node: Object) -> Any:
    delta = _delta(node)
    return None if delta is None else str(delta)


def _zone(args: tuple[Any, ...]) -> tuple[tzinfo | None, str]:
    """The zone of a datetime with these arguments as an offset where that is known, else by name.

    The offset of `ZoneInfo("Europe/Berlin")` is in no pickle; it would depend on our own tables.
    """
    if len(args) < 2 or args[1] is None:
        return None, ""
    zone = args[1]
    if type(zone) is not Object:
        return None, f"[{dotted(zone)}]"
    zone = _unwrap(zone) or zone
    name = dotted(zone.factory)
    if name in ("pytz._UTC", "dateutil.tz.tz.tzutc"):
        return UTC, ""
    offset = None
    if name == "datetime.timezone" and zone.args:
        offset = _delta(zone.args[0])
    elif name == "pytz._p" and len(zone.args) == 4 and type(zone.args[1]) is int:
        offset = timedelta(seconds=zone.args[1]) if abs(zone.args[1]) < 86_400 else None
    elif name == "zoneinfo.ZoneInfo._unpickle" and zone.args and type(zone.args[0]) is str:
        return None, f"[{zone.args[0][:NAME_LENGTH]}]"
    if offset is None or abs(offset) >= timedelta(days=1):
        return None, f"[{name}]"
    return timezone(offset), ""


READERS: Final[dict[str, Callable[[Object], Any]]] = {
    "_codecs.encode": _encode,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.str": _text,
    "builtins.unicode": _text,
    "builtins.set": _collection,
    "builtins.frozenset": _collection,
    "builtins.list": _collection,
    "builtins.tuple": _collection,
    "builtins.dict": _dict,
    "collections.deque": _collection,
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _dict,
    "collections.Counter": _dict,
    "datetime.datetime": _datetime,
    "datetime.date": _date,
    "datetime.time": _time,
    "datetime.timedelta": _timedelta,
    "decimal.Decimal": _text,
    "cdecimal.Decimal": _text,
    "uuid.UUID": _uuid,
    "pathlib.PosixPath": _path(posixpath.join),
    "pathlib.PurePosixPath": _path(posixpath.join),
    "pathlib.WindowsPath": _path(ntpath.join),
    "pathlib.PureWindowsPath": _path(ntpath.join),
    "http.HTTPStatus": _value,
    "http.HTTPMethod": _value,
    "signal.Signals": _value,
    "socket.AddressFamily": _value,
    "socket.SocketKind": _value,
}
