"""The process of the web server.

`python -m fastlog.web --config-fd N --control-fd N`
"""

from __future__ import annotations

import asyncio
import os
import sys

from fastlog.child import SIGN_INTERVAL, Child, LostError, Signals, arguments, log_to_stderr
from fastlog.config import Config
from fastlog.errors import ConfigError, FastlogError
from fastlog.search.store import RecordStore
from fastlog.status.record_stores import store_of_server
from fastlog.web.service import Service


def main(argv: list[str]) -> int:
    """Run the web server.

    Returns:
        0 after a request to stop; 1 after an error, which was reported to the supervisor.
    """
    values = arguments(argv, {"config-fd": int, "control-fd": int})
    child = Child.from_fds(values["config-fd"], values["control-fd"])
    log_to_stderr("web", child.config.log.level)
    try:
        with child.signals() as signals:
            service = Service(child.config, _store(child.config))
            service.run(lambda service: _watch(child, signals, service))
    except FastlogError as error:
        child.fail(error)
        return 1
    return 0


def _store(config: Config) -> RecordStore:
    try:
        return store_of_server(config, config.web.searches)
    except ConfigError as error:
        raise ConfigError(f"web.url: {error}") from None


def _watch(child: Child, signals: Signals, service: Service) -> None:
    """Report that the server is ready, and stop it on signals and when the supervisor ends.

    The event loop gives the signs of life: searches run in threads, and may take long.
    """

    def woken() -> None:
        try:
            signals.wait(0)
        except LostError:
            os._exit(1)  # at once: there is nothing to finish
        if signals.stopping():
            service.stop()

    loop = asyncio.get_running_loop()

    def live() -> None:
        child.give_sign()
        loop.call_later(SIGN_INTERVAL, live)

    for fd in signals.filenos():
        loop.add_reader(fd, woken)
    child.send({"type": "serving", "url": service.url})
    child.send({"type": "ready"})
    live()
    woken()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
