"""The protocol of an engine, and the engine without C.

An engine is the first step of decoding a block. The C engine (`c_engine.py`) translates all pickles
of a block at once. The Python engine translates none: each frame is then read in Python, by the
same code that reads the frames which the C engine leaves to Python. Both give the same records.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

from fastlog.block import Block
from fastlog.core import FALLBACK
from fastlog.decode.columns import ColumnDecoder, Columns

Form = Literal["records", "lines", "columns", "copy", "blocks"]
"""What a block is decoded into: `Record` objects, lines of JSON, columns, or COPY data. In the form
`blocks` it is not decoded (see `undecoded.py`)."""

Row = tuple[Any, ...]
"""The values of a record, in the order of the fields of `Record`."""


class Translation(NamedTuple):
    """What an engine made of a block."""

    verdicts: bytes | None
    """One verdict for each frame, as `core.Translator.block` gives them. None: all frames are
    plain."""
    rows: list[Row]
    """A row for each frame whose verdict is `EXTRA` or `TREE`, and in the form `records` also for
    each plain frame, in order of arrival."""
    lines: bytes
    """In the form `lines`: one line of JSON for each frame, empty where the frame is not plain."""
    columns: Columns | None
    """In the form `columns`: the columns of the plain frames."""
    copy: bytes = b""
    """In the form `copy`: the tuples of the plain frames, as `copy_rows` describes them."""


class Engine(Protocol):
    """Translates the frames of a block."""

    def translate(self, block: Block) -> Translation:
        """Translate the frames of a block."""


class PythonEngine:
    """The engine without C: all frames are left to the fallback."""

    def __init__(self, form: Form = "records") -> None:
        self._form = form

    def translate(self, block: Block) -> Translation:
        """Return the fallback as the verdict of each frame."""
        columns = ColumnDecoder().empty() if self._form == "columns" else None
        return Translation(bytes([FALLBACK]) * block.frames, [], b"\n" * block.frames, columns)
