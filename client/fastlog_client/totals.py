# -*- coding: utf-8 -*-
"""Counts of what became of the records."""

from __future__ import absolute_import, division, print_function

from fastlog_client.gap import REASONS


def no_totals():
    """Return totals of zero."""
    names = ("emitted", "acked", "pending", "pending_bytes", "spool_bytes", "gaps")
    totals = dict.fromkeys(names + ("sent_batches", "resent_records", "connections", "new_ids"), 0)
    totals["dropped"] = dict.fromkeys(REASONS.values(), 0)
    return totals


def totals_of(store, connection):
    """Return the totals of a store and its connection."""
    totals = no_totals()
    pending = store.pending
    totals["dropped"] = {REASONS[reason]: n for reason, n in store.dropped.items()}
    totals["emitted"] = store.next - 1
    totals["pending"] = pending
    totals["acked"] = store.next - 1 - pending - sum(store.dropped.values())
    totals["spool_bytes" if store.outlives_process else "pending_bytes"] = store.bytes
    totals["gaps"] = store.gaps
    totals["sent_batches"] = connection.batches
    totals["resent_records"] = connection.resent
    totals["connections"] = connection.connections
    totals["new_ids"] = connection.new_ids
    return totals


def add_totals(some, others):
    """Return the sums of two totals."""
    total = {name: some[name] + others[name] for name in some if name != "dropped"}
    dropped, more = some["dropped"], others["dropped"]
    total["dropped"] = {reason: dropped[reason] + more[reason] for reason in dropped}
    return total
