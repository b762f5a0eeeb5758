"""Check the URLs of listeners and sinks."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from fastlog.errors import ConfigError

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_SUN_PATH = 107
"""The longest path of a Unix socket on Linux, in bytes."""


def check_listen(url: str) -> None:
    """Check that the URL can be listened on.

    Raises:
        ConfigError: it cannot; the text lacks the place, which the caller adds.
    """
    parts = _split(url)
    if parts.scheme == "tcp":
        _check_tcp(parts, url)
    elif parts.scheme == "unix":
        if parts.netloc or not parts.path.startswith("/") or parts.query or parts.fragment:
            raise ConfigError(f"expected unix:///path, got {url!r}")
        if len(parts.path.encode()) > _SUN_PATH:
            raise ConfigError(f"the path of a Unix socket has at most {_SUN_PATH} bytes: {url!r}")
    elif parts.scheme == "tls":
        raise ConfigError(f"tls:// is not supported yet; use tcp:// or unix:// instead of {url!r}")
    else:
        raise ConfigError(f"expected tcp://host:port or unix:///path, got {url!r}")


def _check_tcp(parts: SplitResult, url: str) -> None:
    try:
        port = parts.port
    except ValueError:
        raise ConfigError(f"expected a port from 0 to 65535 in {url!r}") from None
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        raise ConfigError(f"expected tcp://host:port and nothing more, got {url!r}")
    if not parts.hostname:
        raise ConfigError(f"expected a host in {url!r}; 0.0.0.0 or [::] listens on every address")
    if port is None:
        raise ConfigError(f"expected a port in {url!r}, such as tcp://{parts.netloc}:9020")


def check_web(url: str) -> None:
    """Check that a web server can listen on the URL.

    Raises:
        ConfigError: it cannot; the text lacks the place, which the caller adds.
    """
    parts = _split(url)
    if parts.scheme == "https":
        raise ConfigError(f"https is left to a proxy in front; use http:// instead of {url!r}")
    rest = (parts.query, parts.fragment, parts.username)
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/") or any(rest):
        raise ConfigError(f"expected http://host:port, such as http://127.0.0.1:9080, got {url!r}")
    try:
        port = parts.port
    except ValueError:
        raise ConfigError(f"expected a port from 0 to 65535 in {url!r}") from None
    if port is None:
        raise ConfigError(f"expected a port in {url!r}, such as http://{parts.netloc}:9080")


def check_sink(url: str) -> None:
    """Check that the text is a URL. `fastlog.sinks` checks whether such a sink exists.

    Raises:
        ConfigError: it is not; the text lacks the place, which the caller adds.
    """
    if not _SCHEME.match(url):
        raise ConfigError(f"expected a URL such as sqlite: or ndjson:///path, got {url!r}")
    _split(url)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:  # a malformed IPv6 address
        raise ConfigError(f"not a URL: {url!r} ({error})") from None


def public_url(url: str) -> str:
    """Return the URL of a sink without user, password and options, which may be secret."""
    return re.sub("(?<=://)[^/]*@", "", re.split("[?#]", url)[0])
