"""What the whole suite needs of its processes."""

from __future__ import annotations

import signal

import pytest
from browsers import end_chromium


def pytest_configure() -> None:
    """Undo that signals are ignored, as in a suite in the background of a shell or under nohup.

    Every program that a test starts would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """End Chromium before a test that is not of the page."""
    if not item.get_closest_marker("page"):
        end_chromium()


def pytest_unconfigure() -> None:
    end_chromium()
