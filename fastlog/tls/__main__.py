"""The TLS process: it gets descriptors from the supervisor, and returns an exit status.

`python -m fastlog.tls --config-fd N --control-fd N --channel-fd N --listen-fds N,N;N`

The listeners' descriptors are in groups, one for each `tls://` URL of the configuration. At the
message `retire`, the process accepts nothing more, and ends with its last connection; at each such
message it ends the connections whose certificates are revoked by now. At SIGTERM it ends at once.
"""

from __future__ import annotations

import os
import resource
import sys

from fastlog.child import Child, LostError, arguments, log_to_stderr
from fastlog.config import is_tls
from fastlog.errors import FastlogError
from fastlog.tls import listeners
from fastlog.tls.channel import Sender
from fastlog.tls.report import describe, read_report, write_report
from fastlog.tls.server import RESERVED_FILES, Server


def main(argv: list[str]) -> int:
    """Run the process.

    Returns:
        The exit status: 0 after its work, 1 after an error that was sent to the supervisor.
    """
    flags = arguments(
        argv, {"config-fd": int, "control-fd": int, "channel-fd": int, "listen-fds": str}
    )
    child = Child.from_fds(flags["config-fd"], flags["control-fd"])
    config = child.config
    log_to_stderr("tls", config.log.level)
    groups = [map(int, fds.split(",")) for fds in flags["listen-fds"].split(";")]
    configured = [listen for listen in config.listen if is_tls(listen.url)]
    fds = [(fd, listen) for group, listen in zip(groups, configured, strict=True) for fd in group]
    try:
        made, report = listeners.make(fds), describe(configured)
        server = Server(
            made,
            Sender(flags["channel-fd"]),
            _affordable(config.limits.connections),
            config.limits.tcp_keepalive,
        )
        with child.signals() as signals:

            def woken() -> None:
                if any(message["type"] == "retire" for message in signals.wait(0)):
                    server.retire()
                    now = read_report(config.data_dir)  # of the process that accepts
                    server.end_revoked({each.url: each.crl for each in now})

            for fd in signals.filenos():
                server.handle(fd, woken)
            write_report(config.data_dir, report)
            child.send({"type": "ready"})
            server.run(signals.stopping, child.give_sign)
    except LostError:
        os._exit(1)
    except (FastlogError, OSError) as error:
        child.fail(error)
        return 1
    return 0


def _affordable(connections: int) -> int:
    """Return as many connections as the limit of open files allows: each has two."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, (limit - RESERVED_FILES) // 2))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
