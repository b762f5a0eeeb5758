"""The C engine: the C translator's pickle, read by `pickle.loads`.

This is the only file that uses an unpickler, and it reads no byte from the network: it reads the
pickle that `csrc/translate/translator.c` wrote, which holds data and no names to import. Tests
check both.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Final, Literal, get_type_hints

from fastlog.block import Block
from fastlog.core import Bounds, Column, Translator
from fastlog.decode.bounds import (
    DEPTH,
    NODES,
    NODES_MORE,
    WEIGHT,
    WEIGHT_MORE,
    WEIGHT_TIMES,
)
from fastlog.decode.classes import READERS
from fastlog.decode.columns import GROUPS, ColumnDecoder
from fastlog.decode.copy_rows import NO_NODE
from fastlog.decode.copyreg_helpers import HELPERS
from fastlog.decode.engine import Form, Translation
from fastlog.decode.inert_tree import RENAMED
from fastlog.decode.validation import (
    ARGS,
    DROPPED,
    DROPPED_IF_EMPTY,
    LEVEL,
    NESTED,
    TIMES,
    TRACES,
    TWIN,
)
from fastlog.decode.work import CONTAINER, ESCAPE, KEY, OBJECT, VALUE, WORK_MORE, WORK_TIMES
from fastlog.record import Record

_KINDS: Final = {float: "time", int | None: "integer", str | None: "text", str: "message"}
_NOT_SENT: Final = ("host", "certificate", "received", "extra", "offset", "idx")
"""The columns that no attribute fills. The translator's kind of each has the column's name."""

_FORMS: Final[dict[Form, Literal["rows", "lines", "columns", "copy"]]] = {
    "records": "rows",
    "lines": "lines",
    "columns": "columns",
    "copy": "copy",
}
"""The form of the translator for each form of decoding."""

RECURRING: Final = frozenset(
    {
        *("levelname", "name", "pathname", "filename", "module", "funcName"),
        *("process", "processName", "thread", "threadName", "taskName"),
        *("host", "certificate", "received", "extra", "offset"),
    }
)
"""The columns that have the same few values in most records of a block."""

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
    """Return the columns of `Record` by the names under which clients send them, then the
    attributes that have no column."""
    for name, annotation in get_type_hints(Record).items():
        kind = name if name in _NOT_SENT else _KINDS[annotation]
        kind = "trace" if name in TRACES else kind
        sent = "msg" if kind == "message" else name
        group = next((n for n, fields in enumerate(GROUPS, 1) if name in fields), 0)
        yield Column(sent, kind, name in RECURRING, name in LEVEL, name, group)
    yield from (Column(name, "silent") for name in DROPPED)
    for name in DROPPED_IF_EMPTY:
        yield Column(name, "args" if name == ARGS else "empty")
    yield Column(TWIN, "twin")
    yield Column(NESTED, "nested")


def meanings() -> Iterator[str]:
    """Return the classes that the table knows, and the modules whose classes have other names in
    Python 3."""
    yield from READERS
    yield from HELPERS
    yield from (f"{module}:" for module in RENAMED)


class CEngine:
    """Translates the pickles of a block with the C translator; JSON is left to the fallback."""

    def __init__(self, form: Form = "records", node: bytes = NO_NODE) -> None:
        self._translator = Translator(columns(), BOUNDS, meanings(), form=_FORMS[form], node=node)
        self._columns = ColumnDecoder() if form == "columns" else None

    def translate(self, block: Block) -> Translation:
        """Translate the frames of a block."""
        self._translator.begin(block.received, block.offset)
        verdicts = self._translator.block(block.payload, block.frames)
        translation = self._translator.end()
        try:
            rows = pickle.loads(translation.rows)  # noqa: S301  # our own pickle, data only
            columns = None
            if self._columns is not None:
                translated = pickle.loads(translation.columns)  # noqa: S301
                columns = self._columns.read(translated, bytes(translation.text))
        except BaseException:
            self._translator.begin(0.0, 0)  # its new combinations were not read: it starts again
            raise
        lines, copy = bytes(translation.lines), bytes(translation.copy)
        return Translation(verdicts, rows, lines, columns, copy)
