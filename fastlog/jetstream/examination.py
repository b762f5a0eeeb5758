"""What `fastlog check` finds out about a cluster and its stream. It changes nothing."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastlog.errors import SinkError
from fastlog.jetstream import streams
from fastlog.jetstream.connection import NO_STREAM, ApiError, Connection
from fastlog.jetstream.target import parse_url


def examine(url: str) -> list[str]:
    """Return what makes the stream of a URL less safe than it can be; [] also where it is not made
    yet.

    Raises:
        ConfigError: The URL is wrong.
        SinkError: The cluster cannot be used.
    """
    target = parse_url(urlsplit(url))
    connection = Connection(target, "fastlog check")
    try:
        connection.open()
        found = streams.warnings(streams.read_info(connection, target.stream), target.prefix)
    except ApiError as error:
        if error.code != NO_STREAM:
            raise
        found = []
    finally:
        connection.close()
    if target.monitor:
        try:
            found += filter(None, [streams.sync_warning(target.monitor)])
        except SinkError as error:
            found.append(str(error))
    return found
