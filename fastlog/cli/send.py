"""`fastlog send`: send one record, as an application would."""

from __future__ import annotations

import logging
from logging.handlers import SocketHandler
from urllib.parse import urlsplit

import click

from fastlog.cli.command import OK, Command
from fastlog.cli.completion import complete_level
from fastlog.cli.options import config_options
from fastlog.cli.safe_text import print_line
from fastlog.config import Config
from fastlog.config.urls import check_listen
from fastlog.errors import ConfigError, FastlogError
from fastlog.query import parse_level


class _Handler(SocketHandler):
    """The stock handler, except that a failure raises instead of being retried later."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 overrides the library's method
        raise


@click.command(cls=Command)
@click.argument("message")
@click.option(
    "--level",
    default="INFO",
    metavar="LEVEL",
    shell_complete=complete_level,
    help="Level of the record (default: INFO).",
)
@click.option(
    "--logger",
    default="fastlog.send",
    metavar="NAME",
    help="Logger of the record (default: fastlog.send).",
)
@click.option(
    "--url",
    "--listen",
    metavar="URL",
    help="The address of the server (default: the first listener that admits stock clients).",
)
@config_options
def send(config: Config, message: str, level: str, logger: str, url: str | None) -> int:
    """Send one record to the server with the standard library's SocketHandler, as a test."""
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
        raise FastlogError(
            f"cannot send to {target}: {error.strerror or error}; is fastlog-server running there?"
        ) from None
    finally:
        handler.close()
    print_line(f"sent to {target}")
    return OK


def _stock_listener(config: Config) -> str:
    for listen in config.listen:
        if listen.stock:
            return listen.url
    raise FastlogError(
        "all listeners of the configuration reject stock clients (stock = false); "
        "use fastlog_client.SocketHandler"
    )


def _handler(url: str) -> SocketHandler:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return _Handler(parts.path, None)
    assert parts.hostname is not None
    return _Handler(parts.hostname, parts.port)
