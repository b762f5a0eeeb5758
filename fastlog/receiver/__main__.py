"""The receiver's process: it gets descriptors from the supervisor and returns an exit status.

`python -m fastlog.receiver --config-fd N --control-fd N --listen-fds N,N;N [--wakeup-fd N]
[--channel-fd N] [--takeover-fd N]`

The listeners' descriptors are in groups, one for each URL of the configuration. Those of `tls://`
are left to the TLS process, whose connections come through the channel.

With a `--takeover-fd` the process continues the work of another receiver, in four steps: it sends
`ready`, reads the handover state from that descriptor, sends `taken`, and waits for `go`. It uses
nothing of the state before `go`.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections import deque
from typing import NamedTuple

from fastlog.child import Child, LostError, Message, Signals, arguments, log_to_stderr
from fastlog.config import ListenConfig, is_tls
from fastlog.errors import FastlogError
from fastlog.receiver import handover_transport
from fastlog.receiver.receiver import Receiver

ORDER_TIMEOUT = 60.0
"""Seconds of one wait for the supervisor."""


class Inherited(NamedTuple):
    """Descriptors for `Receiver`."""

    wakeup: int | None
    channel: int | None


Listeners = list[tuple[int, ListenConfig]]


def main(argv: list[str]) -> int:
    """Run the process.

    Returns:
        The exit status: 0 after SIGTERM, 1 after an error that was sent to the supervisor.
    """
    flags = arguments(
        argv,
        {"config-fd": int, "control-fd": int, "listen-fds": str},
        optional={"wakeup-fd": int, "channel-fd": int, "takeover-fd": int},
    )
    child = Child.from_fds(flags["config-fd"], flags["control-fd"])
    log_to_stderr("receiver", child.config.log.level)
    groups = [map(int, fds.split(",")) for fds in flags["listen-fds"].split(";")]
    listeners = [
        (fd, listen) for fds, listen in zip(groups, child.config.listen, strict=True) for fd in fds
    ]
    for fd, _ in [each for each in listeners if is_tls(each[1].url)]:
        os.close(fd)
    listeners = [each for each in listeners if not is_tls(each[1].url)]
    inherited = Inherited(flags.get("wakeup-fd"), flags.get("channel-fd"))
    try:
        if "takeover-fd" in flags:
            with child.signals() as signals:
                child.send({"type": "ready"})
                supervised = _take_over(child, signals, listeners, flags["takeover-fd"], inherited)
                supervised.run()
        else:
            receiver = Receiver(child.config, listeners, None, *inherited)
            with child.signals() as signals:
                child.send({"type": "ready"})
                SupervisedReceiver(receiver, child, signals).run()
    except LostError:
        os._exit(1)  # without `go`, this process owns nothing of what it has
    except (FastlogError, OSError) as error:
        child.fail(error)
        return 1
    return 0


class SupervisedReceiver:
    """A receiver that follows the supervisor's orders."""

    def __init__(self, receiver: Receiver, child: Child, signals: Signals) -> None:
        self._receiver, self._child, self._signals = receiver, child, signals
        self._orders: deque[Message] = deque()

    def run(self) -> None:
        """Receive until SIGTERM, or until the order to retire."""
        for fd in self._signals.filenos():
            self._receiver.watch(fd)
        if self._signals.stopping():
            self._receiver.stop()  # SIGTERM arrived before it could wake the receiver
        self._receiver.run(self._on_woken)

    def wait_for_go(self) -> None:
        """Wait until the previous receiver has ended."""
        while self._next_order() != "go":
            pass

    def _on_woken(self) -> None:
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
        """Send everything to the next receiver. Returns only if the handover failed.

        Once something was sent, only the supervisor can decide which receiver continues, since only
        it can know that the other has ended. Everything else waits for that order.
        """
        with socket.socket(fileno=to_fd) as to:
            try:
                state, fds = self._receiver.freeze()
            except FastlogError as error:
                self._child.send({"type": "cannot", "text": str(error)})
                return
            try:
                try:
                    handover_transport.send(to, state, fds)
                except ConnectionError:
                    pass  # the other process has ended; the supervisor notices that
                except OSError as error:
                    self._child.send({"type": "cannot", "text": f"handing over: {error.strerror}"})
                while (order := self._next_order()) != "thaw":
                    if order == "retire":
                        os._exit(0)  # the other process owns everything now
            finally:
                self._receiver.thaw(state)

    def _next_order(self) -> str:
        while not self._orders:
            self._orders += self._signals.wait(ORDER_TIMEOUT)
        return str(self._orders.popleft()["type"])


def _take_over(
    child: Child,
    signals: Signals,
    listeners: Listeners,
    from_fd: int,
    inherited: Inherited,
) -> SupervisedReceiver:
    poll = select.poll()
    for fd in (from_fd, *signals.filenos()):
        poll.register(fd, select.POLLIN)

    def wait(from_: socket.socket) -> None:
        while all(fd != from_.fileno() for fd, _ in poll.poll()):
            signals.wait(0)  # raises LostError if the supervisor has ended
            if signals.stopping():
                raise LostError

    with socket.socket(fileno=from_fd) as from_:
        handed_over = handover_transport.receive(from_, wait)
    receiver = Receiver(child.config, listeners, handed_over, *inherited)
    supervised = SupervisedReceiver(receiver, child, signals)
    child.send({"type": "taken"})
    supervised.wait_for_go()
    return supervised


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
