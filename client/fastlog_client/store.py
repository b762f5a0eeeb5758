# -*- coding: utf-8 -*-
"""What every store of records does: sequence numbers, and changes that survive an exception."""

from __future__ import absolute_import, division, print_function

import collections
import os

from fastlog_client.gap import REASONS

OVERHEAD = 64
"""Bytes that a record takes in memory beside its own."""
BATCH_RECORDS = 4096
_REPORT_LIMIT = 64
"""Reports of a store that wait to be made; what comes beyond says the same."""
NO_SERVER = b"\0" * 16


class Store(object):
    """Records in their order, numbered from 1 on; `first` is the oldest that is not acknowledged.

    `first` <= `cursor` <= `sent` <= `next`; this connection has sent what is below `cursor`, and
    under this client id nothing from `sent` on was ever sent: an acknowledgement of that is wrong.
    Numbers never change. A client with a new id begins with sequence 1 again: `shift` is what
    numbers are ahead of sequences then. Not thread-safe: whoever calls it holds its guard.

    An exception of a signal handler may end each of these between two bytecodes. `recover`
    completes what it has interrupted; nothing else is called before that.
    """

    persistent = False
    outlives_process = False  # whether what is in it now is kept when the process ends

    def __init__(self):
        self.client_id = os.urandom(16)
        self.incarnation = 1
        self.acked_by = NO_SERVER  # the server that acknowledged last
        self.first = self.cursor = self.sent = self.next = 1
        self.shift = 0
        self.bytes = 0  # that it takes
        self.dropped = dict.fromkeys(REASONS, 0)  # records by reason
        self.gaps = 0
        self.new_gap_reasons = collections.deque(
            maxlen=_REPORT_LIMIT
        )  # reasons; whoever reports removes them
        self.reports = collections.deque(
            maxlen=_REPORT_LIMIT
        )  # (text, error) to report, removed likewise

    def _count_gap(self, reason, is_new, count=1):
        self.dropped[reason] += count
        if is_new:
            self.gaps += 1
            self.new_gap_reasons.append(reason)

    def renumber(self, claimed=None):
        """Become another client: what is left has the sequences from 1 on.

        Args:
            claimed: the last number that the server said it has, if that is known.

        Returns:
            How many of the numbers that are left were sent under the old id, or may have been: the
            server may store them twice.
        """
        end = self.sent if claimed is None else min(claimed + 1, self.next)
        doubtful = max(0, max(end, self.sent) - self.first)
        self.client_id = os.urandom(16)
        self.acked_by = NO_SERVER
        self.shift = self.first - 1
        self.sent = self.first
        self._unsend()
        return doubtful

    def check(self, now):
        """Notice what has happened to it from outside. Call repeatedly."""

    def save(self):
        """Put into files what is in memory only, where that is possible."""

    def count_unsaved(self):
        """How many records would be lost if the process ended now."""
        return self.pending

    # A change of several steps is written down before the first. Each step leaves as it is what
    # was done already, so the change can be made again from the beginning.

    _change = None  # (function, arguments), while it is being made

    def _make_change(self, function, *args):
        self._change = (function, args)
        function(*args)
        self._change = None

    def _complete_change(self):
        if self._change is not None:
            function, args = self._change
            function(*args)
            self._change = None
