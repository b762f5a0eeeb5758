"""The plan: what a supervisor needs to know of a configuration.

The code that will run reads the configuration. It may be newer than the supervisor that starts it,
which passes the configuration on as text.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from fastlog.config import Config, certificate_remarks, to_json
from fastlog.config.urls import public_url
from fastlog.files import Access
from fastlog.version import __version__


class Plan(msgspec.Struct, kw_only=True, frozen=True):
    """What is to run."""

    version: str
    """The version of the fastlog that made the plan."""
    config: str
    """The configuration, for the children."""
    data_dir: str
    listen: list[str]
    sinks: list[str]
    """Their names."""
    stores: list[str]
    """Where the sinks store, for the ready line."""
    log_level: str
    web: str = ""
    """Where the web server is to serve; "" for nowhere."""
    source: str = ""
    """Where blocks of other servers come from, without secrets; "" for nowhere."""
    files: Access = Access()
    """Mode and group of the files that the server makes."""
    sockets: list[Access] = []
    """The same for Unix sockets, one for each of `listen`."""
    remarks: list[str] = []
    """Warnings for the log."""
    text: str = ""
    """The plan as JSON as it was made. It may have fields that this code does not know."""


def make_plan(config: Config, *, data_dir: str | None = None) -> Plan:
    """Make the plan for a configuration.

    Args:
        data_dir: The directory in use, which a reload cannot change.

    Raises:
        ConfigError: A certificate cannot be used.
    """
    remarks = certificate_remarks(config)
    if data_dir is not None and str(config.data_dir) != data_dir:
        remarks.append(f"data_dir stays {data_dir}: it changes at the next start only")
        config = msgspec.structs.replace(config, data_dir=Path(data_dir))
    plan = Plan(
        version=__version__,
        config=to_json(config).decode(),
        data_dir=str(config.data_dir),
        listen=[listen.url for listen in config.listen],
        sinks=[sink.name for sink in config.sinks],
        stores=[_store(config, sink.url) for sink in config.sinks],
        log_level=config.log.level,
        web=config.web.url,
        source=public_url(config.source.url),
        files=Access.of(config.files.mode, config.files.group),
        sockets=[Access.of(listen.mode, listen.group) for listen in config.listen],
        remarks=remarks,
    )
    return msgspec.structs.replace(plan, text=msgspec.json.encode(plan).decode())


def read_plan(text: str) -> Plan:
    """Read a plan that another version of fastlog may have made.

    Raises:
        msgspec.MsgspecError: The text is not a plan that this code can use.
    """
    return msgspec.structs.replace(msgspec.json.decode(text, type=Plan), text=text)


def _store(config: Config, url: str) -> str:
    """Return where a sink stores, without what may be secret."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return parts.path or str(config.data_dir / "logs")
    return public_url(url)
