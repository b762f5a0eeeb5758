"""The receiver's process: descriptors from the supervisor in, an exit status out.

`python -m fastlog.receiver --config-fd N --control-fd N --listen-fds N,N;N [--wakeup-fd N]
[--takeover-fd N]`

The descriptors of the listeners stand in groups, one for each URL of the configuration.

With a `--takeover-fd` it goes on from where another receiver stands, in four steps: it says
`ready`, takes what comes from that descriptor, says `taken`, and touches none of it before it is
told to `go`.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections import deque

from fastlog.child import Child, LostError, Message, Signals, arguments, log_to_stderr
from fastlog.config import ListenConfig
from fastlog.errors import FastlogError
from fastlog.receiver import handover
from fastlog.receiver.receiver import Receiver

WAIT = 60.0

Listeners = list[tuple[int, ListenConfig]]


def main(argv: list[str]) -> int:
    """The process. Returns 0 when it was asked to stop, 1 after an error that it has told."""
    flags = arguments(
        argv,
        {"config-fd": int, "control-fd": int, "listen-fds": str},
        optional={"wakeup-fd": int, "takeover-fd": int},
    )
    child = Child.from_fds(flags["config-fd"], flags["control-fd"])
    log_to_stderr("receiver", child.config.log.level)
    groups = [map(int, fds.split(",")) for fds in flags["listen-fds"].split(";")]
    listeners = [
        (fd, listen) for fds, listen in zip(groups, child.config.listen, strict=True) for fd in fds
    ]
    wakeup = flags.get("wakeup-fd")
    try:
        if "takeover-fd" in flags:
            with child.signals() as signals:
                child.send({"type": "ready"})
                post = _take_over(child, signals, listeners, flags["takeover-fd"], wakeup)
                post.run()
        else:
            receiver = Receiver(child.config, listeners, wakeup=wakeup)
            with child.signals() as signals:
                child.send({"type": "ready"})
                Post(receiver, child, signals).run()
    except LostError:
        os._exit(1)  # before it was told to go: nothing here is its own
    except (FastlogError, OSError) as error:
        child.fail(error)
        return 1
    return 0


class Post:
    """A receiver that does what the supervisor says."""

    def __init__(self, receiver: Receiver, child: Child, signals: Signals) -> None:
        self._receiver, self._child, self._signals = receiver, child, signals
        self._orders: deque[Message] = deque()

    def run(self) -> None:
        """Receives until it is told to stop, or to retire."""
        for fd in self._signals.filenos():
            self._receiver.watch(fd)
        if self._signals.stopping():
            self._receiver.stop()  # it was told so before the receiver could be woken
        self._receiver.run(self._woken)

    def await_go(self) -> None:
        """Returns when the receiver before is no more."""
        while self._next_order() != "go":
            pass

    def _woken(self) -> None:
        try:
            self._orders += self._signals.wait(0)
            while self._orders:
                if self._orders.popleft()["type"] == "hand_over":
                    self._hand_over(self._child.take_fd())
        except LostError:
            self._receiver.stop()
        if self._signals.stopping():
            self._receiver.stop()

    def _hand_over(self, to_fd: int) -> None:
        """Gives all to the next receiver. Returns if that came to nothing.

        Once something was sent only the supervisor can say who goes on, since only it can know
        that the other is dead. Whatever happens meanwhile waits for its word.
        """
        with socket.socket(fileno=to_fd) as to:
            try:
                parcel, fds = self._receiver.freeze()
            except FastlogError as error:
                self._child.send({"type": "cannot", "text": str(error)})
                return
            try:
                try:
                    handover.send(to, parcel, fds)
                except ConnectionError:
                    pass  # the other has died, which is the supervisor's to see
                except OSError as error:
                    self._child.send({"type": "cannot", "text": f"handing over: {error.strerror}"})
                while (order := self._next_order()) != "thaw":
                    if order == "retire":
                        os._exit(0)  # nothing here is its own any more
            finally:
                self._receiver.thaw(parcel)

    def _next_order(self) -> str:
        while not self._orders:
            self._orders += self._signals.wait(WAIT)
        return str(self._orders.popleft()["type"])


def _take_over(
    child: Child, signals: Signals, listeners: Listeners, from_fd: int, wakeup: int | None
) -> Post:
    poll = select.poll()
    for fd in (from_fd, *signals.filenos()):
        poll.register(fd, select.POLLIN)

    def wait(from_: socket.socket) -> None:
        while all(fd != from_.fileno() for fd, _ in poll.poll()):
            signals.wait(0)  # the end of the supervisor is the end of this
            if signals.stopping():
                raise LostError

    with socket.socket(fileno=from_fd) as from_:
        taken = handover.receive(from_, wait)
    post = Post(Receiver(child.config, listeners, taken=taken, wakeup=wakeup), child, signals)
    child.send({"type": "taken"})
    post.await_go()
    return post


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
