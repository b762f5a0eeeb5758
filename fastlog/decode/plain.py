"""The rows of a block, many at once: the C translator's pickle, read by `pickle.loads`.

This is the only file that knows an unpickler, and no byte from the network reaches it: what it
reads is the pickle that `csrc/translate/translator.c` wrote, which holds data and no names to
import. Tests hold both.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any, Final, get_type_hints

from fastlog.block import Block
from fastlog.core import Bounds, Column, Translator
from fastlog.decode.lines import Form
from fastlog.decode.nodes import RENAMED
from fastlog.decode.normal import (
    DEPTH,
    NODES,
    NODES_MORE,
    WEIGHT,
    WEIGHT_MORE,
    WEIGHT_TIMES,
)
from fastlog.decode.objects import READERS
from fastlog.decode.shapes import CONTAINER, ESCAPE, KEY, OBJECT, VALUE, WORK_MORE, WORK_TIMES
from fastlog.decode.unwrapping import HELPERS
from fastlog.record import (
    ARGS,
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

BOUNDS: Final = Bounds(
    depth=DEPTH,
    nodes=NODES,
    nodes_more=NODES_MORE,
    weight=WEIGHT,
    weight_times=WEIGHT_TIMES,
    weight_more=WEIGHT_MORE,
    work_times=WORK_TIMES,
    work_more=WORK_MORE,
    value=VALUE,
    container=CONTAINER,
    object=OBJECT,
    key=KEY,
    escape=ESCAPE,
    times=TIMES,
)


def columns() -> Iterator[Column]:
    """The columns of `Record`, by the names under which clients send them, and what has none."""
    for name, annotation in get_type_hints(Record).items():
        kind = name if name in _OWN else _KINDS[annotation]
        kind = "trace" if name in TRACES else kind
        sent = "msg" if kind == "message" else name
        yield Column(sent, kind, name in RECURRING, name in LEVEL, key=name)
    yield from (Column(name, "silent") for name in SILENT)
    for name in SILENT_IF_EMPTY:
        yield Column(name, "args" if name == ARGS else "empty")
    yield Column(TWIN, "twin")


def meanings() -> Iterator[str]:
    """The classes that the table knows, and the modules whose classes have other names today."""
    yield from READERS
    yield from HELPERS
    yield from (f"{module}:" for module in RENAMED)


class PlainReader:
    """Reads the frames of a block, but for those that are JSON: a `decoder.FrameReader`."""

    def __init__(self, form: Form = "records") -> None:
        self._translator = Translator(columns(), BOUNDS, meanings(), lines=form == "lines")

    def block(self, block: Block) -> bytes | None:
        """Take a block; answers what became of each frame, or None: all are plain."""
        self._translator.begin(block.received, block.offset)
        return self._translator.block(block.payload, block.frames)

    def end(self) -> tuple[list[tuple[Any, ...]], bytes]:
        """End the block: its rows, and its lines where these were asked for."""
        translation = self._translator.end()
        rows = pickle.loads(translation.rows)  # noqa: S301  # our own pickle, data only
        return rows, bytes(translation.lines)
