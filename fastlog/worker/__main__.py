"""The worker's process.

`python -m fastlog.worker --config-fd N --control-fd N --sink NAME [--wakeup-fd N]`
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable

from fastlog.child import Child, LostError, arguments, log_to_stderr
from fastlog.errors import FastlogError
from fastlog.journal import WakeupReader
from fastlog.worker.worker import make_worker

COLLECT_EVERY = 60.0


def main(argv: list[str]) -> int:
    """The process.

    Returns:
        0 when it was asked to stop; 1 after an error that it has told the supervisor.
    """
    values = arguments(
        argv, {"config-fd": int, "control-fd": int, "sink": str}, optional={"wakeup-fd": int}
    )
    name = values["sink"]
    child = Child.from_fds(values["config-fd"], values["control-fd"])
    log_to_stderr(f"worker[{name}]", child.config.log.level)
    # Decoding makes objects by the million and no cycles; looking for some costs 0.7 s a million.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        with child.signals() as signals:
            worker = make_worker(child.config, name)
            worker.open()
            if "wakeup-fd" in values:
                hearing = WakeupReader(values["wakeup-fd"])
                signals.watch(hearing.fileno(), hearing.clear)
            child.send({"type": "ready"})
            worker.run(signals.stopping, _collecting(signals.wait))
    except LostError:
        os._exit(1)  # at once: whoever starts us next continues from what is committed
    except FastlogError as error:
        child.fail(error)
        return 1
    return 0


def _collecting(wait: Callable[[float], object]) -> Callable[[float], None]:
    """A nap that looks for cycles once a minute all the same; errors leave some behind."""
    collected = time.monotonic()

    def nap(seconds: float) -> None:
        nonlocal collected
        if seconds and time.monotonic() > collected + COLLECT_EVERY:
            gc.collect()
            collected = time.monotonic()
        wait(seconds)

    return nap


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
