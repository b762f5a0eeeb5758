"""The two streams: one with the blocks of all nodes, one with the state of each.

A stream that exists is used as it is: what makes it less safe is reported.
"""

from __future__ import annotations

import logging
import urllib.request
from http.client import HTTPException
from typing import Any, Final

import msgspec

from fastlog.config import format_size
from fastlog.errors import SinkUnavailableError
from fastlog.jetstream.connection import NO_STREAM, ApiError, Connection

log = logging.getLogger(__name__)

SMALL: Final = 256 << 20
"""Bytes below which a stream is reported as small: an hour of 70 KB a second."""
_STATES_BYTES: Final = 64 << 20
_ANSWER: Final = 1 << 20
"""Bytes of a monitoring endpoint's answer that are read."""
_WINDOW: Final = 1_000_000_000
"""The dedup window in nanoseconds. No message has an id: it only costs memory."""


class _Config(msgspec.Struct):
    name: str
    subjects: list[str] = []
    retention: str = ""
    storage: str = ""
    discard: str = ""
    num_replicas: int = 1
    max_bytes: int = -1
    max_msgs: int = -1
    max_msgs_per_subject: int = -1
    max_age: int = 0
    deny_purge: bool = False


class _State(msgspec.Struct):
    bytes: int = 0
    messages: int = 0
    subjects: dict[str, int] = {}


class StreamInfo(msgspec.Struct):
    """What JetStream says of a stream."""

    config: _Config
    state: _State
    total: int = 0
    """How many subjects there are, where they were asked for: an answer has 100,000 at most."""


class _ServerConfig(msgspec.Struct):
    sync_always: bool = False
    sync_interval: float = 0.0


class _Jsz(msgspec.Struct):
    """What a monitoring endpoint says of JetStream."""

    config: _ServerConfig | None = None


def ensure(connection: Connection) -> StreamInfo:
    """Return the stream of the blocks; make both streams where they do not exist.

    Raises:
        ApiError: They cannot be made like this.
        SinkUnavailableError: The cluster does not answer.
    """
    target = connection.target
    common = {"storage": "file", "num_replicas": target.replicas, "duplicate_window": _WINDOW}
    _ensure(
        connection,
        {
            **common,
            "name": target.states,
            "subjects": [target.state_of("*")],
            "retention": "limits",
            "discard": "old",
            "max_msgs_per_subject": 1,
            "max_bytes": _STATES_BYTES,
        },
    )
    return _ensure(
        connection,
        {
            **common,
            "name": target.stream,
            "subjects": [target.blocks_of("*")],
            "retention": "limits",
            "discard": "new",
            "max_bytes": target.max_bytes,
        },
    )


def _ensure(connection: Connection, wanted: dict[str, Any]) -> StreamInfo:
    name = wanted["name"]
    try:
        return read_info(connection, name)
    except ApiError as error:
        if error.code != NO_STREAM:
            raise
    connection.ask(f"STREAM.CREATE.{name}", wanted)
    log.info("%s: made the stream %s", connection.target.label, name)
    return read_info(connection, name)


def read_info(connection: Connection, stream: str, subjects: str = "") -> StreamInfo:
    """Return what JetStream says of a stream.

    Args:
        subjects: Which subjects to count; "" for none.

    Raises:
        ApiError: There is no such stream.
    """
    question = {"subjects_filter": subjects} if subjects else None
    return connection.ask_for(StreamInfo, f"STREAM.INFO.{stream}", question)


def warnings(info: StreamInfo, prefix: str) -> list[str]:
    """Return what makes a stream of blocks less safe than it can be."""
    config = info.config
    name, found = f"the stream {config.name}", []
    if config.num_replicas < 3:
        count = "one replica" if config.num_replicas == 1 else f"{config.num_replicas} replicas"
        found.append(f"{name} has {count}: use 3, or it stops with the first server that fails")
    if f"{prefix}.*" not in config.subjects and f"{prefix}.>" not in config.subjects:
        found.append(f"{name} takes {', '.join(config.subjects)}, not {prefix}.*")
    if config.discard != "new":
        found.append(
            f"{name} discards old messages when it is full: collectors then publish them again; "
            "use discard new"
        )
    if config.retention != "limits" or config.max_age or config.deny_purge:
        found.append(f"{name} must have the retention limits, no max_age, and allow purges")
    if config.storage != "file":
        found.append(f"{name} is kept in memory: use the storage file")
    if 0 <= config.max_bytes < SMALL:
        size = format_size(config.max_bytes)
        found.append(f"{name} holds {size} only: journals wait while it is full")
    elif config.max_bytes < 0:
        found.append(f"{name} has no limit: it fills the disks while the central is away")
    return found


def sync_warning(monitor: str) -> str:
    """Return what a server's monitoring endpoint says against its durability; "" for nothing.

    Raises:
        SinkUnavailableError: It does not answer.
    """
    url = f"{monitor}/jsz?config=true"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 http(s) only: `target`
            config = msgspec.json.decode(answer.read(_ANSWER), type=_Jsz).config
    except (OSError, ValueError, HTTPException) as error:
        raise SinkUnavailableError(f"{url}: {getattr(error, 'reason', error)}") from error
    if config is None:
        return f"{url}: JetStream is not enabled on this server"
    if config.sync_always:
        return ""
    seconds = config.sync_interval / 1e9
    return (
        f"JetStream acknowledges before it syncs (every {seconds:.0f} s), so after a power failure "
        "collectors publish again what it has lost; set sync_interval: always"
    )
