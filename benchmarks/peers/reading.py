"""What the Python peers share: how a payload is unpickled, and which line a record becomes.

All of them write the object that fastlog's `ndjson:` sink writes, without the two names that are
about its journal.
"""

from __future__ import annotations

import argparse
import io
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

FIELDS = (
    *("created", "levelno", "levelname", "name", "message", "pathname", "filename", "module"),
    *("lineno", "funcName", "process", "processName", "thread", "threadName", "taskName"),
    *("exc_text", "stack_info"),
)
OWN = {*FIELDS, "msg", "args", "exc_info", "msecs", "relativeCreated"}
"""Attributes that logging itself sets: what else there is, is the application's."""

FLUSH_EVERY = 0.1
"""Seconds that a line may wait in memory: as long as fastlog's journal waits for its disk."""
BUFFER = 1 << 20
"""Bytes after which it does not wait."""

Unpickle = Callable[[bytes], dict[str, Any]]


class Restricted(pickle.Unpickler):
    """What the documentation of pickle recommends, with nothing allowed."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"{module}.{name} is forbidden")


def unpickle_restricted(payload: bytes) -> dict[str, Any]:
    return Restricted(io.BytesIO(payload)).load()


def make_line(attributes: dict[str, Any], host: str) -> bytes:
    """The record as a line; `attributes` are those of a LogRecord, with `msg` merged."""
    get = attributes.get
    row = {name: get(name) for name in FIELDS}
    row["message"] = attributes["msg"]
    row["host"] = host
    row["received"] = time.time()
    row["extra"] = {name: value for name, value in attributes.items() if name not in OWN}
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


class Lines:
    """The file: written when a megabyte has come together, or when `flush` is called."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._waiting: list[bytes] = []
        self._size = 0

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    def add(self, line: bytes) -> None:
        self._waiting.append(line)
        self._size += len(line)
        if self._size >= BUFFER:
            self.flush()

    def flush(self) -> None:
        self._file.write(b"".join(self._waiting))
        self._waiting.clear()
        self._size = 0


class Options(NamedTuple):
    """How a peer is started."""

    output: Path
    unpickle: Unpickle
    uvloop: bool


def read_options() -> Options:
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--restricted", action="store_true", help="reject every global")
    parser.add_argument("--uvloop", action="store_true", help="asyncio only")
    options = parser.parse_args()
    unpickle = unpickle_restricted if options.restricted else pickle.loads
    return Options(options.output, unpickle, options.uvloop)
