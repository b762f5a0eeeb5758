# -*- coding: utf-8 -*-
"""Records that were dropped: a gap in the sequence numbers."""

from __future__ import absolute_import, division, print_function


MEMORY_FULL, SPOOL_FULL, TOO_LARGE, DAMAGED, NOT_ENCODED, LEFT_AT_EXIT = range(1, 7)
REASONS = {
    MEMORY_FULL: "memory full",
    SPOOL_FULL: "spool full",
    TOO_LARGE: "over the server's limit",
    DAMAGED: "spool damaged",
    NOT_ENCODED: "could not be encoded",
    LEFT_AT_EXIT: "left at exit",
}


class Gap(object):
    """Adjacent records that were dropped, and the reason."""

    __slots__ = ("count", "reason", "t0", "t1")

    def __init__(self, reason, t0, t1=None, count=1):
        self.count = count
        self.reason = reason
        self.t0 = t0  # microseconds since the epoch: when the first was dropped
        self.t1 = t0 if t1 is None else t1

    def __len__(self):
        return 0  # bytes of records

    def grow(self, stamp):
        """Add a record that is dropped at `stamp`."""
        self.count += 1
        self.t1 = max(self.t1, stamp)  # the clock may have been set back


def count_numbers(entry):
    """Return how many numbers a record or a gap takes."""
    return entry.count if entry.__class__ is Gap else 1
