"""Blocks for sinks that pass them on as they are: only what the receiver noted is read."""

from __future__ import annotations

from fastlog.block import RECORDS, Block, runs
from fastlog.decode.decoder import Decoded
from fastlog.decode.notices import Located, notices_of


class BlockReader:
    """Reads no record: whoever gets the block decodes it, and has what cannot be read."""

    def decode(self, block: Block) -> Decoded:
        """Return the block with its losses, and with what the receiver rejected."""
        notices: list[Located] = []
        idx = 0
        for run in runs(block.payload):
            if run.kind not in RECORDS:
                notices += notices_of(block, run, idx)
            idx += run.frames
        return Decoded(block, [], notices)
