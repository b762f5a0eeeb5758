"""The journal: an append-only file of blocks, in segments, that outlives every process.

The receiver's `Journal` writes it and publishes the durable offset. Each worker follows it with a
`JournalReader` and writes its `SinkPosition`, which decides which segments may be deleted.
"""

from fastlog.journal.dump import dump
from fastlog.journal.journal import Full, Journal, JournalState
from fastlog.journal.progress_page import UNKNOWN, ProgressPage, Reading
from fastlog.journal.reader import JournalReader, SkippedError
from fastlog.journal.recovery import examine
from fastlog.journal.repair import repair
from fastlog.journal.sink_position import (
    COMMIT_BOUNDS,
    CommitTimes,
    LeftOut,
    SinkPosition,
    read_position,
    read_positions,
    write_position,
)
from fastlog.journal.snapshot import Snapshot, read_snapshot
from fastlog.journal.wakeup import Wakeup, WakeupReader, make_wakeup

__all__ = [
    "COMMIT_BOUNDS",
    "UNKNOWN",
    "CommitTimes",
    "Full",
    "Journal",
    "JournalReader",
    "JournalState",
    "LeftOut",
    "ProgressPage",
    "Reading",
    "SinkPosition",
    "SkippedError",
    "Snapshot",
    "Wakeup",
    "WakeupReader",
    "dump",
    "examine",
    "make_wakeup",
    "read_position",
    "read_positions",
    "read_snapshot",
    "repair",
    "write_position",
]
