# -*- coding: utf-8 -*-
"""The state that all handlers of a process share, the end of the process, and its forks."""

from __future__ import absolute_import, division, print_function

import atexit
import logging  # noqa: F401 - its exit and fork handlers must be registered before ours
import os
import sys
import threading
import weakref

from fastlog_client.compat import HAS_FORK_HOOKS

outboxes = weakref.WeakSet()  # of all handlers


class Process(object):
    """The state that all handlers of a process share."""

    def __init__(self):
        self.begin()

    def begin(self):
        """Begin with nothing, in a new process."""
        self.is_ending = False  # its exit handlers run, or have run
        self.waited = 0.0  # seconds that it has waited for servers since
        self.sending = (
            set()
        )  # outboxes that may have something to send: no other reference may exist
        self.worker_hook = None


process = Process()


def end_of_process():
    """Send what is left, of all handlers at the same time."""
    process.is_ending = True
    sending = list(process.sending)
    for outbox in sending:
        outbox.check_process()
        outbox.finish_soon()
    for outbox in sending:
        outbox.finish()


# Exit handlers run in reverse order: this one before logging.shutdown(), which closes only the
# handlers that logging knows. dictConfig() makes it forget those that were there before.
atexit.register(end_of_process)


def call_at_end_of_worker():
    """Register `end_of_process` in a child of multiprocessing too: that ends without atexit."""
    processes = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    if processes and util and type(processes.current_process()).__name__ != "_MainProcess":
        hook = process.worker_hook
        if hook is None or not hook.still_active():
            process.worker_hook = util.Finalize(None, end_of_process, exitpriority=-100)


def is_thread_starting():
    """Return whether the lock of threading that a start needs is taken, perhaps by the code that
    this thread has interrupted.
    """
    lock = getattr(threading, "_active_limbo_lock", None)
    return hasattr(lock, "locked") and not hasattr(lock, "_is_owned") and lock.locked()


def _after_fork_in_child():
    is_ending = process.is_ending
    process.begin()
    process.is_ending = is_ending
    for outbox in list(outboxes):
        outbox.after_fork()


if HAS_FORK_HOOKS:
    os.register_at_fork(after_in_child=_after_fork_in_child)
