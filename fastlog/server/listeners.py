"""Listening sockets: bound here, in the supervisor, and handed to the receivers by descriptor."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from fastlog.errors import FastlogError

BACKLOG = 4096


def bind(urls: Sequence[str]) -> list[list[socket.socket]]:
    """Listens on all of them: a name may stand for several addresses, so one gives a group.

    Raises:
        FastlogError: One cannot be bound; none is left open.
    """
    bound: list[list[socket.socket]] = []
    try:
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme == "unix":
                bound.append([_bind_unix(parts.path)])
            else:
                assert parts.hostname is not None  # the configuration was checked
                bound.append(_bind_tcp(parts.hostname, parts.port or 0))
    except OSError as error:
        close([listener for group in bound for listener in group])
        what = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            what = "the address is in use; stop who uses it, or choose another with --listen"
        raise FastlogError(f"cannot listen on {url}: {what}") from None
    return bound


def _bind_tcp(host: str, port: int) -> list[socket.socket]:
    """One socket for each address that the name stands for; but one only with a port to pick."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    if port == 0:
        del addresses[1:]
    bound: list[socket.socket] = []
    try:
        for family, address in addresses:
            every = family == socket.AF_INET6 and address[0] == "::"
            bound.append(
                socket.create_server(
                    address[:2], family=family, backlog=BACKLOG, dualstack_ipv6=every
                )
            )
    except OSError:
        close(bound)
        raise
    return bound


def _bind_unix(path: str) -> socket.socket:
    _remove_stale(Path(path))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    """Removes a socket that a killed server left; one that answers is in use."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "there is a file of that name, and it is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def url_of(listener: socket.socket) -> str:
    """Where it listens, with the port that was picked."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix://{name}"
    host = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
    return f"tcp://{host}:{name[1]}"


def close(listeners: Sequence[socket.socket]) -> None:
    """Closes them, and removes what Unix sockets leave in the file system."""
    for listener in listeners:
        path = listener.getsockname() if listener.family == socket.AF_UNIX else None
        listener.close()
        if path:
            with contextlib.suppress(OSError):
                Path(path).unlink()
