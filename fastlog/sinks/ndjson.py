"""Scheme `ndjson`: one JSON object a line, in a file that rotates; exact after a crash.

The cursor file notes how long the lines file was when it was last made durable, and up to which
block. After a crash whatever lies beyond that length is cut and written again. `linesfile.py` has
the file and the steps of a rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fastlog.errors import ConfigError, SinkConflictError
from fastlog.record import Record
from fastlog.sinks import Sink, SinkContext
from fastlog.sinks.linesfile import LinesFile, Rotation
from fastlog.sinks.options import Options

if TYPE_CHECKING:
    from fastlog.decode import Decoded

SYNC_BYTES = 16 << 20
"""Bytes after which the file is synced without being asked, so that little is redone later."""

_EXTRA = Record._fields.index("extra")
_Line: Any = msgspec.defstruct("_Line", [(name, Any) for name in Record._fields], gc=False)


def encode(record: Record) -> bytes:
    """The record as one JSON object without a line end: its names in order, `extra` an object."""
    extra = msgspec.Raw(record.extra.encode())
    return msgspec.json.encode(_Line(*record[:_EXTRA], extra, *record[_EXTRA + 1 :]))


class NdjsonSink(Sink):
    """`ndjson:///file?rotate_size=100MiB&rotate_every=1d&keep=10`. Exactly once."""

    def __init__(self, context: SinkContext) -> None:
        super().__init__(context)
        url = context.url
        if url.netloc or not url.path.startswith("/") or url.path.endswith("/"):
            raise ConfigError(f"expected ndjson:///path/of/file, got {url.geturl()!r}")
        options = Options(url, ["rotate_size", "rotate_every", "keep"])
        rotation = Rotation(
            size=options.size("rotate_size"),
            every=options.duration("rotate_every"),
            keep=options.count("keep"),
        )
        self._lines = LinesFile(Path(url.path), context, rotation)

    def open(self, node: str) -> int:
        return self._lines.open(node)

    def apply(self, blocks: Sequence[Decoded]) -> None:
        if blocks[0].block.offset < self._lines.offset:
            raise SinkConflictError(f"block {blocks[0].block.offset} is written already")
        lines = [encode(record) for decoded in blocks for record in decoded.records]
        lines.append(b"")  # so that the last line ends too
        self._lines.append(b"\n".join(lines), blocks[-1].block.end)
        if self._lines.unsynced >= SYNC_BYTES:
            self._lines.sync()

    def cursor(self) -> int:
        return self._lines.offset

    def sync(self) -> int:
        return self._lines.sync()

    def tick(self) -> None:
        self._lines.tick()

    def offending(self, block: Decoded) -> dict[int, str]:
        reasons: dict[int, str] = {}
        for record in block.records:
            try:
                encode(record)
            except (ValueError, TypeError, msgspec.EncodeError) as error:
                reasons[record.idx] = f"{type(error).__name__}: {error}"
        return reasons

    def close(self) -> None:
        self._lines.close()
