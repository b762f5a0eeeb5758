"""Listening sockets: bound here, in the supervisor, and handed to the receivers by descriptor."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from fastlog.errors import FastlogError

BACKLOG = 4096


class Bound(NamedTuple):
    """A listener of the configuration."""

    url: str
    """As it was configured."""
    sockets: list[socket.socket]
    """One for each address that its name stands for."""


def bind(urls: Sequence[str]) -> list[Bound]:
    """Listens on all of them.

    Raises:
        FastlogError: One cannot be bound; none is left open.
    """
    bound: list[Bound] = []
    try:
        for url in urls:
            bound.append(Bound(url, _bind(url)))
    except OSError as error:
        close(bound)
        what = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            what = "the address is in use; stop who uses it, or choose another with --listen"
        raise FastlogError(f"cannot listen on {url}: {what}") from None
    return bound


class Rebound(NamedTuple):
    """How listeners change."""

    bound: list[Bound]
    """All of the new configuration, in its order."""
    fresh: list[Bound]
    """Those of them that were not there before."""
    gone: list[Bound]
    """Those that it does not name any more; still open."""


def rebind(bound: Sequence[Bound], urls: Sequence[str]) -> Rebound:
    """Listens where a new configuration says, with the sockets that there are.

    Raises:
        FastlogError: One cannot be bound; all is as before.
    """
    left = list(bound)
    kept: list[Bound | None] = []
    for url in urls:
        same = next((one for one in left if one.url == url), None)
        kept.append(same)
        if same is not None:
            left.remove(same)
    fresh = bind([url for url, one in zip(urls, kept, strict=True) if one is None])
    unused = iter(fresh)
    return Rebound([one or next(unused) for one in kept], fresh, left)


def _bind(url: str) -> list[socket.socket]:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return [_bind_unix(parts.path)]
    assert parts.hostname is not None  # the configuration was checked
    return _bind_tcp(parts.hostname, parts.port or 0)


def _bind_tcp(host: str, port: int) -> list[socket.socket]:
    """One socket for each address that the name stands for; but one only with a port to pick."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    if port == 0:
        del addresses[1:]
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            every = family == socket.AF_INET6 and address[0] == "::"
            sockets.append(
                socket.create_server(
                    address[:2], family=family, backlog=BACKLOG, dualstack_ipv6=every
                )
            )
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


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


def adopt(url: str, fds: Sequence[int]) -> Bound:
    """The listener that another supervisor has bound."""
    for fd in fds:
        os.set_inheritable(fd, False)
    return Bound(url, [socket.socket(fileno=fd) for fd in fds])


def close(bound: Sequence[Bound]) -> None:
    """Closes them, and removes what Unix sockets leave in the file system."""
    for listener in [listener for one in bound for listener in one.sockets]:
        path = listener.getsockname() if listener.family == socket.AF_UNIX else None
        listener.close()
        if path:
            with contextlib.suppress(OSError):
                Path(path).unlink()
