"""Python classes for the C module. Only this package imports `ffi` and `lib`.

`Framer`, `Translator` and `crc32c` work on every system, `Loop` on Linux only.
"""

from fastlog.core.framer import FRAME_LIMIT, Framer, crc32c
from fastlog.core.loop import FRAME_WEIGHT, Loop
from fastlog.core.loop_values import (
    Ended,
    ExportedConnection,
    Hello,
    LoopRejection,
    LoopStats,
    PollResult,
    Proof,
)
from fastlog.core.translator import (
    EXTRA,
    FALLBACK,
    PLAIN,
    TREE,
    Bounds,
    Column,
    Translator,
    verdict_text,
)

__all__ = [
    "EXTRA",
    "FALLBACK",
    "FRAME_LIMIT",
    "FRAME_WEIGHT",
    "PLAIN",
    "TREE",
    "Bounds",
    "Column",
    "Ended",
    "ExportedConnection",
    "Framer",
    "Hello",
    "Loop",
    "LoopRejection",
    "LoopStats",
    "PollResult",
    "Proof",
    "Translator",
    "crc32c",
    "verdict_text",
]
