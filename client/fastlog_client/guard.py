# -*- coding: utf-8 -*-
"""A lock that signal handlers, finalizers and forks may interrupt."""

from __future__ import absolute_import, division, print_function

import sys
import time

from fastlog_client.compat import PYTHON_2, thread_id

frames_at_fork = {}
"""The frames in which threads of the parent were when it forked, by their id(). Python 2 only."""


class _Attempt(object):
    """One attempt to take a `Guard`: the frame that is inside until it ends."""

    __slots__ = ("frame", "successor", "thread")

    def __init__(self, frame):
        self.thread = thread_id()
        self.frame = frame
        self.successor = {}  # at 0: the hold that took over after this frame had ended

    if PYTHON_2:

        def has_ended_frame(self):
            """Whether the frame has ended.

            After a fork, Python 2 goes on listing threads of the parent, and a new thread may get
            the identifier of one of these, which then hides it. Only the main thread can be kept
            from leaving a block, so what is not known of another counts as running.
            """
            if self.thread == thread_id():
                frame = sys._getframe()
            else:
                frame = sys._current_frames().get(self.thread)
                if id(frame) in frames_at_fork:
                    return False
            while frame is not None and frame is not self.frame:
                frame = frame.f_back
            return frame is None
    else:

        def has_ended_frame(self):
            """Whether the frame has ended: only one that runs cannot be cleared."""
            try:
                self.frame.clear()
            except RuntimeError:
                return False
            return True


class Guard(object):
    """A lock that knows its owner: the thread, and the frame whose `with` statement took it.

    A signal handler or a finalizer may log at any bytecode of this code. So whoever takes it asks
    `is_mine` first, and never waits for itself. A signal handler may raise there as well, also
    between the last statement of a `with` block and `__exit__`; then the lock counts as free when
    that frame has ended. Hence a frame with such a block must not go on after an exception.

    The owner is in `_owner[0]`. Neither threads nor signal handlers can interrupt
    `dict.setdefault` and `dict.pop`; with the owner in a variable beside a lock they could.
    """

    def __init__(self):
        self._owner = {}
        self.unfinished = None  # completes what an owner was kept from completing; or None

    def is_mine(self):
        """Whether this thread is inside."""
        hold = self._last_attempt()
        return hold is not None and hold.thread == thread_id() and not hold.has_ended_frame()

    def attempt(self, depth=1):
        """Take it for the calling frame if it is free. Returns whether it was."""
        return self._take(_Attempt(sys._getframe(depth)))

    def release(self):
        self._owner.pop(0, None)

    def __enter__(self):
        hold = _Attempt(sys._getframe(1))
        seconds = 0.0
        while not self._take(hold):
            time.sleep(seconds)
            seconds = min(0.002, 2 * seconds or 0.00005)
        if self.unfinished is not None:
            self.unfinished()

    def __exit__(self, *_):
        self.release()

    def release_others(self):
        """Free it in the child of a fork, where a thread that was inside does not exist. What the
        fork has interrupted may still be about to take it.
        """
        hold = self._last_attempt()
        if hold is not None and hold.thread != thread_id():
            self._owner.clear()
        self.unfinished = None

    def _last_attempt(self):
        hold = self._owner.get(0)
        while hold is not None and hold.successor:
            hold = hold.successor[0]
        return hold

    def _take(self, hold):
        first = last = self._owner.setdefault(0, hold)
        while last is not hold:
            if not last.successor and not last.has_ended_frame():
                return False
            last = last.successor.setdefault(0, hold)
        return self._owner.get(0) is first  # else it was released meanwhile
