"""`fastlog send`: send one record, as an application would."""

from __future__ import annotations

import logging
import socket
from logging.handlers import SocketHandler
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from fastlog.cli.command import OK, Command
from fastlog.cli.completion import complete_level
from fastlog.cli.options import config_options
from fastlog.cli.safe_text import print_line
from fastlog.config import Config, ListenConfig, is_tls
from fastlog.config.urls import check_listen
from fastlog.errors import ConfigError, FastlogError
from fastlog.query import parse_level

if TYPE_CHECKING:
    from ssl import SSLContext


_TLS_SECONDS = 10.0


class _Handler(SocketHandler):
    """The stock handler, except that a failure raises instead of being retried later."""

    context: SSLContext | None = None
    """For TLS."""

    def makeSocket(self, timeout: float = 1) -> socket.socket:  # noqa: N802 overrides the library's
        plain = super().makeSocket(timeout)
        if self.context is None:
            return plain
        plain.settimeout(_TLS_SECONDS)
        return self.context.wrap_socket(plain, server_hostname=self.host)

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
@click.option(
    "--ca",
    metavar="FILE",
    help="For tls://, the authorities to trust, in PEM (default: for a listener of the "
    "configuration its own certificate, else those of the system).",
)
@click.option(
    "--certificate",
    metavar="FILE",
    help="For tls://, the certificate to show, with its key, in PEM (default: none).",
)
@config_options
def send(
    config: Config,
    message: str,
    level: str,
    logger: str,
    url: str | None,
    ca: str | None,
    certificate: str | None,
) -> int:
    """Send one record to the server, as a test.

    Uses the standard library's SocketHandler.
    """
    listener = None if url else _stock_listener(config)
    target = url or (listener.url if listener else "")
    try:
        check_listen(target)
    except ConfigError as error:
        raise ConfigError(f"--url: {error}") from None
    context = None
    if is_tls(target):
        context = _context(ca, listener.certificate if listener else "", certificate)
    elif ca or certificate:
        raise ConfigError(f"--ca and --certificate are for tls://, not for {target}")
    number = parse_level(level)
    record = logging.LogRecord(logger, number, __file__, 0, message, None, None)
    handler = _handler(target, context)
    try:
        handler.sock = handler.makeSocket()
        handler.emit(record)
    except OSError as error:
        raise FastlogError(f"cannot send to {target}: {_reason(error)}") from None
    finally:
        handler.close()
    print_line(f"sent to {target}")
    return OK


def _reason(error: OSError) -> str:
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}; name the authority by --ca"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    return f"{error.strerror or error}; is fastlog-server running there?"


def _context(ca: str | None, own: str, certificate: str | None) -> SSLContext:
    """Return the settings of a client of TLS.

    Args:
        ca: A file with authorities to trust.
        own: Without it: the server's certificate itself; "" if it is not known.
        certificate: A file with a certificate to show, and its key.
    """
    import ssl

    context = ssl.create_default_context()
    try:
        if ca or own:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(ca or own)
        if own and not ca:
            context.check_hostname = False  # it is this very certificate
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if certificate:
            context.load_cert_chain(certificate)
    except OSError as error:  # also of TLS
        raise ConfigError(f"{certificate or ca or own}: {error.strerror or error}") from None
    return context


def _stock_listener(config: Config) -> ListenConfig:
    for listen in config.listen:
        if listen.stock:
            return listen
    raise FastlogError(
        "all listeners of the configuration reject stock clients (stock = false); "
        "use fastlog_client.SocketHandler"
    )


def _handler(url: str, context: SSLContext | None) -> SocketHandler:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return _Handler(parts.path, None)
    assert parts.hostname is not None
    handler = _Handler(parts.hostname, parts.port)
    handler.context = context
    return handler
