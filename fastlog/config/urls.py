"""Check the URLs of listeners and sinks, and suggest a valid one for a mistyped one."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from fastlog.config.values import closest
from fastlog.errors import ConfigError

_ADDRESS = re.compile(r"[\w.:\[\]-]+", re.ASCII)
"""A host, a port, or both."""
_PORT = 9020
_PORTS = {"tcp": _PORT, "tls": 9021}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_SUN_PATH = 107
"""The longest path of a Unix socket on Linux, in bytes."""


def check_listen(url: str) -> None:
    """Check that the URL can be listened on.

    Raises:
        ConfigError: it cannot; the text lacks the place, which the caller adds.
    """
    try:
        _check_listen(url)
    except ConfigError as error:
        raise ConfigError(f"{error}{_suggest_listen(url)}") from None


def _check_listen(url: str) -> None:
    parts = _split(url)
    if parts.scheme in ("tcp", "tls"):
        _check_tcp(parts, url)
    elif parts.scheme == "unix":
        if parts.netloc or not parts.path.startswith("/") or parts.query or parts.fragment:
            raise ConfigError(f"expected unix:///path, got {url!r}")
        if len(parts.path.encode()) > _SUN_PATH:
            raise ConfigError(f"the path of a Unix socket has at most {_SUN_PATH} bytes: {url!r}")
    else:
        expected = "expected tcp://host:port, tls://host:port or unix:///path"
        raise ConfigError(f"{expected}, got {url!r}")


def _check_tcp(parts: SplitResult, url: str) -> None:
    try:
        port = parts.port
    except ValueError:
        raise ConfigError(f"expected a port from 0 to 65535 in {url!r}") from None
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        raise ConfigError(f"expected {parts.scheme}://host:port and nothing more, got {url!r}")
    if not parts.hostname:
        raise ConfigError(f"expected a host in {url!r}; 0.0.0.0 or [::] listens on every address")
    _check_host(parts.hostname)
    if port is None:
        example = f"{parts.scheme}://{parts.netloc}:{_PORTS[parts.scheme]}"
        raise ConfigError(f"expected a port in {url!r}, such as {example}")


def _check_host(host: str) -> None:
    try:
        host.encode("idna")
    except UnicodeError:
        raise ConfigError(f"{host!r} is no name of a host, and no address") from None


def is_tls(url: str) -> bool:
    """Return whether this is the URL of a TLS listener."""
    return url.startswith("tls:")


def check_web(url: str) -> None:
    """Check that a web server can listen on the URL.

    Raises:
        ConfigError: it cannot; the text lacks the place, which the caller adds.
    """
    parts = _split(url)
    rest = (parts.query, parts.fragment, parts.username)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.path not in ("", "/")
        or any(rest)
    ):
        expected = "expected http://host:port or https://host:port, such as http://127.0.0.1:9080"
        raise ConfigError(f"{expected}, got {url!r}")
    _check_host(parts.hostname)
    try:
        port = parts.port
    except ValueError:
        raise ConfigError(f"expected a port from 0 to 65535 in {url!r}") from None
    if port is None:
        example = f"{parts.scheme}://{parts.netloc}:9080"
        raise ConfigError(f"expected a port in {url!r}, such as {example}")


def check_sink(url: str) -> None:
    """Check that the text is a URL. `fastlog.sinks` checks whether such a sink exists.

    Raises:
        ConfigError: it is not; the text lacks the place, which the caller adds.
    """
    if not _SCHEME.match(url):
        expected = "expected a URL such as sqlite: or ndjson:///path"
        raise ConfigError(f"{expected}, got {url!r}{_suggest_sink(url)}")
    if _has_open_password(url):
        raise ConfigError("write /, ? and # in a password as %2F, %3F and %23")
    _split(url)


def check_source(url: str) -> None:
    """Check the scheme of a source.

    Raises:
        ConfigError: It is wrong; the text lacks the place, which the caller adds.
    """
    if _split(url).scheme != "nats":
        raise ConfigError(f"expected nats://host:4222/STREAM, got {public_url(url)!r}")


def suggest_path(url: SplitResult) -> str:
    """Return `; did you mean 'ndjson:///var/…'?` for a path after two slashes, or ""."""
    return f"; did you mean '{url.scheme}:///{url.netloc}{url.path}'?" if url.netloc else ""


def _suggest_listen(url: str) -> str:
    """Return `; did you mean 'tcp://…'?`, or "" if nothing valid is near."""
    scheme, colon, rest = url.partition(":")
    near = closest(scheme, ("tcp", "tls", "unix")) if colon else None
    place = rest.strip("/")
    candidates = []
    if near is not None and place:
        candidates.append(f"{near}:{'///' if near == 'unix' else '//'}{place}")
    if url.startswith("/"):
        candidates.append(f"unix://{url}")
    elif url.isdecimal():
        candidates.append(f"tcp://127.0.0.1:{url}")
    elif _ADDRESS.fullmatch(url):
        candidates += [f"tcp://{url}", f"tcp://{url}:{_PORT}"]
    for candidate in candidates:
        try:
            _check_listen(candidate)
        except ConfigError:
            continue
        return f"; did you mean {candidate!r}?"
    return ""


def _suggest_sink(url: str) -> str:
    if url.startswith("/"):
        return f"; did you mean {f'ndjson://{url}'!r}?"
    near = closest(url, ("console", "sqlite"))  # the sinks that need no path
    return f"; did you mean '{near}:'?" if near else ""


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:  # a malformed IPv6 address
        raise ConfigError(f"not a URL: {url!r} ({error})") from None


def public_url(url: str) -> str:
    """Return the URL of a sink without user, password and options, which may be secret."""
    if _has_open_password(url):
        return f"{url.partition('://')[0]}://…"
    return re.sub("(?<=://)[^/]*@", "", re.split("[?#]", url)[0])


def _has_open_password(url: str) -> bool:
    """Return whether a password seems to have a `/`, `?` or `#`, which end the host of a URL.

    Then what comes before it is no `host:port`, or the name of an option has an `@`.
    """
    found = re.fullmatch(r"[^:/?#]+://([^/?#@]*:[^/?#@]*)([/?#])(.*@.*)", url, re.DOTALL)
    if found is None:
        return False
    host, end, rest = found.groups()
    if not re.search(r"(:\d*|\])$", host):
        return True
    return end == "#" or (end == "?" and "@" in re.split("[=&]", rest)[0])
