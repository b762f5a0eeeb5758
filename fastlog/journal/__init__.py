"""The journal: an append-only file of blocks, in segments, that outlives every process.

The receiver's `Journal` writes it and publishes how much is durable; each worker follows it with a
`JournalReader` and leaves its `Position`, by which segments are released.
"""

from fastlog.journal.bell import Bell, Hearing, make_bell
from fastlog.journal.gauge import UNKNOWN, Gauge, Reading
from fastlog.journal.position import Position, read_positions, write_position
from fastlog.journal.reader import JournalReader, SkippedError
from fastlog.journal.recovery import examine
from fastlog.journal.repair import repair
from fastlog.journal.snapshot import Snapshot, read_snapshot
from fastlog.journal.writer import Full, Journal, JournalState

__all__ = [
    "UNKNOWN",
    "Bell",
    "Full",
    "Gauge",
    "Hearing",
    "Journal",
    "JournalReader",
    "JournalState",
    "Position",
    "Reading",
    "SkippedError",
    "Snapshot",
    "examine",
    "make_bell",
    "read_positions",
    "read_snapshot",
    "repair",
    "write_position",
]
