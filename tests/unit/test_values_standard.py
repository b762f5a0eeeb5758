"""Values of the standard library are stored as `docs/pickle.md` says; with real pickles."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import fractions
import functools
import http
import ipaddress
import pathlib
import pickle
import re
import signal
import socket
import ssl
import struct
import time
import types
import uuid
from typing import Any

import pytest
from logged_values import BERLIN, MOMENT, Level, extra_of

STANDARD: dict[str, tuple[Any, Any]] = {
    "zoned": (MOMENT.replace(tzinfo=BERLIN), "2026-11-23T14:05:06[Europe/Berlin]"),
    "offset with a name": (
        MOMENT.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=1), "X")),
        "2026-11-23T14:05:06+01:00",
    ),
    "offset of seconds": (
        MOMENT.replace(tzinfo=datetime.timezone(datetime.timedelta(seconds=61))),
        "2026-11-23T14:05:06+00:01:01",
    ),
    "fold": (MOMENT.replace(fold=1), "2026-11-23T14:05:06"),
    "zone": (BERLIN, "Europe/Berlin"),
    "timezone": (datetime.timezone(datetime.timedelta(hours=1)), "UTC+01:00"),
    "utc": (datetime.timezone.utc, "UTC"),  # noqa: UP017
    "struct_time": (time.gmtime(0), "1970-01-01T00:00:00+00:00"),
    "IPv4Address": (ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
    "IPv6Address": (ipaddress.ip_address("fe80::1"), "fe80::1"),
    "IPv6Address with a scope": (ipaddress.ip_address("fe80::1%eth0"), "fe80::1%eth0"),
    "IPv4Network": (ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
    "IPv6Network": (ipaddress.ip_network("fe80::/10"), "fe80::/10"),
    "IPv4Interface": (ipaddress.ip_interface("10.0.0.1/8"), "10.0.0.1/8"),
    "IPv6Interface": (ipaddress.ip_interface("::1/64"), "::1/64"),
    "Fraction": (fractions.Fraction(1, 3), "1/3"),
    "complex": (1 + 2j, "(1+2j)"),
    "range": (range(3), "range(0, 3)"),
    "range with a step": (range(0, 10, 2), "range(0, 10, 2)"),
    "slice": (slice(1, None), "slice(1, None, None)"),
    "pattern": (re.compile("a+", re.IGNORECASE), "a+"),
    "pattern of bytes": (re.compile(b"a+"), "a+"),
    "UUID": (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "Decimal": (decimal.Decimal("1.50"), "1.50"),
    "UserDict": (collections.UserDict(a=1), {"a": 1}),
    "UserList": (collections.UserList([1]), [1]),
    "UserString": (collections.UserString("x"), "x"),
    "ChainMap": (collections.ChainMap({"a": 1}, {"a": 2, "b": 3}), {"a": 1, "b": 3}),
    "SimpleNamespace": (types.SimpleNamespace(a=1), {"a": 1}),
    "deque": (collections.deque([1, 2], maxlen=5), [1, 2]),
    "Counter": (collections.Counter("aab"), {"a": 2, "b": 1}),
    "defaultdict": (collections.defaultdict(list, {"a": [1]}), {"a": [1]}),
    "OrderedDict": (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    "array of int": (array.array("i", [1, -2]), [1, -2]),
    "array of float": (array.array("f", [0.1]), None),
    "array of double": (array.array("d", [0.1]), [0.1]),
    "partial": (
        functools.partial(int, "5", base=10),
        {"!": "functools.partial", "func": "builtins.int", "args": ["5"], "kwargs": {"base": 10}},
    ),
    "int": (int, "builtins.int"),
    "range class": (range, "builtins.range"),
    "NoneType": (type(None), "builtins.NoneType"),
    "Ellipsis": (..., "builtins.Ellipsis"),
    "path": (pathlib.PurePosixPath("/var/log"), "/var/log"),
    "path of Windows": (pathlib.PureWindowsPath("C:/logs/app.log"), "C:\\logs\\app.log"),
    "HTTPStatus": (http.HTTPStatus.NOT_FOUND, 404),
    "HTTPMethod": (http.HTTPMethod.GET, "GET"),
    "Signals": (signal.SIGTERM, 15),
    "AddressFamily": (socket.AF_INET, 2),
    "TLSVersion": (ssl.TLSVersion.TLSv1_3, 772),
    "RegexFlag": (re.IGNORECASE, 2),
    "ValueError": (ValueError("bad", 1), {"!": "builtins.ValueError", "args": ["bad", 1]}),
    "IntEnum of an application": (Level.NOTICE, {"!": f"{Level.__module__}.Level", "args": [25]}),
}


@pytest.mark.parametrize("name", STANDARD)
def test_a_value_of_the_standard_library_is_readable_at_every_protocol(name: str) -> None:
    value, expected = STANDARD[name]
    for protocol in range(6):
        actual = extra_of(pickle.dumps({"msg": "m", "x": value}, protocol))["x"]
        if name == "array of float" and protocol < 3:
            assert actual == [struct.unpack("f", struct.pack("f", 0.1))[0]]
        else:
            assert actual == ([0.1] if name == "array of float" else expected), protocol


@pytest.mark.parametrize("protocol", range(6))
def test_a_shared_value_has_the_same_text_everywhere(protocol: int) -> None:
    value = uuid.UUID(int=7)
    zoned = MOMENT.replace(tzinfo=BERLIN)
    frame = pickle.dumps({"x": [value, value], "y": {"z": value}, "t": [zoned, zoned]}, protocol)
    text = str(value)
    assert {
        "x": [text, text],
        "y": {"z": text},
        "t": ["2026-11-23T14:05:06[Europe/Berlin]"] * 2,
    } == extra_of(frame)


def test_names_of_python_2_become_those_of_python_3() -> None:
    frame = pickle.dumps({"a": range, "b": collections.UserDict(a=1), "c": str, "d": int}, 2)
    assert b"xrange" in frame and b"IterableUserDict" in frame
    expected = {"a": "builtins.range", "b": {"a": 1}, "c": "builtins.str", "d": "builtins.int"}
    assert expected == extra_of(frame)
