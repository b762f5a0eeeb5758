"""The process of a source.

`python -m fastlog.source --config-fd N --control-fd N`
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from fastlog.child import Child, LostError, Signals, arguments, log_to_stderr
from fastlog.errors import ConfigError, FastlogError, SinkError
from fastlog.jetstream.connection import Connection
from fastlog.jetstream.target import parse_url
from fastlog.journal import JournalReader
from fastlog.source.report import remove_report
from fastlog.source.source import Source
from fastlog.source.store import Store

log = logging.getLogger(__name__)

RETRY = 1.0
"""Seconds between attempts to use a cluster for the first time."""
COLLECT_INTERVAL = 60.0
"""Seconds between collections of reference cycles."""


def main(argv: list[str]) -> int:
    """Run the source.

    Returns:
        0 after a request to stop; 1 after an error, which was reported to the supervisor.
    """
    values = arguments(argv, {"config-fd": int, "control-fd": int})
    child = Child.from_fds(values["config-fd"], values["control-fd"])
    log_to_stderr("source", child.config.log.level)
    # As in a worker: decoding makes no cycles.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        with child.signals() as signals:
            _run(child, signals)
    except LostError:
        os._exit(1)  # at once: another central continues from what is committed
    except FastlogError as error:
        child.fail(error)
        return 1
    return 0


def _run(child: Child, signals: Signals) -> None:
    config = child.config
    own = JournalReader(config.data_dir / "journal").node
    wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    signals.watch(wakeup, lambda: _clear(wakeup))
    target = parse_url(urlsplit(config.source.url))
    store = Store(config, own, takes_over=target.take_over)
    store.describe()
    child.send({"type": "ready"})  # a server starts also while its cluster is away
    wait, last = _collecting(child, signals), ""
    while not signals.stopping():
        child.give_sign()
        connection = Connection(target, f"fastlog central {own}")
        source = Source(config, connection, store, own, lambda: os.eventfd_write(wakeup, 1))
        try:
            source.open()
        except ConfigError:
            raise
        except SinkError as error:
            if str(error) != last:
                log.warning("source: %s; trying again", error)
            last = str(error)
            source.report(last)
            store.tick()
            wait(RETRY)
        else:
            source.run(signals.stopping, wait)
        finally:
            source.close()
            connection.close()
    remove_report(config.data_dir)


def _clear(wakeup: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.eventfd_read(wakeup)


def _collecting(child: Child, signals: Signals) -> Callable[[float], None]:
    """Return `signals.wait` with a sign of life, and a collection of cycles once a minute: errors
    make some."""
    collected = time.monotonic()

    def wait_and_collect(seconds: float) -> None:
        nonlocal collected
        child.give_sign()
        if seconds and time.monotonic() > collected + COLLECT_INTERVAL:
            gc.collect()
            collected = time.monotonic()
        signals.wait(seconds)

    return wait_and_collect


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
