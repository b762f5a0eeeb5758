"""The bounds of the ledger: no client can make it grow beyond them."""

from __future__ import annotations

HOST_ROWS_PER_SECOND = 10
"""Rows of their own that one host gets in one second; its other entries share one more row."""
ROWS_PER_SECOND = 100
"""Rows that all hosts together get in one second; the other entries share one row per reason."""
REASONS_PER_SECOND = 10
"""Reasons that have such a row; entries with further reasons share a row of `VARIOUS`."""
MAX_ROWS = 100_000
"""Rows that a table keeps; older ones become one sum per reason."""
MAX_SUMS = 1000
"""Reasons that have a sum; further reasons share the sum of `VARIOUS`."""
RAW_ROWS = 10_000
"""The newest rejections that keep their first bytes; older ones keep the other columns."""
VARIOUS = "various reasons"

MAX_COUNT = 1 << 53
"""The greatest count of a row: any reader of JSON takes it, and sums do not overflow."""
MAX_TEXT = 400
"""Characters of a reason, a peer or a detail that are kept."""
MAX_CURSORS = 1000
"""Pairs of journal and sink whose offset the ledger keeps; the least recently used is deleted."""
CLOCK_STEP_BACK = 60
"""Seconds that the clock may be set back without beginning a new second."""
