# -*- coding: utf-8 -*-
"""Prints the frames that this interpreter's picklers make of each shape, for Python 2.7 and 3.6+.

A line is: shape, how it was made, the frame in base64; with tabs between. The frames are those of
`SocketHandler.makePickle`, and of the C and the Python pickler at every protocol. Shapes that this
Python cannot make, or a pickler cannot write, are left out.
"""

from __future__ import print_function

import base64
import collections
import datetime
import decimal
import io
import logging
import logging.handlers
import pickle
import sys
import uuid

try:
    import cPickle
except ImportError:
    cPickle = None
try:
    import enum
    import pathlib
except ImportError:
    enum = pathlib = None
try:
    import zoneinfo
except ImportError:
    zoneinfo = None

Point = collections.namedtuple("Point", "x y")


class Plain(object):
    def __init__(self):
        self.user = u"bob"
        self.roles = [u"admin"]


class Slots(object):
    __slots__ = ("left", "right")

    def __init__(self):
        self.left = 1
        self.right = 2


class Old:
    def __init__(self):
        self.user = u"bob"


class Text(type(u"")):
    pass


class Rejected(ValueError):
    def __init__(self, reason, code):
        super(Rejected, self).__init__(reason, code)
        self.code = code


class Names(dict):
    pass


if enum:
    Color = enum.Enum("Color", "RED GREEN", module="__main__")


def nested(depth):
    value = u"deep"
    for _ in range(depth):
        value = [value]
    return value


def cycle_list():
    value = [1]
    value.append(value)
    return value


def cycle_dict():
    value = {u"a": 1}
    value[u"self"] = value
    return value


def cycle_object():
    value = Plain()
    value.me = value
    return value


def cycle_tuple():
    inner = []
    value = (1, inner)
    inner.append(value)
    return value


def shapes():
    shared = [u"s"]
    moment = datetime.datetime(2026, 11, 23, 14, 5, 6, 789)
    ordered = collections.OrderedDict([(u"b", 1), (u"a", 2)])
    counts = collections.defaultdict(list)
    counts[u"k"].append(1)
    names = Names()
    names[u"k"] = 1
    made = {
        "none": None, "true": True, "false": False,
        "zero": 0, "small": 255, "short": 65535, "medium": 65536, "minus": -1,
        "int31": 2**31 - 1, "int32": 2**31, "int63": 2**63 - 1, "minus63": -(2**63),
        "int64": 2**64, "big": 10**30, "minus_big": -(10**30), "huge": 1 << 16000,
        "float": 1.5, "whole": 3.0, "tiny": 5e-324, "nan": float("nan"), "inf": float("inf"),
        "minus_inf": float("-inf"),
        "text": u"plain", "empty": u"", "latin": u"d\xe9j\xe0 vu", "cyrillic": u"журнал",
        "cjk": u"日志服务器", "arabic": u"سجل", "emoji": u"\U0001f4dc\U0001f600",
        "nul": u"a\x00b", "surrogate": u"a\ud800b", "lines": u"one\ntwo\r\nthree\t\\n",
        "quotes": u"it's \"so\"", "long": u"x" * 100000, "wide": u"\u20ac" * 70000,
        "bytes": b"plain", "bytes_empty": b"", "bytes_utf8": u"журнал".encode("utf-8"),
        "bytes_latin": u"d\xe9j\xe0".encode("latin-1"), "bytes_nul": b"\x00\x01",
        "bytes_quotes": b"it's \"so\"\n\\", "bytes_all": bytes(bytearray(range(256))),
        "bytes_long": b"y" * 70000, "bytearray": bytearray(b"abc"),
        "list": [1, u"two", None], "list_empty": [], "list_long": list(range(2500)),
        "tuple_empty": (), "tuple1": (1,), "tuple2": (1, 2), "tuple3": (1, 2, 3),
        "tuple4": (1, 2, 3, 4), "set": {1, 2, 3}, "set_empty": set(), "frozenset": frozenset([7]),
        "dict": {u"a": {u"b": [1]}}, "dict_empty": {}, "keys_int": {1: u"a", 2: u"b"},
        "keys_collide": {1: u"int", u"1": u"text"}, "keys_none": {None: 1, True: 2, 1.5: 3},
        "keys_bytes": {b"k\xff": 1}, "keys_tuple": {(1, u"a"): 2},
        "shared": [shared, shared], "deep": nested(100), "wide_list": [[]] * 3,
        "cycle_list": cycle_list(), "cycle_dict": cycle_dict(), "cycle_object": cycle_object(),
        "cycle_tuple": cycle_tuple(),
        "datetime": moment, "date": moment.date(), "time": moment.time(),
        "timedelta": datetime.timedelta(1, 7200), "uuid": uuid.UUID(int=2**100 + 7),
        "decimal": decimal.Decimal("1.50"), "complex": 1 + 2j,
        "ordered": ordered, "defaultdict": counts, "counter": collections.Counter([u"a", u"a"]),
        "deque": collections.deque([1, 2], 5), "namedtuple": Point(1, u"y"),
        "exception": ValueError(u"bad", 1), "exception_attr": Rejected(u"no", 7),
        "object": Plain(), "slots": Slots(), "old": Old(), "text_subclass": Text(u"sub"),
        "dict_subclass": names, "function": logging.getLogger, "class": collections.OrderedDict,
        "too_many": list(range(30000)),
    }
    if sys.version_info[0] >= 3:
        zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
        made["datetime_utc"] = moment.replace(tzinfo=datetime.timezone.utc)
        made["datetime_offset"] = moment.replace(tzinfo=zone)
        made["datetime_fold"] = moment.replace(fold=1)
        made["time_utc"] = moment.time().replace(tzinfo=datetime.timezone.utc)
        made["path"] = pathlib.PurePosixPath("/var/log/app.log")
        made["path_relative"] = pathlib.PurePosixPath("app.log")
        made["path_windows"] = pathlib.PureWindowsPath("C:\\logs\\app.log")
        made["enum"] = Color.RED
    if zoneinfo:
        try:
            made["datetime_zone"] = moment.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
        except zoneinfo.ZoneInfoNotFoundError:
            pass
    return made


def slow_dumps(value, protocol):
    if cPickle:
        return pickle.dumps(value, protocol)
    out = io.BytesIO()
    pickle._Pickler(out, protocol).dump(value)
    return out.getvalue()


def fast_dumps(value, protocol):
    return (cPickle or pickle).dumps(value, protocol)


def socket_dumps(value, protocol):
    record = logging.LogRecord("app.db", 30, "/srv/app.py", 12, "user %s", ("bob",), None, "run")
    record.x = value
    return logging.handlers.SocketHandler("localhost", 0).makePickle(record)[4:]


def main():
    for name, value in sorted(shapes().items()):
        attempts = [("socket", socket_dumps, 1)]
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            attempts.append(("c%d" % protocol, fast_dumps, protocol))
            attempts.append(("py%d" % protocol, slow_dumps, protocol))
        for how, dumps, protocol in attempts:
            content = value if how == "socket" else {u"msg": u"m", u"x": value}
            try:
                frame = dumps(content, protocol)
            except Exception:  # noqa: a shape that this pickler cannot write
                continue
            print("\t".join((name, how, base64.b64encode(frame).decode("ascii"))))


if __name__ == "__main__":
    main()
