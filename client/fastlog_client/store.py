# -*- coding: utf-8 -*-
"""The base of both stores: sequence numbers, and changes that an exception may interrupt."""

from __future__ import absolute_import, division, print_function

import collections
import hashlib
import os

from fastlog_client.gap import REASONS

OVERHEAD = 64
"""Bytes that a record takes in memory in addition to its own."""
BATCH_RECORDS = 4096
_REPORT_LIMIT = 64
"""Reports of a store that may wait: a further one would repeat one of these."""
NO_SERVER = b"\0" * 16


class Store(object):
    """Records in their order, numbered from 1 on; `first` is the oldest that is not acknowledged.

    `first` <= `cursor` <= `sent` <= `next`; this connection has sent what is below `cursor`, and
    under this client id nothing from `sent` on was ever sent: an acknowledgement of that is wrong.
    Numbers never change. A client with a new id begins with sequence 1 again: `shift` is what
    numbers are ahead of sequences then. Not thread-safe: the caller holds the guard.

    An exception of a signal handler may end each of its methods between two bytecodes. `recover`
    completes the interrupted change; it must be called before any other method.
    """

    persistent = False
    outlives_process = False  # whether the records in it are kept when the process ends now

    def __init__(self):
        self.client_id = os.urandom(16)
        self.incarnation = 1
        self.acked_by = NO_SERVER  # the server that acknowledged last
        self.first = self.cursor = self.sent = self.next = 1
        self.shift = 0
        self.bytes = 0  # that the records take
        self.dropped = dict.fromkeys(REASONS, 0)  # records by reason
        self.gaps = 0
        # To be reported; the reader removes them: reasons of new gaps, and (text, error).
        self.new_gap_reasons = collections.deque(maxlen=_REPORT_LIMIT)
        self.reports = collections.deque(maxlen=_REPORT_LIMIT)

    @property
    def public_name(self):
        """The name of the client in the log and the ledger of the server; not usable as an id."""
        return hashlib.sha256(self.client_id).hexdigest()[:8]

    def _count_gap(self, reason, is_new, count=1):
        self.dropped[reason] += count
        if is_new:
            self.gaps += 1
            self.new_gap_reasons.append(reason)

    def renumber(self, claimed=None):
        """Take a new client id: the remaining records have the sequences from 1 on.

        Args:
            claimed: the last number that the server claimed to have, if that is known.

        Returns:
            How many of the remaining numbers were sent under the old id, or may have been: the
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
        """Detect changes by other programs. Call repeatedly."""

    def save(self):
        """Write to files what is in memory only, where that is possible."""

    def count_unsaved(self):
        """Return how many records would be lost if the process ended now."""
        return self.pending

    # A change of several steps is noted before the first step. Each step has no effect when it is
    # repeated, so the change can be repeated from the beginning.

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
