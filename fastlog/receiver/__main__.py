"""The receiver's process: descriptors from the supervisor in, an exit status out.

`python -m fastlog.receiver --config-fd N --control-fd N --listen-fds N,N;N`

The descriptors of the listeners stand in groups, one for each URL of the configuration.
"""

from __future__ import annotations

import sys

from fastlog.child import Child, LostError, arguments, log_to_stderr
from fastlog.errors import FastlogError
from fastlog.receiver.receiver import Receiver


def main(argv: list[str]) -> int:
    """The process. Returns 0 when it was asked to stop, 1 after an error that it has told."""
    flags = arguments(argv, {"config-fd": int, "control-fd": int, "listen-fds": str})
    child = Child.from_fds(flags["config-fd"], flags["control-fd"])
    log_to_stderr("receiver", child.config.log.level)
    groups = [map(int, fds.split(",")) for fds in flags["listen-fds"].split(";")]
    listeners = [
        (fd, listen) for fds, listen in zip(groups, child.config.listen, strict=True) for fd in fds
    ]
    try:
        receiver = Receiver(child.config, listeners)
    except (FastlogError, OSError) as error:
        child.fail(error)
        return 1
    with child.signals() as signals:

        def woken() -> None:
            try:
                for message in signals.wait(0):
                    receiver.sinks = message["when_full"]  # there is no other message
            except LostError:
                receiver.stop()
            if signals.stopping():
                receiver.stop()

        for fd in signals.filenos():
            receiver.watch(fd)
        child.send({"type": "ready"})
        try:
            receiver.run(woken)
        except (FastlogError, OSError) as error:
            child.fail(error)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
