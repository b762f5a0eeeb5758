# -*- coding: utf-8 -*-
"""A lock that signal handlers, finalizers and forks may interrupt."""

from __future__ import absolute_import, division, print_function

import sys
import time

from fastlog_client.compat import PYTHON_2, thread_id

frames_at_fork = {}
"""The frames of the parent's threads at the time of the fork, by their id(). Python 2 only."""


_CO_GENERATOR = 0x20  # of code.co_flags, as in the module inspect
_LOOKS = 1000
"""Looks at the frames of a thread that end at a generator. One nearly always suffices: the thread
runs on between looking at its frames and following them, and may suspend the generator."""


class _Attempt(object):
    """One attempt to take a `Guard`: the frame that owns it until it ends."""

    __slots__ = ("frame", "successor", "thread")

    def __init__(self, frame):
        self.thread = thread_id()
        self.frame = frame
        self.successor = {}  # at 0: the attempt that took over after this frame had ended

    if PYTHON_2:

        def has_ended(self):
            """Return whether the frame has ended.

            After a fork, Python 2 still lists threads of the parent, and a new thread may get
            the identifier of one of these, which then hides it. Only in the main
            thread can an exception end a block before its `__exit__`, so a frame of another thread
            that is not known counts as running.

            A thread runs on while another one follows its frames, and a generator that it leaves
            then has no caller any more. Where the frames end at a generator, they are therefore
            read again.
            """
            for _ in range(_LOOKS):
                if self.thread == thread_id():
                    frame = sys._getframe()
                else:
                    frame = sys._current_frames().get(self.thread)
                    if id(frame) in frames_at_fork:
                        return False
                bottom = None
                while frame is not None and frame is not self.frame:
                    bottom, frame = frame, frame.f_back
                if frame is not None:
                    return False
                if bottom is None or not bottom.f_code.co_flags & _CO_GENERATOR:
                    return True
                # The thread has left this generator since, and with that its caller is lost.
            return True  # it is the first frame of its thread

    else:

        def has_ended(self):
            """Return whether the frame has ended: only a running frame cannot be cleared."""
            try:
                self.frame.clear()
            except RuntimeError:
                return False
            return True


class Guard(object):
    """A lock that knows its owner: the thread, and the frame whose `with` statement took it.

    A signal handler or a finalizer may log at any bytecode of this code. So a caller checks
    `is_mine` before it takes the lock, and never waits for its own thread. A signal handler may
    raise there as well, also between the last statement of a `with` block and `__exit__`; then the
    lock counts as free when that frame has ended. Hence a frame with such a block must not continue
    after an exception.

    The owner is in `_owner[0]`. Neither threads nor signal handlers can interrupt
    `dict.setdefault` and `dict.pop`; with the owner in a variable beside a lock they could.
    """

    def __init__(self):
        self._owner = {}
        self.unfinished = None  # completes the change that an exception has interrupted; or None

    def is_mine(self):
        """Return whether this thread owns the lock."""
        attempt = self._last_attempt()
        return attempt is not None and attempt.thread == thread_id() and not attempt.has_ended()

    def attempt(self, depth=1):
        """Take the lock for the calling frame if it is free. Returns whether it was."""
        return self._take(_Attempt(sys._getframe(depth)))

    def release(self):
        """Release the lock."""
        self._owner.pop(0, None)

    def __enter__(self):
        attempt = _Attempt(sys._getframe(1))
        seconds = 0.0
        while not self._take(attempt):
            time.sleep(seconds)
            seconds = min(0.002, 2 * seconds or 0.00005)
        if self.unfinished is not None:
            self.unfinished()

    def __exit__(self, *_):
        self.release()

    def release_others(self):
        """Release the lock in the child of a fork, if another thread owned it: that does not exist.

        The code that the fork has interrupted may still be about to take it.
        """
        attempt = self._last_attempt()
        if attempt is not None and attempt.thread != thread_id():
            self._owner.clear()
        self.unfinished = None

    def _last_attempt(self):
        attempt = self._owner.get(0)
        while attempt is not None and attempt.successor:
            attempt = attempt.successor[0]
        return attempt

    def _take(self, attempt):
        first = last = self._owner.setdefault(0, attempt)
        while last is not attempt:
            if not last.successor and not last.has_ended():
                return False
            last = last.successor.setdefault(0, attempt)
        return self._owner.get(0) is first  # else it was released meanwhile
