"""What a `nats:` URL says: servers, stream, credentials, and how the stream is made."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from fastlog.config import parse_size
from fastlog.config.units import parse_duration
from fastlog.config.urls import public_url
from fastlog.config.values import correct_units, nearest
from fastlog.errors import ConfigError

PORT: Final = 4222
MAX_BYTES: Final = 10 << 30
"""The limit of a stream that is made here, in bytes."""
REPLICAS: Final = 3
LINGER: Final = 0.5
"""Seconds between two messages while little comes. A message costs a cluster as much as some ten
records; with a thousand collectors, ten messages a second of each are more than it can do."""
LONGEST_LINGER: Final = 60.0
_OPTIONS: Final = (
    *("creds", "nkey", "tls", "tls_ca", "tls_cert", "tls_key"),
    *("prefix", "replicas", "max_bytes", "monitor", "linger", "take_over"),
)
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?", re.ASCII)
_STREAM: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", re.ASCII)


class Target(NamedTuple):
    """A stream of a cluster, and how to reach it."""

    servers: tuple[str, ...]
    """Their URLs, without credentials."""
    stream: str
    user: str
    password: str
    creds: str
    """The path of a credentials file; "" for none."""
    nkey: str
    """The path of a file with the seed of an nkey; "" for none."""
    tls: bool
    tls_ca: str
    tls_cert: str
    tls_key: str
    prefix: str
    """The first part of all subjects."""
    replicas: int
    max_bytes: int
    monitor: str
    """The URL of a server's monitoring endpoint; "" for none."""
    linger: float
    """Seconds between two messages of a node while little comes."""
    take_over: bool
    """Whether a central takes nodes that another one has stored in files of its own."""
    label: str
    """The URL without secrets, for messages."""

    @property
    def states(self) -> str:
        """The name of the stream with the state of each node."""
        return f"{self.stream}-stored"

    def blocks_of(self, node: str) -> str:
        """Return the subject of a node's blocks; of all nodes for `*`."""
        return f"{self.prefix}.{node}"

    def state_of(self, node: str) -> str:
        """Return the subject of a node's state; of all nodes for `*`."""
        return f"{self.prefix}-stored.{node}"

    @property
    def centrals(self) -> str:
        """The subject on which the centrals announce themselves to each other."""
        return f"{self.prefix}-central"

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the TLS settings; None where the URL asks for no TLS.

        Raises:
            ConfigError: A file cannot be used.
        """
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca or None)
            if self.tls_cert:
                context.load_cert_chain(self.tls_cert, self.tls_key or None)
        except OSError as error:  # ssl.SSLError is one
            files = ", ".join(name for name in (self.tls_ca, self.tls_cert, self.tls_key) if name)
            what = error.strerror or error
            raise ConfigError(f"{self.label}: cannot use {files}: {what}") from error
        return context


def parse_url(url: SplitResult) -> Target:
    """Return what a `nats:` URL names.

    Raises:
        ConfigError: It is wrong; the text gives the reason, and no secret.
    """
    options = _options(url)
    credentials, _, hosts = url.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    stream = url.path.removeprefix("/")
    label = public_url(url.geturl())
    names = hosts.split(",")
    if not all(map(_is_host, names)) or not _STREAM.fullmatch(stream):
        raise ConfigError(
            f"expected nats://host:{PORT}/STREAM, or several hosts with commas between, got {label}"
        )
    prefix = options.get("prefix", "fastlog")
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError(f"nats: prefix is letters, digits, '_', '-' and '.', not {prefix!r}")
    for name in ("creds", "nkey", "tls_ca", "tls_cert", "tls_key"):
        if options.get(name) and not Path(options[name]).is_absolute():
            raise ConfigError(f"nats: {name} is an absolute path, not {options[name]!r}")
    if sum((bool(user), "creds" in options, "nkey" in options)) > 1:
        raise ConfigError("nats: give one of user, creds and nkey")
    return Target(
        servers=tuple(f"nats://{name if _has_port(name) else f'{name}:{PORT}'}" for name in names),
        stream=stream,
        user=unquote(user),
        password=unquote(password),
        creds=options.get("creds", ""),
        nkey=options.get("nkey", ""),
        tls=_flag(options, "tls") or any(name.startswith("tls_") for name in options),
        tls_ca=options.get("tls_ca", ""),
        tls_cert=options.get("tls_cert", ""),
        tls_key=options.get("tls_key", ""),
        prefix=prefix,
        replicas=_replicas(options.get("replicas", str(REPLICAS))),
        max_bytes=_max_bytes(options.get("max_bytes")),
        monitor=_monitor(options.get("monitor", "")),
        linger=_linger(options.get("linger")),
        take_over=_flag(options, "take_over"),
        label=label,
    )


def _options(url: SplitResult) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(url.query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise ConfigError(f"nats: no option {name!r}{nearest(name, _OPTIONS)}")
        if name in options:
            raise ConfigError(f"nats: option {name!r} is given twice")
        options[name] = value
    return options


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and 0 < int((found[2] or ":1").removeprefix(":")) < 1 << 16


def _flag(options: dict[str, str], name: str) -> bool:
    text = options.get(name, "no")
    if text not in ("no", "yes"):
        raise ConfigError(f"nats: {name} is no or yes, not {text!r}")
    return text == "yes"


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]


def _replicas(text: str) -> int:
    if text not in ("1", "2", "3", "4", "5"):
        raise ConfigError(f"nats: replicas is a number from 1 to 5, not {text!r}")
    return int(text)


def _max_bytes(text: str | None) -> int:
    if text is None:
        return MAX_BYTES
    try:
        size = parse_size(text)
    except ValueError:
        size = 0
    if size < 1 << 20:
        hint = correct_units(text, parse_size)
        raise ConfigError(f"nats: max_bytes is a size of at least 1MiB, not {text!r}{hint}")
    return size


def _linger(text: str | None) -> float:
    if text is None:
        return LINGER
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_LINGER:
        hint = correct_units(text, parse_duration)
        raise ConfigError(f"nats: linger is a time of at most 1min, not {text!r}{hint}")
    return seconds


def _monitor(text: str) -> str:
    if text and urlsplit(text).scheme not in ("http", "https"):
        raise ConfigError(f"nats: monitor is a URL such as http://host:8222, not {text!r}")
    return text.rstrip("/")
