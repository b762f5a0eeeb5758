"""Check that the configured source can run, before anything is started."""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import urlsplit

from fastlog.config import Config
from fastlog.errors import ConfigError, how_to_install
from fastlog.jetstream.target import parse_url


def check_source(config: Config) -> None:
    """Check the URL of the source, and that its library is installed.

    Raises:
        ConfigError: The URL is wrong, or the library is missing.
    """
    parse_url(urlsplit(config.source.url))
    if find_spec("nats") is None:
        raise ConfigError(f"a source needs nats-py; {how_to_install('nats')}")
