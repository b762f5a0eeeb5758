"""What the whole suite needs of its processes."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Make SIGINT work, also in a suite that a shell started in the background.

    Such a shell has SIGINT ignored, and every program that a test starts would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
