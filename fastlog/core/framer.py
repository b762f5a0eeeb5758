"""The framer and the checksum, without I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastlog._core import ffi, lib
from fastlog.core.errors import error_text
from fastlog.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]  # Python 3.12

FRAME_LIMIT: int = lib.FL_FRAME_LIMIT
"""The largest frame that the protocol allows, in bytes: 16 MiB - 1."""

_BATCH = 64


def crc32c(data: Buffer, crc: int = 0) -> int:
    """Return the CRC-32C (Castagnoli) of `data`, continued from `crc`. Releases the GIL."""
    view = ffi.from_buffer(data)
    return int(lib.fl_crc32c(crc, view, len(view)))


class Framer:
    """A splitter of a stream of length-prefixed frames. The stream may come in any pieces.

    It does no I/O, so it can be used with threads, selectors and asyncio::

        framer = Framer()
        while data := sock.recv(65536):
            for frame in framer.feed(data):
                handle(frame)
        framer.end()

    A frame is a big-endian u32 length and that many bytes. Memory for an incomplete frame grows
    with the bytes that arrive, never by the length that the frame announces.

    Args:
        max_frame: The largest accepted frame in bytes, 1 to `FRAME_LIMIT`.

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
        """Return the frames that these bytes complete, without their length fields.

        Raises:
            FrameError: A frame is over the limit. If complete frames precede it, this call returns
                them and the next one raises; from then on every call raises.
        """
        lent = ffi.from_buffer(data)  # must live until the last call of fl_framer_next()
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
        """Check that the stream has ended between frames.

        Raises:
            FrameError: It ended inside a frame, or an earlier call has raised.
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
