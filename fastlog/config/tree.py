"""The tree of settings: their names, types, ranges and defaults.

`docs/configuration.md` lists the same keys, and a test compares the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

SIZE = {"unit": "size"}
TIME = {"unit": "time"}
FILE_MODE = {"unit": "mode", "bits": 0o664}
SOCKET_MODE = {"unit": "mode", "bits": 0o666}

SECRETS = 2
"""Secrets that one key id may have, so that one can replace the other."""


class ListenConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """An address to listen on."""

    url: str
    """`tcp://host:port` (port 0: any free one) or `unix:///path`."""
    stock: bool = True
    """Whether unchanged `SocketHandler`s are admitted, or only clients of the fastlog protocol."""
    auth: Literal["optional", "required"] = "optional"
    """Whether those clients must prove that they have a key."""
    mode: Annotated[str, Meta(extra=SOCKET_MODE)] = "0600"
    """Of a Unix socket: who may connect."""
    group: str = ""
    """Of a Unix socket; empty: the group of the server's user."""


class SinkConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A place where records go."""

    url: str
    name: str
    """Unique; names the sink's cursor, so a sink that is renamed is a new sink."""
    when_full: Literal["hold", "skip"]
    """Whether the full journal waits for this sink, or goes on without it and counts a loss."""


class FilesConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Who may use the files that the server makes."""

    mode: Annotated[str, Meta(extra=FILE_MODE)] = "0600"
    """Of files; directories may also be entered by whoever may read."""
    group: str = ""
    """Of files and directories; empty: the group of the server's user."""


class LimitsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What the receiver accepts at most."""

    max_frame: Annotated[int, Meta(ge=1, le=16 * MIB - 1, extra=SIZE)] = 1 * MIB
    """Bytes of one frame; a connection that announces more is closed."""
    connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    """Connections at once; the newest beyond are closed."""
    connections_per_host: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Of these, from one other machine; 0: half of them."""
    partial_memory: Annotated[int, Meta(ge=1, extra=SIZE)] = 64 * MIB
    """Bytes of all half-received frames together; beyond, the largest are closed."""
    lag: Annotated[float, Meta(ge=0, le=3600, extra=TIME)] = 0.15
    """Seconds of work that may wait for a sink before connections are limited; 0: any."""
    rate: Annotated[int, Meta(ge=256 * KIB, le=1 * GIB, extra=SIZE)] = 2 * MIB
    """Bytes a second that a host may send then at most, beyond what each of its connections may."""
    tcp_keepalive: Annotated[float, Meta(ge=0, le=32767, extra=TIME)] = 120.0
    """Seconds of silence after which the kernel probes a TCP peer; 0: as the kernel is set."""


class JournalConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What lies between the receiver and the sinks."""

    size: Annotated[int, Meta(ge=128 * KIB, extra=SIZE)] = 1 * GIB
    """Bytes on disk, at least two segments."""
    segment: Annotated[int, Meta(ge=64 * KIB, le=4 * GIB, extra=SIZE)] = 64 * MIB
    """Bytes of one file of it."""
    memory: Annotated[int, Meta(ge=1, extra=SIZE)] = 64 * MIB
    """Bytes that are received but not durable yet."""
    when_full: Literal["drop", "pause"] = "drop"
    """Whether a full journal drops and counts records, or stops reading, which blocks the apps."""


class ClientsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What clients of the fastlog protocol are told."""

    window: Annotated[int, Meta(ge=64 * KIB, le=1 * GIB, extra=SIZE)] = 1 * MIB
    """Bytes that one may send before they are acknowledged."""
    keepalive: Annotated[float, Meta(ge=0.1, le=3600, extra=TIME)] = 5.0
    """Seconds after which one hears from the server at the latest."""


class AuthConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is who."""

    keys: list[str] = []
    """Keys of clients, each `ID:SECRET`; two of one id while a secret replaces another."""


class Retention(Struct, frozen=True, forbid_unknown_fields=True):
    """How long stored records are kept; whichever bound is reached first."""

    age: Annotated[float, Meta(gt=0, extra=TIME)] = 30 * 86400.0
    """Seconds."""
    size: Annotated[int, Meta(ge=1, extra=SIZE)] = 10 * GIB
    """Bytes of a sink's files together."""


class DecodeConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How frames become records."""

    engine: Literal["c", "python"] = "c"
    """Whether plain frames are read many at once, in C, or all one by one, in Python."""


class LogConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The server's own log, on stderr."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of it."""

    data_dir: Path = Path("fastlog-data")
    listen: list[ListenConfig] = msgspec.field(
        default_factory=lambda: [ListenConfig("tcp://127.0.0.1:9020")]
    )
    sinks: list[SinkConfig] = msgspec.field(
        default_factory=lambda: [SinkConfig("sqlite:", "sqlite", "hold")]
    )
    files: FilesConfig = FilesConfig()
    limits: LimitsConfig = LimitsConfig()
    journal: JournalConfig = JournalConfig()
    clients: ClientsConfig = ClientsConfig()
    auth: AuthConfig = AuthConfig()
    retention: Retention = Retention()
    decode: DecodeConfig = DecodeConfig()
    log: LogConfig = LogConfig()


SECTIONS: dict[str, type[Struct]] = {
    "files": FilesConfig,
    "limits": LimitsConfig,
    "journal": JournalConfig,
    "clients": ClientsConfig,
    "auth": AuthConfig,
    "retention": Retention,
    "decode": DecodeConfig,
    "log": LogConfig,
}
"""The tables of `fastlog.toml` and what each is made into."""


def to_json(config: Config) -> bytes:
    """The tree as one line of JSON, for `from_json` in another process."""
    return msgspec.json.encode(config, enc_hook=str)


def from_json(data: bytes) -> Config:
    """The tree that `to_json` wrote.

    Raises:
        msgspec.ValidationError: another version of fastlog wrote it.
    """
    return msgspec.json.decode(data, type=Config, dec_hook=_decode_path)


def _decode_path(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError
