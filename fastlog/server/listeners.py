"""Listening sockets: the supervisor binds them, and the receivers inherit their descriptors."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
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
"""Seconds to wait for a server that is replacing a socket in the same directory."""


Address = tuple[int, object]
"""Family, and host and port or the path of a Unix socket."""


class Bound(NamedTuple):
    """A listener of the configuration."""

    url: str
    """The URL in the configuration."""
    sockets: list[socket.socket]
    """One for each address that the host name resolves to."""
    file: Identity | None = None
    """The file of a Unix socket: another server may have replaced it."""

    def actual_urls(self) -> list[str]:
        """Return the URLs of the sockets, with their actual ports."""
        urls = [url_of(one) for one in self.sockets]
        scheme = urlsplit(self.url).scheme
        return [re.sub("^tcp:", f"{scheme}:", url) for url in urls]


def bind(
    urls: Sequence[str],
    accesses: Sequence[Access] = (),
    passed: Sequence[socket.socket] = (),
) -> list[Bound]:
    """Listen on all URLs.

    Args:
        accesses: For each URL, mode and group of the file of a Unix socket; private if missing.
        passed: Listening sockets of the service manager, which are used for their addresses. Files
            of Unix sockets among them belong to the manager.

    Raises:
        FastlogError: One cannot be bound, or a passed socket is for none of the URLs; all are
            closed.
    """
    unused = {_address_of(one): one for one in passed}
    bound: list[Bound] = []
    try:
        for url, access in zip_longest(urls, accesses, fillvalue=Access()):
            bound.append(_bind(str(url), Access(*access), unused))
    except OSError as error:
        close(bound)
        raise FastlogError(f"cannot listen on {url}: {_reason(str(url), error)}") from None
    if unused:
        close(bound)
        url = url_of(next(iter(unused.values())))
        raise FastlogError(
            f"the service manager has passed a socket for {url}, which the configuration does not "
            "listen on; add it to `listen`, or remove it from the socket unit"
        )
    return bound


def _reason(url: str, error: OSError) -> str:
    """Return why a URL cannot be listened on, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return "the address is in use; stop the program there, or choose another with --listen"
    if error.errno == errno.ENOENT and url.startswith("unix:"):
        return f"there is no directory {Path(urlsplit(url).path).parent}; make it"
    if error.errno == errno.EACCES and not url.startswith("unix:"):
        return "only root may use a port below 1024; choose another with --listen"
    return error.strerror or str(error)


class Rebound(NamedTuple):
    """The result of `rebind`."""

    bound: list[Bound]
    """All listeners of the new configuration, in its order."""
    added: list[Bound]
    """Those of them that were bound now."""
    removed: list[Bound]
    """Those that the new configuration does not contain; still open."""


def rebind(bound: Sequence[Bound], urls: Sequence[str], accesses: Sequence[Access] = ()) -> Rebound:
    """Listen on the URLs of a new configuration, and reuse the sockets of equal URLs.

    Args:
        accesses: As for `bind`.

    Raises:
        FastlogError: One cannot be bound; nothing has changed.
    """
    unused = list(bound)
    kept: list[Bound | None] = []
    for url in urls:
        same = next((one for one in unused if one.url == url), None)
        kept.append(same)
        if same is not None:
            unused.remove(same)
    missing = [at for at, one in enumerate(kept) if one is None]
    access_at = dict(enumerate(accesses))
    added = bind([urls[at] for at in missing], [access_at.get(at, Access()) for at in missing])
    for at, one in enumerate(kept):
        if one is not None and one.file is not None:
            try:
                _set_access(one, access_at.get(at, Access()))
            except OSError as error:
                close(added)
                text = f"cannot set mode and group of {one.url}: {error.strerror}"
                raise FastlogError(text) from None
    following = iter(added)
    return Rebound([one or next(following) for one in kept], added, unused)


def _bind(url: str, access: Access, passed: dict[Address, socket.socket]) -> Bound:
    """Listen on a URL. Sockets for its addresses are taken from `passed`."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        if (own := passed.pop((socket.AF_UNIX, parts.path), None)) is not None:
            return Bound(url, [own])
        return _bind_unix(url, Path(parts.path), access)
    assert parts.hostname is not None  # the configuration was checked
    return Bound(url, _bind_tcp(parts.hostname, parts.port or 0, passed))


def _address_of(listener: socket.socket) -> Address:
    name = listener.getsockname()
    return listener.family, name if isinstance(name, str) else name[:2]


def _bind_tcp(host: str, port: int, passed: dict[Address, socket.socket]) -> list[socket.socket]:
    """Bind each address that the name resolves to; for port 0, only the first."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    if port == 0:
        del addresses[1:]
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            if (own := passed.pop((family, address[:2]), None)) is not None:
                sockets.append(own)
                continue
            is_any = family == socket.AF_INET6 and address[0] == "::"
            sockets.append(
                socket.create_server(
                    address[:2], family=family, backlog=BACKLOG, dualstack_ipv6=is_any
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
        _set_access(bound, access)
    except OSError:
        close([bound])
        raise
    return bound


def _set_access(bound: Bound, access: Access) -> None:
    """Set group and mode of a Unix socket's file, unless another server has replaced it."""
    with _file_of(bound) as file:
        if file is not None:
            if access.gid >= 0:
                os.chown(file, -1, access.gid)
            Path(file).chmod(access.mode)


@contextlib.contextmanager
def _file_of(bound: Bound) -> Iterator[str | None]:
    """Open the socket's file, and yield a path that stays this file's; None if it is replaced."""
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
    """Lock the directory, so that one server at a time inspects and replaces its sockets.

    Other programs do not use this lock, and any program may hold it for ever: after
    `LOCK_PATIENCE` the block runs without it.
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
    """Return the identity of the file at this path, without following links."""
    status = path.lstat()
    return status.st_dev, status.st_ino


def _remove_stale(path: Path) -> None:
    """Remove the socket of a killed server.

    Raises:
        OSError: The socket is in use, or the file is not a socket.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:  # while it is open, no other file can get its inode number
        status = os.fstat(fd)
        if not stat.S_ISSOCK(status.st_mode):
            raise OSError(errno.EEXIST, "a file of that name exists, and it is not a socket")
        if _is_listening(path):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        _remove(path, (status.st_dev, status.st_ino))
    finally:
        os.close(fd)


def _is_listening(path: Path) -> bool:
    """Return whether a process listens on a Unix socket; true if that is uncertain."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(LOCK_PATIENCE)  # a full backlog: a process listens, and does not accept
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except TimeoutError:
            return True
    return True


def _remove(path: Path, file: Identity) -> None:
    """Remove a socket's file if it is this one.

    Another program could replace the file between a check and the removal. Therefore the file is
    renamed first, then checked, and linked back if it is another one.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    path.rename(aside)
    if _file_at(aside) == file:
        aside.unlink()
        return
    with contextlib.suppress(FileExistsError):  # a third program has made one meanwhile
        os.link(aside, path, follow_symlinks=False)
    aside.unlink()
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def url_of(listener: socket.socket) -> str:
    """Return the URL of a listening socket, with its actual port."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix://{name}"
    host = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
    return f"tcp://{host}:{name[1]}"


def adopt(url: str, fds: Sequence[int], file: Identity | None) -> Bound:
    """Make the listener that another supervisor has bound."""
    for fd in fds:
        os.set_inheritable(fd, False)
    return Bound(url, [socket.socket(fileno=fd) for fd in fds], file)


def close(bound: Sequence[Bound]) -> None:
    """Close all listeners, and remove the files of Unix sockets that nothing has replaced."""
    for one in bound:
        if one.file is not None:  # while the socket is open, no other file can get its inode number
            path = Path(urlsplit(one.url).path)
            with contextlib.suppress(OSError), _directory_locked(path.parent):
                if _file_at(path) == one.file:
                    _remove(path, one.file)
        for listener in one.sockets:
            listener.close()
