"""Listening sockets: bound here, in the supervisor, and handed to the receivers by descriptor."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from fastlog.errors import FastlogError
from fastlog.files import Access, Identity, identity_of

BACKLOG = 4096
LOCK_PATIENCE = 2.0
"""Seconds to wait for another server that is about to replace a socket of the same directory."""


class Bound(NamedTuple):
    """A listener of the configuration."""

    url: str
    """As it was configured."""
    sockets: list[socket.socket]
    """One for each address that its name stands for."""
    file: Identity | None = None
    """Of the file of a Unix socket: another server may put its own in the same place."""


def bind(urls: Sequence[str], accesses: Sequence[Access] = ()) -> list[Bound]:
    """Listens on all of them.

    Args:
        accesses: For each URL, who may connect if it is a Unix socket; those that are missing
            are private.

    Raises:
        FastlogError: One cannot be bound; none is left open.
    """
    bound: list[Bound] = []
    try:
        for url, access in zip_longest(urls, accesses, fillvalue=Access()):
            bound.append(_bind(str(url), Access(*access)))
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


def rebind(bound: Sequence[Bound], urls: Sequence[str], accesses: Sequence[Access] = ()) -> Rebound:
    """Listens where a new configuration says, with the sockets that there are.

    Args:
        accesses: As for `bind`.

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
    missing = [at for at, one in enumerate(kept) if one is None]
    wanted = dict(enumerate(accesses))
    fresh = bind([urls[at] for at in missing], [wanted.get(at, Access()) for at in missing])
    for at, one in enumerate(kept):
        if one is not None and one.file is not None:
            _let_in(one, wanted.get(at, Access()))
    unused = iter(fresh)
    return Rebound([one or next(unused) for one in kept], fresh, left)


def _bind(url: str, access: Access) -> Bound:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return _bind_unix(url, Path(parts.path), access)
    assert parts.hostname is not None  # the configuration was checked
    return Bound(url, _bind_tcp(parts.hostname, parts.port or 0))


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


def _bind_unix(url: str, path: Path, access: Access) -> Bound:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound = Bound(url, [listener])
    try:
        with _directory_locked(path.parent):
            _remove_stale(path)
            # The file gets the mode of the socket, less the umask. This process has one thread.
            os.fchmod(listener.fileno(), 0o600)
            umask = os.umask(0o077)
            try:
                listener.bind(str(path))
            finally:
                os.umask(umask)
            bound = bound._replace(file=_file_at(path))
            listener.listen(BACKLOG)
        _let_in(bound, access)
    except OSError:
        close([bound])
        raise
    return bound


def _let_in(bound: Bound, access: Access) -> None:
    """Gives the file of a Unix socket its group and its mode, if it is still ours."""
    with _file_of(bound) as file:
        if file is not None:
            if access.gid >= 0:
                os.chown(file, -1, access.gid)
            Path(file).chmod(access.mode)


@contextlib.contextmanager
def _file_of(bound: Bound) -> Iterator[str | None]:
    """A name of the socket's file that nobody can give to another; None: it is gone."""
    try:
        fd = os.open(urlsplit(bound.url).path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield f"/proc/self/fd/{fd}" if identity_of(fd) == bound.file else None
    finally:
        os.close(fd)


@contextlib.contextmanager
def _directory_locked(directory: Path) -> Iterator[None]:
    """Lets one server at a time look at the sockets of a directory and replace them.

    Others than fastlog do not know of the lock, and anyone may hold one for ever: after a while
    it is done without.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + LOCK_PATIENCE
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    break
                time.sleep(0.01)
        yield
    finally:
        os.close(fd)


def _file_at(path: Path) -> Identity:
    """The file itself that has this name, also where it is a link."""
    status = path.lstat()
    return status.st_dev, status.st_ino


def _remove_stale(path: Path) -> None:
    """Removes a socket that a killed server left; one that answers is in use.

    Raises:
        OSError: It is in use, or no socket.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:  # while it is open, no other file can get its inode number
        status = os.fstat(fd)
        if not stat.S_ISSOCK(status.st_mode):
            raise OSError(errno.EEXIST, "there is a file of that name, and it is no socket")
        if _answers(path):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        _remove(path, (status.st_dev, status.st_ino))
    finally:
        os.close(fd)


def _answers(path: Path) -> bool:
    """Whether somebody listens on a Unix socket. What cannot be told counts as somebody."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(LOCK_PATIENCE)  # a full backlog: it listens, and accepts nobody
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except TimeoutError:
            return True
    return True


def _remove(path: Path, file: Identity) -> None:
    """Removes a socket's file if it is this one.

    It is renamed first and looked at again: between a look and a removal, another program could
    have put its own there. That one is put back.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    path.rename(aside)
    if _file_at(aside) == file:
        aside.unlink()
        return
    with contextlib.suppress(FileExistsError):  # a third has come meanwhile
        os.link(aside, path, follow_symlinks=False)
    aside.unlink()
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def url_of(listener: socket.socket) -> str:
    """Where it listens, with the port that was picked."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix://{name}"
    host = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
    return f"tcp://{host}:{name[1]}"


def adopt(url: str, fds: Sequence[int], file: Identity | None) -> Bound:
    """The listener that another supervisor has bound."""
    for fd in fds:
        os.set_inheritable(fd, False)
    return Bound(url, [socket.socket(fileno=fd) for fd in fds], file)


def close(bound: Sequence[Bound]) -> None:
    """Removes the files of Unix sockets, those that are still ours, and closes all."""
    for one in bound:
        if one.file is not None:  # while the socket is open, no other file can get its inode number
            path = Path(urlsplit(one.url).path)
            with contextlib.suppress(OSError), _directory_locked(path.parent):
                if _file_at(path) == one.file:
                    _remove(path, one.file)
        for listener in one.sockets:
            listener.close()
