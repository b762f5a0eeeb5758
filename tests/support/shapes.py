"""The shapes of values that `clients/make_pickles.py` logs, and the normal form of each."""

from __future__ import annotations

import base64
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from interpreters import environment, interpreters

SCRIPT = Path(__file__).parent / "clients" / "make_pickles.py"


class Frame(NamedTuple):
    shape: str
    how: str
    """`socket`, or the pickler (`c` or `py`) and the protocol."""
    data: bytes


def _nested(depth: int) -> Any:
    value: Any = {"!cut": "depth"}
    for _ in range(depth):
        value = [value]
    return value


NESTED = _nested(32)

EXPECTED: dict[str, Any] = {
    "none": None,
    "true": True,
    "false": False,
    "zero": 0,
    "small": 255,
    "short": 65535,
    "medium": 65536,
    "minus": -1,
    "int31": 2**31 - 1,
    "int32": 2**31,
    "int63": 2**63 - 1,
    "minus63": -(2**63),
    "int64": 2**64,
    "big": 10**30,
    "minus_big": -(10**30),
    "float": 1.5,
    "whole": 3.0,
    "tiny": 5e-324,
    "nan": "NaN",
    "inf": "Infinity",
    "minus_inf": "-Infinity",
    "text": "plain",
    "empty": "",
    "latin": "déjà vu",
    "cyrillic": "журнал",
    "cjk": "日志服务器",
    "arabic": "سجل",
    "emoji": "📜😀",
    "nul": "a\\x00b",
    "surrogate": "a\\ud800b",
    "lines": "one\ntwo\r\nthree\t\\n",
    "quotes": 'it\'s "so"',
    "long": "x" * 100000,
    "wide": "€" * 70000,
    "bytes": "plain",
    "bytes_empty": "",
    "bytes_utf8": "журнал",
    "bytes_latin": "d\\xe9j\\xe0",
    "bytes_nul": "\\x00\x01",
    "bytes_quotes": 'it\'s "so"\n\\',
    "bytes_all": bytes(range(256)).decode("utf-8", "backslashreplace").replace("\0", "\\x00"),
    "bytes_long": "y" * 70000,
    "bytearray": "abc",
    "list": [1, "two", None],
    "list_empty": [],
    "list_long": list(range(2500)),
    "tuple_empty": [],
    "tuple1": [1],
    "tuple2": [1, 2],
    "tuple3": [1, 2, 3],
    "tuple4": [1, 2, 3, 4],
    "set": [1, 2, 3],
    "set_empty": [],
    "frozenset": [7],
    "dict": {"a": {"b": [1]}},
    "dict_empty": {},
    "keys_int": {"1": "a", "2": "b"},
    "keys_collide": {"1 (int)": "int", "1": "text"},
    "keys_none": {"None": 1, "True": 2, "1.5": 3},
    "keys_bytes": {"k\\xff": 1},
    "keys_tuple": {'[1, "a"]': 2},
    "shared": [["s"], ["s"]],
    "deep": NESTED,
    "wide_list": [[], [], []],
    "cycle_list": [1, {"!cut": "cycle"}],
    "cycle_dict": {"a": 1, "self": {"!cut": "cycle"}},
    "cycle_object": {
        "!": "__main__.Plain",
        "state": {"user": "bob", "roles": ["admin"], "me": {"!cut": "cycle"}},
    },
    "datetime": "2026-11-23T14:05:06.000789",
    "datetime_fold": "2026-11-23T14:05:06.000789",
    "datetime_utc": "2026-11-23T14:05:06.000789+00:00",
    "datetime_offset": "2026-11-23T14:05:06.000789+05:30",
    "datetime_zone": "2026-11-23T14:05:06.000789[Europe/Berlin]",
    "date": "2026-11-23",
    "time": "14:05:06.000789",
    "time_utc": "14:05:06.000789+00:00",
    "timedelta": "1 day, 2:00:00",
    "uuid": "00000010-0000-0000-0000-000000000007",
    "decimal": "1.50",
    "complex": "(1+2j)",
    "path": "/var/log/app.log",
    "path_relative": "app.log",
    "path_windows": "C:\\logs\\app.log",
    "ordered": {"b": 1, "a": 2},
    "defaultdict": {"k": [1]},
    "counter": {"a": 2},
    "deque": [1, 2],
    "namedtuple": {"!": "__main__.Point", "args": [1, "y"]},
    "exception": {"!": "builtins.ValueError", "args": ["bad", 1]},
    "exception_attr": {"!": "__main__.Rejected", "args": ["no", 7], "state": {"code": 7}},
    "object": {"!": "__main__.Plain", "state": {"user": "bob", "roles": ["admin"]}},
    "slots": {"!": "__main__.Slots", "state": {"left": 1, "right": 2}},
    "old": {"!": "__main__.Old", "state": {"user": "bob"}},
    "text_subclass": {"!": "__main__.Text", "args": ["sub"]},
    "function": "logging.getLogger",
    "class": "collections.OrderedDict",
}
"""`extra["x"]` by shape. Shapes with several normal forms are in `accepts`."""


def accepts(shape: str, actual: Any) -> bool:
    """Return whether a value is a correct normal form of a shape."""
    match shape:
        case "huge":
            return isinstance(actual, str) and "[cut: an integer of" in actual
        case "too_many":
            return (
                isinstance(actual, list)
                and actual[:19_000] == list(range(19_000))
                and len(actual) < 20_001
                and actual[-1] == {"!cut": 30_000 - (len(actual) - 1)}
            )
        case "enum":
            return actual in ("__main__.Color.RED", {"!": "__main__.Color", "args": [1]})
        case "dict_subclass":
            named = {"!": "__main__.Names"}
            return actual in (named | {"pairs": {"k": 1}}, named | {"args": [{"k": 1}]})
        case "cycle_tuple":  # a pickler may put the cycle into a copy of the outer tuple
            return "'!cut': 'cycle'" in repr(actual) and str(actual).startswith("[1, [")
    expected = EXPECTED[shape]
    return bool(type(expected) is type(actual) and expected == actual)


@cache
def frames(version: str) -> list[Frame]:
    """Return the frames of the interpreter of this version, shape by shape."""
    result = subprocess.run(
        [interpreters()[version], SCRIPT],
        env=environment(), capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    fields = (line.split("\t") for line in result.stdout.splitlines())
    return [Frame(shape, how, base64.b64decode(data)) for shape, how, data in fields]
