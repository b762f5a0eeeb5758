"""A sink whose calls are published: others see that a worker waits inside one (see `life.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastlog.errors import ConfigError
from fastlog.sinks import Rejected, Sink
from fastlog.worker.life import SignsOfLife

if TYPE_CHECKING:
    from fastlog.decode import Batch, Decoded, Form


class WatchedSink(Sink):
    """Passes every call on to another sink, and publishes those that may wait."""

    def __init__(self, sink: Sink, signs: SignsOfLife) -> None:
        super().__init__(sink.context)
        self._sink, self._signs = sink, signs
        self.batch_bytes = sink.batch_bytes

    @property
    def form(self) -> Form:  # type: ignore[override]
        """The form of the other sink."""
        return self._sink.form

    @property
    def streams(self) -> bool:  # type: ignore[override]
        """Whether the other sink stores blocks while they are decoded."""
        return self._sink.streams

    def open(self, node: str) -> int:
        """Open the other sink. A `ConfigError` ends the server, and so names the sink."""
        with self._signs.during("open"):
            try:
                return self._sink.open(node)
            except ConfigError as error:
                raise ConfigError(f"sink {self.context.name}: {error}") from error

    def apply(self, blocks: Batch) -> None:
        with self._signs.during("apply"):
            self._sink.apply(blocks)

    def cursor(self) -> int:
        return self._sink.cursor()

    def index(self) -> int | None:
        return self._sink.index()

    def missing(self) -> str:
        with self._signs.during("missing"):
            return self._sink.missing()

    def failing(self) -> dict[str, int]:
        return self._sink.failing()

    def rejections(self) -> list[Rejected]:
        return self._sink.rejections()

    def sync(self) -> int:
        with self._signs.during("sync"):
            return self._sink.sync()

    def tick(self) -> None:
        with self._signs.during("tick"):
            self._sink.tick()

    def offending(self, block: Decoded) -> dict[int, str]:
        with self._signs.during("offending"):
            return self._sink.offending(block)

    def close(self) -> None:
        with self._signs.during("close"):
            self._sink.close()
