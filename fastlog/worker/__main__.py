"""The process of a worker.

`python -m fastlog.worker --config-fd N --control-fd N --sink NAME [--wakeup-fd N]`
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from fastlog.child import Child, LostError, arguments, log_to_stderr
from fastlog.config import Config
from fastlog.config.source_sink import source_sink
from fastlog.errors import ConfigError, FastlogError
from fastlog.journal import JournalReader, WakeupReader
from fastlog.journal.disk import segment_size
from fastlog.ledger import Ledger
from fastlog.routing import make_decoder
from fastlog.sinks import SinkContext, make_sink
from fastlog.worker.worker import Worker

COLLECT_INTERVAL = 60.0
"""Seconds between collections of reference cycles."""


def main(argv: list[str]) -> int:
    """Run the worker.

    Returns:
        0 after a request to stop; 1 after an error, which was reported to the supervisor.
    """
    values = arguments(
        argv, {"config-fd": int, "control-fd": int, "sink": str}, optional={"wakeup-fd": int}
    )
    name = values["sink"]
    child = Child.from_fds(values["config-fd"], values["control-fd"])
    log_to_stderr(f"worker[{name}]", child.config.log.level)
    # Decoding makes millions of objects and no cycles; searching for cycles costs 0.7 s a million.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        with child.signals() as signals:
            worker = make_worker(child.config, name, signals.stopping)
            worker.open()
            if "wakeup-fd" in values:
                wakeup = WakeupReader(values["wakeup-fd"])
                signals.watch(wakeup.fileno(), wakeup.clear)
            child.send({"type": "ready"})
            worker.run(signals.stopping, _collecting(signals.wait))
    except LostError:
        os._exit(1)  # at once: the next worker continues from what is committed
    except FastlogError as error:
        child.fail(error)
        return 1
    return 0


def _collecting(wait: Callable[[float], object]) -> Callable[[float], None]:
    """Return `wait` with a collection of cycles once a minute: errors make some."""
    collected = time.monotonic()

    def wait_and_collect(seconds: float) -> None:
        nonlocal collected
        if seconds and time.monotonic() > collected + COLLECT_INTERVAL:
            gc.collect()
            collected = time.monotonic()
        wait(seconds)

    return wait_and_collect


def make_worker(config: Config, name: str, stopping: Callable[[], bool] = lambda: False) -> Worker:
    """Make the worker of the sink that the config calls `name`.

    Args:
        stopping: Whether this process is to end.

    Raises:
        ConfigError: there is no such sink, or its URL is wrong.
        JournalError: there is no journal yet.
    """
    settings = next((sink for sink in config.sinks if sink.name == name), None)
    if settings is None:
        raise ConfigError(f"the configuration has no sink called {name!r}")
    context = SinkContext(name, urlsplit(settings.url), config.data_dir, config.retention)
    is_shared = settings == source_sink(config)  # the source stores there too
    sink = make_sink(
        context._replace(stopping=stopping, expire=config.expire, housekeeping=not is_shared)
    )
    reader = JournalReader(config.data_dir / "journal")
    return Worker(
        reader,
        make_decoder(config, settings, sink.form, reader.node),
        sink,
        Ledger(config.data_dir / "ledger.db"),
        name,
        config.data_dir,
        when_full=settings.when_full,
        keep_raw=not config.redact,
        segment=segment_size(
            config.data_dir / "journal", config.journal.segment, config.journal.size
        ),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
