"""Decoding of blocks from the stream: anybody with the rights may have published them."""

from __future__ import annotations

from fastlog.block import Block
from fastlog.decode import Decoded, Located
from fastlog.record import Rejection
from fastlog.routing import BlockDecoder


class TolerantDecoder:
    """Rejects a block that no fastlog has made as a whole, so that its node is not stuck with it.

    A decoder relies on the layout of a journal's blocks, which have a checksum with a secret.
    """

    def __init__(self, decoder: BlockDecoder) -> None:
        self._decoder = decoder

    def decode(self, block: Block) -> Decoded:
        """Return the records and the notices of a block."""
        try:
            return self._decoder.decode(block)
        except MemoryError:
            raise
        except Exception as error:
            rejection = Rejection(
                peer="",
                reason=f"a block of the stream that no fastlog has made: {error}",
                length=len(block.payload),
                count=max(1, block.frames),
                received=block.received,
            )
            return Decoded(block, [], [Located(0, rejection)])
