"""`fastlog web`: serve the page and the API over a store."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fastlog.child import log_to_stderr
from fastlog.cli.command import OK, Command
from fastlog.cli.completion import complete_directory
from fastlog.cli.options import config_option, load_config, store_option
from fastlog.errors import ConfigError
from fastlog.server.installed_web import check_installed
from fastlog.status.record_stores import choose_store

if TYPE_CHECKING:
    from fastlog.web.service import Service

DEFAULT_URL = "http://127.0.0.1:9080"


@click.command(cls=Command)
@click.option(
    "--url",
    metavar="URL",
    help=f"Serve on this address (default: as configured, else {DEFAULT_URL}).",
)
@click.option(
    "--certificate",
    metavar="FILE",
    help="The certificate of an https:// address, with its chain, in PEM (default: as configured).",
)
@click.option(
    "--key",
    metavar="FILE",
    help="Its private key, in PEM (default: as configured, else in the certificate's file).",
)
@click.option(
    "--make-password",
    is_flag=True,
    help="Read a password, and print what the file web.password_file has to contain.",
)
@click.option(
    "--data-dir",
    metavar="DIR",
    shell_complete=complete_directory,
    help="The server's data directory (default: as configured).",
)
@store_option
@config_option
def web(
    config_file: Path | None,
    url: str | None,
    certificate: str | None,
    key: str | None,
    data_dir: str | None,
    make_password: bool,
    store: str | None,
) -> int:
    """Serve a page and a JSON API over the stored records.

    Ends when it is interrupted. Works beside a server, and without one.
    """
    check_installed()
    if make_password:
        return _make_password()
    flags = {"web.url": url, "web.certificate": certificate, "web.key": key}
    try:
        config = load_config(config_file, data_dir=data_dir, **flags)
        if not config.web.url:
            flags["web.url"] = DEFAULT_URL
            config = load_config(config_file, data_dir=data_dir, **flags)
    except ConfigError as error:
        # The server has another name for the same flag.
        raise ConfigError(re.sub(r"^--web: web\.url", "--url", str(error))) from None
    log_to_stderr("web", config.log.level)
    from fastlog.web.service import Service

    chosen = choose_store(config, store, config.web.searches)
    Service(config, chosen.store).run(_prepare)
    return OK


def _prepare(service: Service) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, service.stop)
    click.echo(f"fastlog web serving {service.url}/")


def _make_password() -> int:
    from fastlog.web.passwords import hash_password

    password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    click.echo(hash_password(password))
    return OK
