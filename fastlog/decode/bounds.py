"""The bounds of a record in normal form."""

from __future__ import annotations

DEPTH = 32
"""Containers inside each other, the record itself not counted."""
NODES = 20_000
"""Values of a record."""
NODES_MORE = 64
WEIGHT = 1 << 20
"""Bytes of a record's texts and of its `extra`, as JSON writes them."""
WEIGHT_TIMES = 8
WEIGHT_MORE = 448
"""A line of NDJSON takes at most 576 bytes for names, numbers and nulls: 1 KiB together."""


def stored_limit(length: int) -> int:
    """Return how many bytes, as JSON writes them, a frame of `length` bytes may become.

    Aliases and escapes make a record larger than its frame. Short frames that take much room on
    the disk would displace the records of other clients.
    """
    return WEIGHT_TIMES * length + WEIGHT_MORE


def weight_limit(length: int) -> int:
    """Return the bytes that the values in a frame of `length` bytes may take, as JSON writes them;
    cut marks and notes are not counted."""
    return min(WEIGHT, stored_limit(length))


def node_limit(length: int) -> int:
    """Return how many values a frame of `length` bytes may become.

    A value takes one byte or more, so only a frame whose containers are shared, and shared again,
    can mean more values than that: 300 bytes would be 20 ms of work.
    """
    return min(NODES, length + NODES_MORE)
