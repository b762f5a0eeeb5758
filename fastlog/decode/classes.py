"""The table of classes, `READERS`: from the name of a class to the function that reads its objects.

A reader gets the node of an object and returns the value that the object stands for: an inert value
(`inert_tree.py`), which is rendered in its place. It returns None if the node does not have the
shape that it knows; then the object is stored as it is, so a client that sends a false shape loses
only the readable form. A reader looks at shapes only: it imports and calls nothing that a frame
names.

An object that occurs twice is read once for each record. But twenty thousand objects of five bytes
each may share one long argument. So a reader either does a small, bounded amount of work, or
returns as much as it goes through, which rendering subtracts from the budget of the record, or
spends the work first.

This is one file because it is one table; longer readers are in `times`, `arrays` and `paths`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, Final

from fastlog.decode import arrays, paths, times
from fastlog.decode.arguments import (
    SEQUENCES,
    all_small,
    described,
    is_sequence,
    is_small,
    is_text,
    range_text,
    state_value,
    value_of,
)
from fastlog.decode.inert_tree import (
    Node,
    attribute,
    dotted,
    is_dict,
    is_global,
    is_object,
    pairs_node,
    resolve,
)
from fastlog.decode.work import Work

Reader = Callable[[Node, Work], Any]

_LATIN: Final = ("latin1", "latin-1", b"latin-1")
_UUID_PARTS: Final = tuple(pairwise((0, 8, 12, 16, 20, 32)))
DIGITS = 64
"""Digits, at most, of a Decimal that is pickled as sign, digits and exponent."""


# Text, bytes and numbers


def _text(node: Node, work: Work) -> Any:
    """Return the text of `Decimal("1.50")`, `str` and the like."""
    args = node["args"]
    return args[0] if len(args) == 1 and is_text(args[0]) else None


def _encode(node: Node, work: Work) -> Any:
    """Return the bytes of `_codecs.encode(text, "latin1")`: Python 3 writes bytes like this in
    protocols 0 to 2."""
    args = node["args"]
    if len(args) != 2 or type(args[0]) is not str or args[1] not in _LATIN:
        return None
    try:
        return args[0].encode("latin-1")
    except UnicodeEncodeError:
        return args[0]


def _bytes(node: Node, work: Work) -> Any:
    """Return the bytes of `bytes()`, and of `bytearray` of bytes or of text in Latin-1."""
    args = node["args"]
    if not args:
        return b""
    if len(args) != 1:
        return _encode(node, work)
    if is_object(args[0]) and dotted(args[0]["class"]) == "_codecs.encode":
        return _encode(args[0], work)
    return args[0] if type(args[0]) is bytes else None


def _decimal(node: Node, work: Work) -> Any:
    """Return the text of a Decimal, from its text or from sign, digits and exponent."""
    args = node["args"]
    if len(args) == 1 and is_sequence(args[0]) and len(args[0]) == 3:
        sign, digits, exponent = args[0]
        if is_small(sign) and is_sequence(digits) and len(digits) <= DIGITS and is_small(exponent):
            try:
                return str(Decimal((sign, tuple(digits), exponent)))
            except (ValueError, TypeError, InvalidOperation):
                return None
    return _text(node, work)


def _complex(node: Node, work: Work) -> Any:
    args = node["args"]
    if len(args) != 2 or not all(type(part) is float or is_small(part) for part in args):
        return None
    return str(complex(*args))


def _fraction(node: Node, work: Work) -> Any:
    args = node["args"]
    if not all_small(args, 2):
        return _text(node, work)
    return f"{args[0]}/{args[1]}" if args[1] != 1 else str(args[0])


def _uuid(node: Node, work: Work) -> Any:
    value = state_value(node, "int")
    if not is_small(value) or value < 0:
        return None
    digits = f"{value:032x}"
    return "-".join([digits[start:stop] for start, stop in _UUID_PARTS])


def _address(family: int, length: int) -> Reader:
    """Return the reader of IP addresses, which are pickled as a number."""

    def read(node: Node, work: Work) -> Any:
        args = node["args"]
        if len(args) != 1 or not is_small(args[0]):
            return _text(node, work)
        try:
            return socket.inet_ntop(family, args[0].to_bytes(length, "big"))
        except OverflowError:
            return None

    return read


_ip4, _ip6 = _address(socket.AF_INET, 4), _address(socket.AF_INET6, 16)


def _range(node: Node, work: Work) -> Any:
    args = node["args"]
    if not all_small(args, 3):
        return None
    return range_text(*args)


def _slice(node: Node, work: Work) -> Any:
    args = node["args"]
    if len(args) != 3 or not all(part is None or is_small(part) for part in args):
        return None
    return f"slice({args[0]}, {args[1]}, {args[2]})"


def _pattern(node: Node, work: Work) -> Any:
    """Return the pattern of `re.compile(pattern, flags)`."""
    args = node["args"]
    return args[0] if len(args) == 2 and (is_text(args[0]) or is_object(args[0])) else None


def _lazy_text(node: Node, work: Work) -> Any:
    """Return a lazily translated text of Django as it is in the source code."""
    args = node["args"]
    if len(args) < 3 or not is_global(args[0]):
        return None
    module, _, function = resolve(args[0]["global"]).rpartition(".")
    given = args[1]
    if module != "django.utils.translation" or not is_sequence(given) or not 1 <= len(given) <= 4:
        return None
    value = given[1] if "pgettext" in function and len(given) > 1 else given[0]
    return value if is_text(value) else None


# Enums


def _value(node: Node, work: Work) -> Any:
    """Return the value of a member of an Enum of the standard library."""
    args = node["args"]
    return args[0] if len(args) == 1 and (is_text(args[0]) or is_small(args[0])) else None


def _member(node: Node, work: Work) -> Any:
    """Return the dotted name of `getattr(Color, "RED")`."""
    return dotted(node) if attribute(node) else None


# Containers


def _collection(node: Node, work: Work) -> Any:
    """Return the members of a set, a frozenset or a deque: the argument, and what was appended."""
    args, items = node["args"], node.get("items", [])
    if not args:
        return items
    if not isinstance(args[0], SEQUENCES) or node.get("state") is not None:
        return None
    return [*args[0], *items] if items else args[0]


def _dict(node: Node, work: Work) -> Any:
    """Return the dict of a subclass; Python 2 gives an OrderedDict a list of pairs."""
    args, pairs = node["args"], node.get("pairs", [])
    if not args or not is_sequence(args[0]):
        given = args[0]["pairs"] if args and is_dict(args[0]) else ()
        return pairs_node([*given, *pairs])
    flat: list[Any] = []
    for pair in args[0]:
        if not is_sequence(pair) or len(pair) != 2:
            return args[0]
        flat += pair
    return pairs_node(flat + pairs)


def _data(node: Node, work: Work) -> Any:
    """Return what `collections.UserDict` and the like wrap."""
    return state_value(node, "data")


def _chain(node: Node, work: Work) -> Any:
    """Return one dict for `collections.ChainMap`; values of the first map replace others."""
    maps = state_value(node, "maps")
    if not is_sequence(maps) or not work.spend(len(maps)) or not all(map(is_dict, maps)):
        return None
    return pairs_node([part for each in reversed(maps) for part in each["pairs"]])


def _namespace(node: Node, work: Work) -> Any:
    """Return the attributes of `types.SimpleNamespace`."""
    state = node.get("state")
    return state if is_dict(state) else pairs_node() if state is None else None


def _row(node: Node, work: Work) -> Any:
    """Return a dict of the columns of a row of SQLAlchemy."""
    state = node["args"][1] if len(node["args"]) == 2 else None
    parent, data = value_of(state, "_parent"), value_of(state, "_data")
    keys = state_value(parent, "_keys") if is_object(parent) else None
    if is_object(keys):  # RMKeyView, in older versions
        keys = state_value(keys, "_keys")
    if not is_sequence(keys) or not is_sequence(data) or len(keys) != len(data):
        return data if is_sequence(data) else None
    return pairs_node([part for pair in zip(keys, data, strict=True) for part in pair])


# Other


def _partial(node: Node, work: Work) -> Any:
    state = node.get("state")
    if not is_sequence(state) or len(state) != 4:
        return None
    return described("functools.partial", func=state[0], args=state[1], kwargs=state[2])


def _type(node: Node, work: Work) -> Any:
    """Return the name of `type(None)`, which is pickled as this call."""
    args = node["args"]
    return "builtins.NoneType" if len(args) == 1 and args[0] is None else None


def _each(reader: Reader, *names: str) -> dict[str, Reader]:
    return dict.fromkeys(names, reader)


def _of(module: str, names: str, reader: Reader) -> dict[str, Reader]:
    return dict.fromkeys([f"{module}.{name}" for name in names.split()], reader)


READERS: Final[dict[str, Callable[[Node, Work], Any]]] = {
    # Text and bytes
    **_of("builtins", "str unicode", _text),
    **_of("builtins", "bytes bytearray", _bytes),
    "_codecs.encode": _encode,
    **_each(_text, "markupsafe.Markup", "jinja2._markupsafe.Markup", "markupsafe._native.Markup"),
    **_of("django.utils.safestring", "SafeString SafeText SafeUnicode SafeBytes", _text),
    "django.utils.functional._lazy_proxy_unpickle": _lazy_text,
    "collections.UserString": _data,
    # Numbers
    **_each(_decimal, "decimal.Decimal", "cdecimal.Decimal", "_decimal.Decimal"),
    "fractions.Fraction": _fraction,
    "builtins.complex": _complex,
    # Dates and times
    **_each(times.datetime_text, "datetime.datetime", "freezegun.api.FakeDatetime"),
    **_each(times.date_text, "datetime.date", "freezegun.api.FakeDate"),
    "datetime.time": times.time_text,
    "datetime.timedelta": times.timedelta_text,
    "time.struct_time": times.struct_time_text,
    "datetime.timezone": times.zone_text,
    **_of("zoneinfo", "ZoneInfo ZoneInfo._unpickle", times.zone_text),
    "backports.zoneinfo.ZoneInfo._unpickle": times.zone_text,
    **_of("pytz", "_UTC _p FixedOffset", times.zone_text),
    **_of("dateutil.tz.tz", "tzutc tzoffset tzfile", times.zone_text),
    "dateutil.tz._tzfile._unpickle": times.zone_text,
    # Names, addresses, paths
    "uuid.UUID": _uuid,
    "ipaddress.IPv4Address": _ip4,
    "ipaddress.IPv6Address": _ip6,
    **_of("ipaddress", "IPv4Network IPv6Network IPv4Interface IPv6Interface", _text),
    **_of("pathlib", "PosixPath PurePosixPath", paths.posix_path),
    **_of("pathlib", "WindowsPath PureWindowsPath", paths.windows_path),
    "re._compile": _pattern,
    "builtins.range": _range,
    "builtins.slice": _slice,
    # Containers
    **_of("builtins", "set frozenset list tuple", _collection),
    "collections.deque": _collection,
    "builtins.dict": _dict,
    **_of("collections", "OrderedDict defaultdict Counter", _dict),
    **_of("collections", "UserDict UserList", _data),
    "collections.ChainMap": _chain,
    "types.SimpleNamespace": _namespace,
    "array.array": arrays.standard_array,
    "array._array_reconstructor": arrays.standard_array_of_bytes,
    # Enums: of any other, the pickle does not show whether a member is a number
    "builtins.getattr": _member,
    **_of("http", "HTTPStatus HTTPMethod", _value),
    **_of("signal", "Signals Handlers Sigmasks", _value),
    **_of("socket", "AddressFamily SocketKind MsgFlag AddressInfo", _value),
    **_of("ssl", "TLSVersion AlertDescription SSLErrorNumber VerifyMode VerifyFlags Options",
          _value),
    **_of("re", "RegexFlag", _value),
    **_of("uuid", "SafeUUID", _value),
    **_of("inspect", "_ParameterKind BufferFlags", _value),
    **_of("enum", "EnumCheck FlagBoundary", _value),
    # numpy
    **{f"{core}.multiarray.scalar": arrays.scalar for core in ("numpy.core", "numpy._core")},
    **dict.fromkeys(
        [name for name in arrays.ARRAYS if name.endswith("_reconstruct")], arrays.array
    ),
    **dict.fromkeys(
        [name for name in arrays.ARRAYS if name.endswith("_frombuffer")], arrays.array_of_buffer
    ),
    "numpy.ma.core._mareconstruct": arrays.masked_array,
    "numpy.dtype": arrays.dtype_name,
    # pandas
    **_of("pandas._libs.tslibs.timestamps", "_unpickle_timestamp Timestamp", times.timestamp_text),
    **_of("pandas._libs.tslibs.timedeltas", "_timedelta_unpickle Timedelta",
          times.pandas_timedelta_text),
    "pandas._libs.tslibs.nattype._nat_unpickle": times.not_a_time,
    **_each(times.period_text, "pandas.Period", "pandas._libs.tslibs.period.Period"),
    "pandas.core.indexes.base._new_Index": arrays.index,
    "pandas.core.indexes.datetimes._new_DatetimeIndex": arrays.index,
    "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked": arrays.backed_array,
    "pandas._libs.internals._unpickle_block": arrays.block,
    **_each(arrays.frame, "pandas.DataFrame", "pandas.core.frame.DataFrame"),
    **_each(arrays.series, "pandas.Series", "pandas.core.series.Series"),
    # Others
    **_each(
        _row,
        "sqlalchemy.engine._row_cy.rowproxy_reconstructor",
        "sqlalchemy.engine._py_row.rowproxy_reconstructor",
        "sqlalchemy.engine.row.rowproxy_reconstructor",
        "sqlalchemy.cresultproxy.rowproxy_reconstructor",
    ),
    "functools.partial": _partial,
    "builtins.type": _type,
}  # fmt: skip
"""To add a class, add a line here; C needs no change."""
