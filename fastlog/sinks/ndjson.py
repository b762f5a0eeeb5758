"""Scheme `ndjson`: one JSON object a line, in a file that rotates; exact after a crash.

The cursor file holds the length that the file had when it was last made durable, and the block up
to which it was written. After a crash everything beyond that length is cut off and written again.
`line_file.py` has the file and the steps of a rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fastlog.config.urls import suggest_path
from fastlog.errors import ConfigError, SinkConflictError
from fastlog.sinks import Sink, SinkContext
from fastlog.sinks.line_file import LineFile, Rotation
from fastlog.sinks.options import Options

if TYPE_CHECKING:
    from fastlog.decode import Decoded

SYNC_BYTES = 16 << 20
"""Unsynced bytes after which `apply` syncs, so that little is written again after a crash."""


class NdjsonSink(Sink):
    """`ndjson:///file?rotate_size=100MiB&rotate_every=1d&keep=10`. Exactly once."""

    form = "lines"

    def __init__(self, context: SinkContext) -> None:
        super().__init__(context)
        url = context.url
        if url.netloc or not url.path.startswith("/") or url.path.endswith("/"):
            hint = suggest_path(url)
            raise ConfigError(f"expected ndjson:///path/of/file, got {url.geturl()!r}{hint}")
        options = Options(url, ["rotate_size", "rotate_every", "keep"])
        rotation = Rotation(
            size=options.size("rotate_size"),
            every=options.duration("rotate_every"),
            keep=options.count("keep"),
        )
        self._file = LineFile(Path(url.path), context, rotation)

    def open(self, node: str) -> int:
        return self._file.open(node)

    def apply(self, blocks: Sequence[Decoded]) -> None:
        if blocks[0].block.offset < self._file.offset:
            raise SinkConflictError(f"block {blocks[0].block.offset} is written already")
        self._file.append([each.lines for each in blocks], blocks[-1].block.end)
        if self._file.unsynced >= SYNC_BYTES:
            self._file.sync()

    def cursor(self) -> int:
        return self._file.offset

    def sync(self) -> int:
        return self._file.sync()

    def tick(self) -> None:
        self._file.tick()

    def close(self) -> None:
        self._file.close()
