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
"""How many secrets one key id may have: two, so that a new one can replace an old one."""


class ListenConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """An address to listen on."""

    url: str
    """`tcp://host:port` (port 0: any free one), `tls://host:port` or `unix:///path`."""
    stock: bool = True
    """Whether stock `SocketHandler`s are admitted, or only clients of the fastlog protocol."""
    auth: Literal["optional", "required"] = "optional"
    """Whether clients of the fastlog protocol must authenticate."""
    mode: Annotated[str, Meta(extra=SOCKET_MODE)] = "0600"
    """The mode of a Unix socket, which determines the users that may connect."""
    group: str = ""
    """The group of a Unix socket; empty: that of the server's user."""
    certificate: str = ""
    """The path of a PEM file with the certificate of a `tls://` listener, and its chain."""
    key: str = ""
    """The path of a PEM file with its private key; empty: the key is in `certificate`."""
    client_ca: str = ""
    """The path of a PEM file with the authorities whose certificates clients must have; empty:
    clients need none."""
    crl: str = ""
    """The path of a PEM file with the revocation lists of these authorities; empty: none."""
    identity: Literal["key", "certificate"] = "key"
    """What a client id is bound to: only to a key, or also to the name in a client's
    certificate."""


class SinkConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A sink for records."""

    url: str
    name: str
    """Unique. The sink's cursor has this name, so a renamed sink is a new sink."""
    when_full: Literal["hold", "skip"]
    """Whether a full journal keeps records for this sink, or drops them and counts a loss."""
    filter: str = ""
    """A query: the sink stores the records that match; empty: all."""
    fields: list[str] = []
    """The fields that it stores; empty: all."""
    without: list[str] = []
    """The fields that it does not store."""


class RedactConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What no sink may store: a field, or the texts that match a pattern."""

    field: str = ""
    """A field such as `extra.password`."""
    pattern: str = ""
    """Instead: a regular expression of RE2."""
    fields: list[str] = []
    """Where the pattern is looked for; empty: in all texts."""
    action: Literal["mask", "drop"] = "mask"
    """Whether `***` is put in its place, or nothing."""
    name: str = ""
    """What its count is called; empty: the field, or `pattern-2` for the second rule."""


class ExpireConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Records that are deleted before the retention deletes their whole day."""

    filter: str
    """A query: which ones."""
    age: Annotated[float, Meta(gt=0, extra=TIME)]
    """Age in seconds, from the end of the day of receipt on."""


class SourceConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a central server takes the blocks of other servers from."""

    url: str = ""
    """A stream, as `nats://host:4222/STREAM`; empty: nowhere."""
    sink: str = ""
    """The name of the sink that stores them; empty: the only one that can."""


class FilesConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Mode and group of the files that the server makes."""

    mode: Annotated[str, Meta(extra=FILE_MODE)] = "0600"
    """The mode of files; a directory has execute permission where there is read permission."""
    group: str = ""
    """The group of files and directories; empty: that of the server's user."""


class LimitsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The limits of the receiver."""

    max_frame: Annotated[int, Meta(ge=1, le=16 * MIB - 1, extra=SIZE)] = 1 * MIB
    """Bytes of one frame; a connection that announces more is closed."""
    connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    """Connections at once; a new one above the limit is closed."""
    connections_per_host: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Connections at once from one other machine; 0: half of `connections`."""
    partial_memory: Annotated[int, Meta(ge=4 * KIB, extra=SIZE)] = 64 * MIB
    """Bytes of all partial frames together; above it, those with the largest are closed."""
    lag: Annotated[float, Meta(ge=0, le=3600, extra=TIME)] = 0.15
    """Seconds of backlog of a sink above which connections are throttled; 0: never."""
    rate: Annotated[int, Meta(ge=256 * KIB, le=1 * GIB, extra=SIZE)] = 2 * MIB
    """Bytes a second that a throttled host may send, besides what each of its connections may."""
    tcp_keepalive: Annotated[float, Meta(ge=0, le=32767, extra=TIME)] = 120.0
    """Seconds of silence after which the kernel probes a TCP peer; 0: the kernel's default."""


class JournalConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The journal, between the receiver and the sinks."""

    size: Annotated[int, Meta(ge=128 * KIB, extra=SIZE)] = 1 * GIB
    """Bytes on disk, at least two segments."""
    segment: Annotated[int, Meta(ge=64 * KIB, le=4 * GIB, extra=SIZE)] = 64 * MIB
    """Bytes of one segment file."""
    memory: Annotated[int, Meta(ge=1, extra=SIZE)] = 64 * MIB
    """Bytes that are received and not durable yet."""
    when_full: Literal["drop", "pause"] = "drop"
    """Whether a full journal drops and counts records, or pauses reading, which blocks clients."""


class ClientsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Terms for clients of the fastlog protocol."""

    window: Annotated[int, Meta(ge=64 * KIB, le=1 * GIB, extra=SIZE)] = 1 * MIB
    """Bytes that a client may send before they are acknowledged."""
    keepalive: Annotated[float, Meta(ge=0.1, le=3600, extra=TIME)] = 5.0
    """The longest silence of the server, in seconds."""


class AuthConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Authentication of clients."""

    keys: list[str] = []
    """Keys of clients, each `ID:SECRET`. An id has two while a new secret replaces the old one."""


class RetentionConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How long stored records are kept, until the first of three limits."""

    age: Annotated[float, Meta(gt=0, extra=TIME)] = 30 * 86400.0
    """Age in seconds."""
    size: Annotated[int, Meta(ge=1, extra=SIZE)] = 10 * GIB
    """Bytes of all files of a sink."""
    keep_free: Annotated[int, Meta(ge=0, extra=SIZE)] = 0
    """Bytes that are to be free on the disk of the files; 0: however many."""


class WebConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The web server: page and API."""

    url: str = ""
    """Where the server serves them, as `http://host:port` or `https://host:port`; empty:
    nowhere."""
    certificate: str = ""
    """The path of a PEM file with the certificate of an `https://` URL, and its chain."""
    key: str = ""
    """The path of a PEM file with its private key; empty: the key is in `certificate`."""
    password_file: str = ""
    """The path of a file with the password that is needed, as `fastlog web --make-password` prints
    it; empty: none."""
    tokens: list[str] = []
    """Bearer tokens, each `NAME:TOKEN`."""
    hosts: list[str] = []
    """Further names that browsers may use for the server."""
    searches: Annotated[int, Meta(ge=1, le=256)] = 4
    """Searches at a time; others wait."""
    tails: Annotated[int, Meta(ge=1, le=10_000)] = 100
    """Tails at a time."""


class DecodeConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How frames become records."""

    engine: Literal["c", "python"] = "c"
    """Whether frames are decoded in batches in C, with a fallback, or one by one in Python."""


class LogConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The log of the server, on stderr."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration."""

    data_dir: Path = Path("fastlog-data")
    listen: list[ListenConfig] = msgspec.field(
        default_factory=lambda: [ListenConfig("tcp://127.0.0.1:9020")]
    )
    sinks: list[SinkConfig] = msgspec.field(
        default_factory=lambda: [SinkConfig("sqlite:", "sqlite", "hold")]
    )
    source: SourceConfig = SourceConfig()
    files: FilesConfig = FilesConfig()
    limits: LimitsConfig = LimitsConfig()
    journal: JournalConfig = JournalConfig()
    clients: ClientsConfig = ClientsConfig()
    auth: AuthConfig = AuthConfig()
    retention: RetentionConfig = RetentionConfig()
    redact: list[RedactConfig] = []
    expire: list[ExpireConfig] = []
    web: WebConfig = WebConfig()
    decode: DecodeConfig = DecodeConfig()
    log: LogConfig = LogConfig()


SECTIONS: dict[str, type[Struct]] = {
    "source": SourceConfig,
    "files": FilesConfig,
    "limits": LimitsConfig,
    "journal": JournalConfig,
    "clients": ClientsConfig,
    "auth": AuthConfig,
    "retention": RetentionConfig,
    "web": WebConfig,
    "decode": DecodeConfig,
    "log": LogConfig,
}
"""The tables of `fastlog.toml`, and the class of each."""


def to_json(config: Config) -> bytes:
    """Encode the tree as one line of JSON, for `from_json` in another process."""
    return msgspec.json.encode(config, enc_hook=str)


def from_json(data: bytes) -> Config:
    """Decode the tree that `to_json` encoded.

    Raises:
        msgspec.ValidationError: another version of fastlog encoded it.
    """
    return msgspec.json.decode(data, type=Config, dec_hook=_decode_path)


def _decode_path(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError
