"""The shared parts of the Python peers: unpickling a payload, and formatting a record as a line.

They write the object that fastlog's `ndjson:` sink writes, without the two fields of its journal.
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
"""Attributes that logging sets. All others are set by the application."""

FLUSH_EVERY = 0.1
"""Seconds that a line may stay in memory: as long as fastlog's journal delays a sync."""
BUFFER = 1 << 20
"""Bytes at which lines are written at once."""

Unpickle = Callable[[bytes], dict[str, Any]]


class Restricted(pickle.Unpickler):
    """The restricted Unpickler of the pickle documentation, with no class allowed."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"{module}.{name} is forbidden")


def unpickle_restricted(payload: bytes) -> dict[str, Any]:
    return Restricted(io.BytesIO(payload)).load()


def make_line(attributes: dict[str, Any], host: str) -> bytes:
    """Return the record as a line; `attributes` are those of a LogRecord, with `msg` merged."""
    get = attributes.get
    row = {name: get(name) for name in FIELDS}
    row["message"] = attributes["msg"]
    row["host"] = host
    row["received"] = time.time()
    row["extra"] = {name: value for name, value in attributes.items() if name not in OWN}
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


class Lines:
    """The output file, written at a megabyte, or when `flush` is called."""

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
    """The arguments of a peer."""

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
