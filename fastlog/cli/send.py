"""`fastlog send`: one record, the way every application sends its own."""

from __future__ import annotations

import logging
from logging.handlers import SocketHandler
from urllib.parse import urlsplit

import click

from fastlog.cli.command import OK, Command
from fastlog.cli.options import place_options
from fastlog.config import Config
from fastlog.config.urls import check_listen
from fastlog.errors import ConfigError, FastlogError
from fastlog.query import parse_level


class _Handler(SocketHandler):
    """The stock handler, but a failure is an exception and not a silent retry later."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 the library's name
        raise


@click.command(cls=Command)
@click.argument("message")
@click.option("--level", default="INFO", metavar="LEVEL", help="Its level (default: INFO).")
@click.option(
    "--logger", default="fastlog.send", metavar="NAME", help="Its logger (default: fastlog.send)."
)
@click.option(
    "--url",
    "--listen",
    metavar="URL",
    help="Where the server listens (default: the first listener that admits stock clients).",
)
@place_options
def send(config: Config, message: str, level: str, logger: str, url: str | None) -> int:
    """Send one record with the standard library's SocketHandler, to see that it works."""
    target = url or _stock_listener(config)
    try:
        check_listen(target)
    except ConfigError as error:
        raise ConfigError(f"--url: {error}") from None
    number = parse_level(level)
    record = logging.LogRecord(logger, number, __file__, 0, message, None, None)
    handler = _handler(target)
    try:
        handler.sock = handler.makeSocket()
        handler.emit(record)
    except OSError as error:
        raise FastlogError(f"nobody listens on {target}: {error.strerror or error}") from None
    finally:
        handler.close()
    click.echo(f"sent to {target}")
    return OK


def _stock_listener(config: Config) -> str:
    for listen in config.listen:
        if listen.stock:
            return listen.url
    raise FastlogError(
        "no listener of the configuration admits stock clients (stock = false); "
        "use fastlog_client.SocketHandler"
    )


def _handler(url: str) -> SocketHandler:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return _Handler(parts.path, None)
    assert parts.hostname is not None
    return _Handler(parts.hostname, parts.port)
