"""What the URL of an OTLP receiver says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode

from fastlog.config.urls import public_url
from fastlog.errors import ConfigError
from fastlog.sinks.options import Options

PATH: Final = "/v1/logs"
"""Where a receiver takes log records, by the specification."""
PORT: Final = 4318
TIMEOUT: Final = 10.0
BATCH_SIZE: Final = 1 << 20
MAX_TRACEBACK: Final = 32 << 10
_OPTIONS: Final = (
    *("batch_size", "timeout", "compression", "max_traceback", "headers_file", "headers_env"),
    *("ca_file", "cert_file", "key_file"),
)
_PATH: Final = re.compile(r"[!-~]*")
_TLS_OPTIONS: Final = ("ca_file", "cert_file", "key_file")


class Settings(NamedTuple):
    """The settings of a sink. Sizes are in bytes, times in seconds."""

    is_secure: bool
    host: str
    port: int
    path: str
    label: str
    """The URL without options, for messages."""
    batch_size: int
    """Bytes of a request before it is compressed; a larger record is sent alone."""
    timeout: float
    """For a whole exchange, from connecting to the end of the answer."""
    gzip: bool
    max_traceback: int
    """See `Mapping`."""
    headers_file: Path | None
    headers_env: str | None
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None
    attributes: dict[str, str]
    """Those of the resource."""


def parse_url(url: SplitResult) -> Settings:
    """Return what an `otlp+http:` or `otlp+https:` URL says.

    An option whose name has a dot is an attribute of the resource.

    Raises:
        ConfigError: It is wrong; the text gives the reason.
    """
    is_secure = url.scheme == "otlp+https"
    label = public_url(url.geturl())
    if url.username is not None:
        raise ConfigError(
            f"{label}: a URL is no place for a password; put the header `authorization` into a "
            "file, and name it in headers_file="
        )
    try:
        port = url.port
    except ValueError:
        raise ConfigError(f"{label}: expected a port from 0 to 65535") from None
    if not url.hostname:
        raise ConfigError(f"expected {url.scheme}://host:{PORT}, got {label!r}")
    if not _PATH.fullmatch(url.path) or url.fragment:
        raise ConfigError(f"{label}: expected a path of ASCII characters; percent-encode others")
    pairs = parse_qsl(url.query, keep_blank_values=True)
    attributes: dict[str, str] = {}
    for name, value in pairs:
        if "." in name:
            if name in attributes:
                raise ConfigError(f"{url.scheme}: option {name!r} is given twice")
            attributes[name] = value
    rest = urlencode([pair for pair in pairs if "." not in pair[0]])
    options = Options(url._replace(query=rest), _OPTIONS)
    files = {name: _path(options, name) for name in ("headers_file", *_TLS_OPTIONS)}
    if not is_secure and (given := [name for name in _TLS_OPTIONS if files[name] is not None]):
        raise ConfigError(f"{url.scheme}: {given[0]} is an option of otlp+https")
    if files["key_file"] is not None and files["cert_file"] is None:
        raise ConfigError(f"{url.scheme}: key_file is given without cert_file")
    return Settings(
        is_secure=is_secure,
        host=url.hostname,
        port=PORT if port is None else port,
        path=url.path if url.path not in ("", "/") else PATH,
        label=label,
        batch_size=options.size("batch_size") or BATCH_SIZE,
        timeout=options.duration("timeout") or TIMEOUT,
        gzip=options.choice("compression", ["gzip", "none"]) == "gzip",
        max_traceback=options.size("max_traceback") or MAX_TRACEBACK,
        headers_env=options.text("headers_env"),
        attributes=attributes,
        **files,
    )


def _path(options: Options, name: str) -> Path | None:
    text = options.text(name)
    return None if text is None else Path(text)
