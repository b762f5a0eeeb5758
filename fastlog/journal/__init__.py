"""The journal: an append-only file of blocks, in segments, that outlives every process.

The receiver's `Journal` writes it and publishes how much is durable; each worker follows it with a
`JournalReader` and leaves its `Position`, by which segments are released.
"""

from fastlog.journal.position import Position, read_positions, write_position
from fastlog.journal.progress_page import UNKNOWN, ProgressPage, Reading
from fastlog.journal.reader import JournalReader, SkippedError
from fastlog.journal.recovery import examine
from fastlog.journal.repair import repair
from fastlog.journal.snapshot import Snapshot, read_snapshot
from fastlog.journal.wakeup import Wakeup, WakeupReader, make_wakeup
from fastlog.journal.writer import Full, Journal, JournalState

__all__ = [
    "UNKNOWN",
    "Full",
    "Journal",
    "JournalReader",
    "JournalState",
    "Position",
    "ProgressPage",
    "Reading",
    "SkippedError",
    "Snapshot",
    "Wakeup",
    "WakeupReader",
    "examine",
    "make_wakeup",
    "read_positions",
    "read_snapshot",
    "repair",
    "write_position",
]
