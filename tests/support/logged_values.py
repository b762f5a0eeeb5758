"""Values that applications log, and the records that are made of them."""

from __future__ import annotations

import datetime
import enum
import json
import zoneinfo
from typing import Any

from fastlog.decode import read_record
from fastlog.record import Record


def record_of(frame: bytes) -> Record:
    return read_record(frame, host="h", received=1.0, offset=2, idx=3)


def extra_of(frame: bytes) -> Any:
    return json.loads(record_of(frame).extra)


class Level(enum.IntEnum):
    NOTICE = 25


class Text(str):
    __slots__ = ()


class Number(int):
    pass


MOMENT = datetime.datetime(2026, 11, 23, 14, 5, 6)
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
