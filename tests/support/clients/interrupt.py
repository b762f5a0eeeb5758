# -*- coding: utf-8 -*-
"""Interrupts calls of our handler at every bytecode. For CPython 3.7+.

    interrupt.py CLIENT_DIRECTORY PORT CALL ACTION FIRST_STEP SECOND_STEP SECONDS THREAD [SPOOL]

CALL and ACTION are methods of `Calls` and `Actions` below. The call is repeated: the
first time, the action interrupts it at its first bytecode, then FIRST_STEP further on, until it
ends before it would be interrupted. With a SECOND_STEP, each of these is made several times, and the
action interrupts once more, at the bytecode after the first interruption, SECOND_STEP further on, and
so on: in the interrupted call, or in the action. A bytecode is one of any frame below the call, those of
the standard library included; but `raise` and `fork` spare that: it leaves its own locks locked, and
a child that is forked inside Thread.start() waits for a thread that it does not have.

With "alone" as THREAD, no thread can be started, and the calls send themselves.

Stops by itself after SECONDS and says how far it came. When nothing happens for 60 seconds, it ends
with the stacks. Prints a JSON object: `must`: numbers that were logged; `may`: those whose emit an
exception ended; `calls`; `bytecodes`: of the longest call; `done`; and the handler's stats.
"""

from __future__ import print_function

import faulthandler
import gc
import json
import logging
import os
import signal
import sys
import threading
import time

sys.path.insert(0, sys.argv[1])
import fastlog_client

faulthandler.enable()
faulthandler.register(signal.SIGALRM, chain=True)  # and it ends by that
STUCK_SECONDS = 60
CHILD_SECONDS = 30  # less, so that it is the child that says where it is stuck


class Interrupt(Exception):
    pass


class Tracer(object):
    """Counts bytecodes of this thread, and calls `action` before some of them."""

    def __init__(self, action, is_sparing):
        self.action, self.is_sparing, self.count, self.targets = action, is_sparing, 0, []

    def run(self, call, targets):
        """Call it. Returns whether it was interrupted at all targets."""
        self.count, self.targets = 0, list(targets)
        sys.settrace(self.trace)
        try:
            call()
        finally:
            sys.settrace(None)
            left, self.targets = self.targets, []
        return not left

    def trace(self, frame, event, _):
        if event == "call":
            name = frame.f_code.co_filename
            is_client = os.path.dirname(name) == os.path.dirname(fastlog_client.__file__)
            if name == __file__ or self.is_sparing and not is_client:
                return None
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        elif event == "opcode":
            self.count += 1
            if self.targets and self.count >= self.targets[0]:
                self.targets.pop(0)
                sys.call_tracing(self.action, ())
        return self.trace


class Program(object):
    def __init__(self, port, spool):
        self.must, self.may, self.reports, self.children = [], [], [], []
        self.port, self.options = port, {"spool": spool} if spool else {}
        self.number = 0
        self.is_child = False
        self.handler = self.make()

    def make(self, **options):
        options.update(self.options)
        return fastlog_client.SocketHandler(
            "127.0.0.1", self.port, close_timeout=30, on_error=self.report, **options
        )

    def report(self, text, error):
        self.reports.append("%s %r" % (text, error) if error else text)

    def log(self):
        self.number += 1
        number = self.number
        self.may.append(number)
        record = logging.makeLogRecord({"msg": "x", "number": number})
        self.handler.handle(record)
        if not self.is_child:
            self.may.remove(number)
            self.must.append(number)

    # -- calls --

    def prepare(self, call):
        getattr(self, "before_" + call, lambda: None)()

    def emit(self):
        self.log()

    def before_first(self):
        """The first record of a handler."""
        self.handler.close()
        self.handler = self.make()

    first = emit

    def before_again(self):
        """The first after a close()."""
        self.handler.close()

    again = emit

    def before_full(self):
        """A memory that is full already."""
        if self.handler._options.max_bytes != 1000:
            self.handler = self.make(max_bytes=1000, when_full="drop_oldest")

    full = emit

    def before_flush(self):
        self.log()

    def flush(self):
        self.handler.flush()

    def stats(self):
        self.handler.stats()

    before_close = before_flush

    def close(self):
        self.handler.close()

    # -- actions --

    def do_log(self):
        self.log()

    def do_raise(self):
        raise Interrupt

    def do_flush(self):
        self.handler.flush(5)

    def do_stats(self):
        stats = self.handler.stats()
        assert stats["pending"] >= 0, stats

    def do_close(self):
        self.handler.close()

    def do_collect(self):
        """A finalizer logs."""
        finalized = Finalized(self)
        finalized.itself = finalized
        del finalized
        gc.collect()

    def do_fork(self):
        if self.is_child:
            return
        pid = os.fork()
        if pid:
            self.children.append(pid)
        else:
            self.is_child = True
            signal.alarm(CHILD_SECONDS)  # faulthandler would wait for the thread of its parent

    def after_fork(self):
        """A child logs and ends; the parent waits for it."""
        if self.is_child:
            sys.settrace(None)
            try:
                record = logging.makeLogRecord({"msg": "x", "number": -os.getpid()})
                self.handler.handle(record)
                stats = self.handler.stats()
                is_fine = self.handler.flush(20) and stats["emitted"] in (1, 2)
                os._exit(0 if is_fine else 3)
            finally:
                os._exit(4)
        while self.children:
            pid = self.children.pop()
            status = os.waitpid(pid, 0)[1]
            assert status == 0, "a child ended with %d" % status


class Finalized(object):
    def __init__(self, program):
        self.program = program

    def __del__(self):
        self.program.log()


def reject(*_, **__):
    raise RuntimeError("can't start new thread")


def main(port, call, action, first_step, second_step, seconds, thread, spool=None):
    if thread == "alone":
        for name in ("_start_new_thread", "_start_joinable_thread"):
            if hasattr(threading, name):
                setattr(threading, name, reject)
    program = Program(int(port), spool)
    first_step, second_step, end = int(first_step), int(second_step), time.time() + float(seconds)
    tracer = Tracer(getattr(program, "do_" + action), action in ("raise", "fork"))
    calls = longest = 0
    first, is_reached = 1, True
    while is_reached and time.time() < end:
        second, goes_on = 0, True
        while goes_on and time.time() < end:
            faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True)
            program.prepare(call)
            targets = [first] + ([first + second] if second else [])
            try:
                goes_on = tracer.run(getattr(program, call), targets)
            except Interrupt:
                goes_on = True
            program.after_fork()
            calls, longest = calls + 1, max(longest, tracer.count)
            if not second:
                is_reached = goes_on
            goes_on = goes_on and second_step > 0
            second += second_step
        first += first_step
    faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True)
    program.handler.flush(40)
    faulthandler.cancel_dump_traceback_later()
    result = {"must": program.must, "may": program.may, "calls": calls, "bytecodes": longest}
    result.update(done=not is_reached, stats=program.handler.stats(), reports=program.reports)
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[2:])
