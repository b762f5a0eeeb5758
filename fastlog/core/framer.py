"""Frames out of a stream, and their checksum: no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastlog._core import ffi, lib
from fastlog.core.errors import error_text
from fastlog.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]  # Python 3.12

FRAME_LIMIT: int = lib.FL_FRAME_LIMIT
"""The largest frame that the protocol can carry, in bytes (16 MiB - 1)."""

_BATCH = 64


def crc32c(data: Buffer, crc: int = 0) -> int:
    """CRC-32C (Castagnoli) of `data`, continuing from `crc`. Releases the GIL."""
    view = ffi.from_buffer(data)
    return int(lib.fl_crc32c(crc, view, len(view)))


class Framer:
    """Splits a stream of length-prefixed frames: bytes in, in any pieces; frames out.

    It does no I/O, so it serves a thread, a selector and asyncio alike::

        framer = Framer()
        while data := sock.recv(65536):
            for frame in framer.feed(data):
                handle(frame)
        framer.end()

    A frame is a big-endian u32 length and that many bytes. Memory for an incomplete frame grows
    with what has arrived, never by what its length announces.

    Args:
        max_frame: The largest frame that is accepted, in bytes; 1 to `FRAME_LIMIT`.

    Raises:
        ValueError: `max_frame` is out of range.
    """

    def __init__(self, max_frame: int = 1 << 20) -> None:
        if not 1 <= max_frame <= FRAME_LIMIT:
            raise ValueError(f"max_frame must be 1 to {FRAME_LIMIT}, got {max_frame}")
        framer = lib.fl_framer_new(max_frame)
        if framer == ffi.NULL:
            raise MemoryError
        self.max_frame = max_frame
        self._framer = ffi.gc(framer, lib.fl_framer_free)
        self._frames = ffi.new("fl_frame[]", _BATCH)

    def feed(self, data: Buffer) -> list[bytes]:
        """Takes more of the stream and returns the frames that it completes, without their lengths.

        Raises:
            FrameError: A frame is over the limit. An error behind complete frames is raised by
                the next call, so that those are not lost; from then on every call raises it.
        """
        lent = ffi.from_buffer(data)  # must live until the last fl_framer_next()
        self._check(lib.fl_framer_feed(self._framer, lent, len(lent)))
        frames: list[bytes] = []
        while (n := lib.fl_framer_next(self._framer, self._frames, _BATCH)) > 0:
            for i in range(n):
                frame = self._frames[i]
                frames.append(ffi.buffer(frame.data, frame.len)[:])
        if not frames:
            self._check(n)
        return frames

    def end(self) -> None:
        """Says that the stream has ended.

        Raises:
            FrameError: It ended inside a frame, or had failed before.
        """
        self._check(lib.fl_framer_end(self._framer))

    def _check(self, result: int) -> None:
        if result >= 0:
            return
        if result == lib.FL_ENOMEM:
            raise MemoryError
        text = error_text(result)
        if result == lib.FL_ETOOLONG:
            text = f"{text} of {self.max_frame} bytes"
        raise FrameError(text)
