"""What the whole suite needs of its processes."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
from pathlib import Path

import hypothesis
import pytest

# The asserts of these say what was compared, as those of the tests do.
pytest.register_assert_rewrite(*(path.stem for path in Path(__file__).parent.glob("support/*.py")))

from browsers import end_chromium  # noqa: E402
from long_tests import spread  # noqa: E402
from postgres_servers import forget_templates  # noqa: E402

# An example may take long on a loaded machine.
hypothesis.settings.register_profile("fastlog", hypothesis.settings(deadline=None))
hypothesis.settings.load_profile("fastlog")


_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def die_with_parent() -> None:
    """Have the kernel kill this forked child when the thread that started it ends.

    A child inherits the pipe through which a process of `pytest -n` reports. If it remained after a
    timeout has ended that process, pytest would wait for the end of the pipe forever.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


os.register_at_fork(after_in_child=die_with_parent)


def pytest_configure() -> None:
    """Undo that signals are ignored, as in a suite in the background of a shell or under nohup.

    Every program that a test starts would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the processes of `pytest -n` start with the long tests.

    It comes last: tests that are not selected are removed by then, and the others are ordered by
    their fixtures.
    """
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    items[:] = spread(items, workers)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Exempt what was imported and collected from garbage collections.

    These are 400,000 objects, which are there until the end. Each full collection looked at all
    of them: tests that make many objects took ten times as long.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """End Chromium before a test that is not of the page."""
    if not item.get_closest_marker("page"):
        end_chromium()


def pytest_unconfigure() -> None:
    end_chromium()
    forget_templates()
