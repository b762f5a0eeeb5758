"""The contenders."""

from __future__ import annotations

from bench.servers.base import Running, Server, ServerError
from bench.servers.fastlog import PROGRAMS, FastlogServer
from bench.servers.peers import Program, PythonPeer, ReceiveFloor
from bench.servers.syslogs import Rsyslog, SyslogNg

__all__ = [
    "PROGRAMS",
    "FastlogServer",
    "Program",
    "Running",
    "Server",
    "ServerError",
    "make_servers",
]


def make_servers() -> list[Server]:
    """Make all servers, including those that are not installed."""
    restricted = "--restricted"
    return [
        FastlogServer("fastlog ndjson", "ndjson"),
        FastlogServer("fastlog ndjson, Python engine", "ndjson", "python"),
        FastlogServer("fastlog sqlite", "sqlite"),
        PythonPeer("asyncio restricted", "asyncio_protocol.py", restricted, holds_idle=True),
        PythonPeer("asyncio loads", "asyncio_protocol.py"),
        PythonPeer("uvloop restricted", "asyncio_protocol.py", restricted, "--uvloop"),
        PythonPeer("uvloop loads", "asyncio_protocol.py", "--uvloop"),
        PythonPeer("select.epoll restricted", "epoll.py", restricted, holds_idle=True),
        PythonPeer("select.epoll loads", "epoll.py"),
        PythonPeer("Cookbook restricted", "cookbook.py", restricted),
        PythonPeer("Cookbook loads", "cookbook.py"),
        Rsyslog("rsyslog text", "text", holds_idle=True),
        Rsyslog("rsyslog JSON", "json"),
        SyslogNg("syslog-ng text", "text"),
        SyslogNg("syslog-ng JSON", "json"),
        ReceiveFloor(),
    ]
