"""Records out of plain frames, many at once: the C translator's pickle, read by `pickle.loads`.

This is the only file that knows an unpickler, and no byte from the network reaches it: what it
reads is the pickle that `csrc/repack.c` wrote, which holds the data of those frames and no names to
import. Tests hold both. Where the sink wants lines, there is no pickle at all.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import partial
from typing import Final, get_type_hints

from fastlog.block import Block
from fastlog.core import Bounds, Column, Repacker
from fastlog.decode.lines import Form
from fastlog.decode.normal import (
    DEPTH,
    NODES,
    NODES_MORE,
    WEIGHT,
    WEIGHT_MORE,
    WEIGHT_TIMES,
)
from fastlog.record import (
    LEVEL,
    RECURRING,
    SILENT,
    SILENT_IF_EMPTY,
    TIMES,
    TRACES,
    TWIN,
    Record,
)

_KINDS: Final = {float: "time", int | None: "integer", str | None: "text", str: "message"}
_OWN: Final = ("host", "received", "extra", "offset", "idx")
"""The columns that no attribute fills; they are called as their kinds are."""

BOUNDS: Final = Bounds(DEPTH, NODES, NODES_MORE, WEIGHT, WEIGHT_TIMES, WEIGHT_MORE, TIMES)


def columns() -> Iterator[Column]:
    """The columns of `Record`, by the names under which clients send them, and what has none."""
    for name, annotation in get_type_hints(Record).items():
        kind = name if name in _OWN else _KINDS[annotation]
        kind = "trace" if name in TRACES else kind
        sent = "msg" if kind == "message" else name
        yield Column(sent, kind, name in RECURRING, name in LEVEL, key=name)
    yield from (Column(name, "silent") for name in SILENT)
    yield from (Column(name, "empty") for name in SILENT_IF_EMPTY)
    yield Column(TWIN, "twin")


class Translator:
    """Reads the plain frames of a block: a `decoder.PlainReader`."""

    def __init__(self, form: Form = "records") -> None:
        self._repacker = Repacker(columns(), BOUNDS, lines=form == "lines")

    def block(self, block: Block) -> bytes | None:
        """Take a block; answers what became of each frame, or None: all are plain."""
        self._repacker.begin(block.received, block.offset)
        return self._repacker.block(block.payload, block.frames)

    def records(self) -> list[Record]:
        """End the block: the records of all plain frames, in order."""
        rows = pickle.loads(self._repacker.end())  # noqa: S301  # our own pickle, data only
        return list(map(_RECORD, rows))

    def lines(self) -> bytes:
        """End the block: a line of JSON for each frame, empty where it is not plain."""
        return bytes(self._repacker.end())


_RECORD: Final = partial(tuple.__new__, Record)  # Record._make would count the values once more
