"""`fastlog tail --url`: the records of a web server."""

from __future__ import annotations

import sys
from contextlib import suppress

from fastlog.cli.api import Api, UnreachableApiError
from fastlog.cli.command import FAILED, INCOMPLETE, OK
from fastlog.cli.filters import Filters
from fastlog.cli.long_work import report
from fastlog.cli.options import asked_zone
from fastlog.cli.output import Output
from fastlog.cli.remote_tail import RemoteTail, id_of
from fastlog.cli.standard_output import sleep_while_read
from fastlog.cli.zone_names import zone_name
from fastlog.errors import ConfigError


def tail_url(api: Api, filters: Filters, output: Output, lines: int, *, live: bool) -> int:
    """Print the newest records, and if `live` new ones as they arrive; return the exit code."""
    if output.window is not None:
        output.window.whole = lambda found: f"curl -s {api.url}/api/v1/records/{id_of(found)}"
    remote = RemoteTail(api, filters.text(), zone_name(asked_zone()), report)
    is_any = False

    def print_newest() -> None:
        nonlocal is_any
        found = remote.newest(lines)
        is_any = bool(found)
        output.measure(found)
        sys.stdout.write(output.header() + "".join(map(output.line, found)))
        sys.stdout.flush()
        for path in remote.unread:
            report(f"{api.url} cannot read {path}; `fastlog check` there says why")

    try:
        if live:
            with suppress(KeyboardInterrupt):  # the usual way to end -f
                for batch in remote.follow(print_newest, sleep_while_read):
                    sys.stdout.write("".join(map(output.line, batch)))
                    sys.stdout.flush()
            return OK
        print_newest()
    except UnreachableApiError as error:
        raise ConfigError(f"--url: {error}") from None
    if remote.unread:
        return INCOMPLETE
    return OK if is_any or not lines else FAILED
