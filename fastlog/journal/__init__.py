"""The journal: an append-only file of blocks, in segments, that outlives every process.

The receiver's `Journal` writes it and publishes how much is durable; each worker follows it with a
`JournalReader` and leaves its `Position`, by which segments are released.
"""

from fastlog.journal.position import Position, read_positions, write_position
from fastlog.journal.reader import JournalReader, SkippedError
from fastlog.journal.repair import repair
from fastlog.journal.writer import Full, Journal, JournalState

__all__ = [
    "Full",
    "Journal",
    "JournalReader",
    "JournalState",
    "Position",
    "SkippedError",
    "read_positions",
    "repair",
    "write_position",
]
