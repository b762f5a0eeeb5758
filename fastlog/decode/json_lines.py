"""Records as lines of JSON, as the NDJSON sink stores them.

The plain frames of a block come as lines from C, byte for byte as `encode` writes them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from fastlog.record import Record

_EXTRA: Final = Record._fields.index("extra")
_Line: Any = msgspec.defstruct("_Line", [(name, Any) for name in Record._fields], gc=False)


def encode(record: Record) -> bytes:
    """Return the record as one JSON object without a line feed: its fields by name, in order, with
    `extra` as an object."""
    extra = msgspec.Raw(record.extra.encode())
    return msgspec.json.encode(_Line(*record[:_EXTRA], extra, *record[_EXTRA + 1 :]))
