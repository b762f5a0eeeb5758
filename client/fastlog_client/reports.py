# -*- coding: utf-8 -*-
"""Reports to the application: of an outage, of a drop, of an error."""

from __future__ import absolute_import, division, print_function

import logging
import sys

from fastlog_client.compat import monotonic, thread_id

_INTERVAL = 60.0  # seconds between two lines of one kind


class Reporter(object):
    """Calls the application's hook, or prints a line to stderr.

    Args:
        name: of the server, which begins each text.
        hook: called with (text, exception or None); None prints, at most one line a minute of each
            kind, unless `logging.raiseExceptions` is false.
    """

    def __init__(self, name, hook):
        self.hook = hook
        self.last_error = None
        self._name = name
        self._printed_at = {}  # monotonic seconds by kind of report
        self._threads = set()  # that are in `report`

    def report(self, kind, text, error):
        """Report an error. Never raises an Exception."""
        if self.is_reporting():
            return  # the hook has logged something that would be reported in turn
        me = thread_id()
        try:
            self._threads.add(me)
            text = "%s: %s" % (self._name, text)
            line = text if error is None else "%s (%r)" % (text, error)
            self.last_error = line  # of another thread, perhaps, at the next statement
            if self.hook is not None:
                self.hook(text, error)
            else:
                self._print(kind, line)
        except Exception:
            pass  # there is no other place to report it to
        finally:
            self._threads.discard(me)

    def is_reporting(self):
        """Return whether this thread is in `report`."""
        return thread_id() in self._threads

    def after_fork(self):
        """Forget the threads of the parent."""
        self._threads = set()

    def _print(self, kind, line):
        now = monotonic()
        printed_at = self._printed_at.get(kind)
        if logging.raiseExceptions and (printed_at is None or now - printed_at >= _INTERVAL):
            self._printed_at[kind] = now
            sys.stderr.write("fastlog_client: %s\n" % line)
