"""The kinds of records that `kinds.py` measures, and the values in them."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import functools
import json
import logging
import pickle
import struct
import sys
import types
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from logging.handlers import SocketHandler
from pathlib import Path
from typing import Any, NamedTuple

from bench.frames import make_records

LENGTH = struct.Struct(">L")
ROOT = Path(__file__).parents[1]
POOL = 500
"""Different records of a kind; they are repeated."""
Make = Callable[[int], bytes]


class Kind(NamedTuple):
    """One kind of record."""

    name: str
    make: Make
    """Makes the frame with this number."""
    by_byte: bool = False
    """Whether the target is per byte, not per record."""
    targets: tuple[float, float] | None = None
    """The allowed cost relative to the simple record: to SQLite, and to NDJSON."""


# The values


class App:
    """An object of an application."""

    def __init__(self, number: int) -> None:
        self.user = f"user{number}"
        self.roles = ["admin", "staff"]


class Level(enum.IntEnum):
    """Levels of an application."""

    NOTICE = 25
    ALERT = 45


class _Timestamp:
    """Pickles as a Timestamp of pandas does."""

    def __init__(self, number: int) -> None:
        self._nanoseconds = 1_795_442_706_000_000_789 + number

    def __reduce__(self) -> tuple[Any, ...]:
        module = "pandas._libs.tslibs.timestamps"
        return sys.modules[module]._unpickle_timestamp, (self._nanoseconds, None, None, 10)


def _pretend_pandas() -> None:
    """Register the name that a pickler looks up, without pandas itself."""

    def _unpickle_timestamp(*_: object) -> None:
        raise NotImplementedError

    parts = ["pandas", "_libs", "tslibs", "timestamps"]
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules[parts[0]].__dict__.setdefault("__version__", "0")  # pyarrow asks for it
    _unpickle_timestamp.__module__ = name
    _unpickle_timestamp.__qualname__ = "_unpickle_timestamp"
    sys.modules[name].__dict__.setdefault("_unpickle_timestamp", _unpickle_timestamp)


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
MOMENT = datetime.datetime(2026, 11, 23, 14, 5, 6, tzinfo=BERLIN)


def _zoned(number: int) -> Any:
    return MOMENT.replace(microsecond=number % 1_000_000)


def _shared_uuid(number: int) -> Any:
    made = uuid.UUID(int=(77 << 100) + number)
    return {"id": made, "again": made}


def _make_values() -> dict[str, Callable[[int], Any]]:
    """Return functions that make a value from a number, by name of the kind."""
    _pretend_pandas()
    values: dict[str, Callable[[int], Any]] = {"zoned datetime": _zoned}
    try:
        import numpy
    except ImportError:
        print("no numpy here (pip install .[bench]): its kind is left out", file=sys.stderr)
    else:
        values["numpy scalar"] = lambda number: numpy.float64(number / 4)
    values |= {
        "pandas Timestamp": _Timestamp,
        "UUID, met twice": _shared_uuid,
        "dict, met twice": lambda number: [{"request": number, "user": "bob"}] * 2,
        "Decimal": lambda number: decimal.Decimal(number) / 100,
        "object of an application": App,
        "IntEnum": lambda number: Level.ALERT if number % 2 else Level.NOTICE,
    }
    return values


# The kinds

_maker = SocketHandler("localhost", 0)
_records = list(make_records(POOL))


def _record(number: int, **extra: object) -> logging.LogRecord:
    record = logging.makeLogRecord(vars(_records[number % POOL]))
    record.__dict__.update(extra)
    return record


def _stock(record: logging.LogRecord) -> bytes:
    return _maker.makePickle(record)[LENGTH.size :]


def _attributes(number: int) -> dict[str, Any]:
    attributes = dict(vars(_record(number)))
    attributes |= {"msg": _record(number).getMessage(), "args": None}
    return attributes


def _traceback(number: int) -> bytes:
    line = '  File "/srv/app/releases/20261120/src/app/web/views%d.py", line %d, in handle\n'
    lines = [line % (at, number + at) + f"    answer = handle_{at}(request)\n" for at in range(40)]
    text = "Traceback (most recent call last):\n" + "".join(lines) + "ValueError: no"
    return _stock(_record(number, exc_text=text))


def _one(make: Callable[[int], Any]) -> Make:
    return lambda number: _stock(_record(number, x=make(number)))


def _ten(make: Callable[[int], Any]) -> Make:
    return lambda number: _stock(
        _record(number, **{f"x{at}": make(number * 10 + at) for at in range(10)})
    )


def make_kinds() -> list[Kind]:
    """Make all kinds, the simple one first."""
    kinds = [Kind("simple", lambda number: _stock(_record(number)), targets=(1.0, 1.0))]
    for name, make in _make_values().items():
        kinds.append(Kind(name, _one(make), targets=(3.0, 6.0)))
        kinds.append(Kind(f"ten: {name}", _ten(make), targets=(8.0, 20.0)))
    many = {f"header-{at:03}": f"value {at}" for at in range(300)}
    ordered = collections.OrderedDict(many)
    kinds += [
        Kind("dict of 300 keys", lambda n: _stock(_record(n, x=many)), True, (2.0, 2.0)),
        Kind("OrderedDict of 300", lambda n: _stock(_record(n, x=ordered)), True, (2.0, 2.0)),
        Kind("traceback of 40 frames", _traceback, True, (2.0, 2.0)),
        Kind("JSON", lambda n: json.dumps(_attributes(n)).encode(), targets=(1.5, 3.0)),
        Kind("protocol 0", lambda n: pickle.dumps(_attributes(n), 0)),
        Kind("protocol 5", lambda n: pickle.dumps(_attributes(n), 5)),
        Kind("pickled LogRecord", lambda n: pickle.dumps(_record(n), 4)),
        Kind("LogRecord's __dict__", lambda n: pickle.dumps(vars(_record(n)), 4)),
    ]
    return [*kinds, *_costliest()]


def _costliest() -> Iterator[Kind]:
    """Yield the costliest frame of the corpus that is a record, if the tests are present.

    It is looked for when it is first made: that takes seconds.
    """
    sys.path.append(str(ROOT / "tests" / "support"))
    try:
        import costly
        import frame_cost
        from engines import block_of, decoder
    except ImportError:
        return

    @functools.cache
    def worst() -> bytes:
        found = [*(find.frame for find in costly.load_corpus()), *costly.KNOWN.values()]
        c = decoder("c", "records")
        frames = [frame for frame in found if c.decode(block_of([frame])).records]
        return max(
            frames, key=lambda frame: frame_cost.decoding_cost(c, frame_cost.copies(frame), 1)
        )

    yield Kind("costliest known", lambda number: worst(), True, (40.0, 40.0))
