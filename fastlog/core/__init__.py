"""The C module, in Python's terms: the only folder that sees `ffi` and `lib`.

`Framer`, `Repacker` and `crc32c` are everywhere; `Loop` is Linux only.
"""

from fastlog.core.framer import FRAME_LIMIT, Framer, crc32c
from fastlog.core.loop import (
    FRAME_WEIGHT,
    Ended,
    Handed,
    Hello,
    Loop,
    LoopStats,
    Proof,
    Refusal,
    Turn,
)
from fastlog.core.repacker import (
    EXTRA,
    FOREIGN,
    PLAIN,
    TREE,
    Bounds,
    Column,
    Repacker,
    verdict_text,
)

__all__ = [
    "EXTRA",
    "FOREIGN",
    "FRAME_LIMIT",
    "FRAME_WEIGHT",
    "PLAIN",
    "TREE",
    "Bounds",
    "Column",
    "Ended",
    "Framer",
    "Handed",
    "Hello",
    "Loop",
    "LoopStats",
    "Proof",
    "Refusal",
    "Repacker",
    "Turn",
    "crc32c",
    "verdict_text",
]
