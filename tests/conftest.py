"""What the whole suite needs of its processes."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Undo that signals are ignored, as in a suite in the background of a shell or under nohup.

    Every program that a test starts would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
