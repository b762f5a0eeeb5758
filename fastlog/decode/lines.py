"""Records as lines of JSON, as the NDJSON sink writes them.

The plain frames of a block come as lines from C, to the byte as `encode` would write them; the
records that were read one by one are put between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from fastlog.record import Record

Form = Literal["records", "lines"]
"""What a block is decoded into."""

_EXTRA: Final = Record._fields.index("extra")
_Line: Any = msgspec.defstruct("_Line", [(name, Any) for name in Record._fields], gc=False)


def encode(record: Record) -> bytes:
    """The record as one JSON object without a line end: its names in order, `extra` an object."""
    extra = msgspec.Raw(record.extra.encode())
    return msgspec.json.encode(_Line(*record[:_EXTRA], extra, *record[_EXTRA + 1 :]))


def splice(lines: bytes, others: Mapping[int, bytes]) -> bytes:
    """Put lines where they belong between others, and take out the empty ones.

    Args:
        lines: one for each frame of the block, empty where the frame was set aside.
        others: the records of such frames, by `idx`, as `encode` writes them.
    """
    each = lines.split(b"\n")
    for idx, line in others.items():
        each[idx] = line
    return b"".join([line + b"\n" for line in each if line])
