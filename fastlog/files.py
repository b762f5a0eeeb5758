"""Files and directories of the server: private creation, replacement, fsync, identity.

The server and the commands make all their files with these functions. A new file is readable by the
process's user only, from the first moment and whatever the umask, unless `set_access` says
otherwise. An existing file keeps its mode and its group.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import stat
from pathlib import Path
from typing import NamedTuple

from fastlog.errors import FastlogError

Identity = tuple[int, int]
"""Device and inode of a file: they stay the same when its name changes."""

_TRIES = 3
"""Attempts to open a file that another process makes or removes at the same time."""


class Access(NamedTuple):
    """The access that new files get."""

    mode: int = 0o600
    """The mode of files and Unix sockets."""
    gid: int = -1
    """Their group; -1: the one that the kernel chooses."""

    @classmethod
    def of(cls, mode: str, group: str = "") -> Access:
        """Return the access that a configuration describes.

        Args:
            mode: Octal digits, such as `0640`.
            group: A name or a number; empty for none.

        Raises:
            FastlogError: There is no such group.
        """
        return cls(int(mode, 8), group_id(group) if group else -1)

    @property
    def directory_mode(self) -> int:
        """The mode of directories: a user that may read a file may enter its directory. A group
        is inherited by new files, so that the files that SQLite makes beside a database get it."""
        readable = self.mode & 0o444
        return 0o700 | self.mode | readable >> 2 | (stat.S_ISGID if self.gid >= 0 else 0)


_access = Access()


def set_access(access: Access) -> None:
    """Set the access of all files that this process makes from now on.

    This sets the umask, too, for files that other code makes: SQLite, handlers of `logging`, sinks
    of other packages.
    """
    global _access
    _access = access
    os.umask(0o777 & ~access.directory_mode)


def group_id(group: str) -> int:
    """Return the id of a group, given by name or number.

    Raises:
        FastlogError: There is no such group.
    """
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise FastlogError(f"there is no group {group!r}") from None


def open_file(path: str | Path, flags: int) -> int:
    """Open a file, and make it if it is missing; with O_EXCL, always make it.

    Returns:
        The descriptor; it is closed at exec.

    Raises:
        OSError: As of `os.open`.
    """
    path, exclusive = os.fspath(path), flags & os.O_EXCL
    flags = flags & ~os.O_CREAT | os.O_CLOEXEC
    for tries_left in reversed(range(_TRIES)):
        if not exclusive:
            try:
                return os.open(path, flags)
            except FileNotFoundError:
                pass
        try:
            return _create(path, flags)
        except FileExistsError:
            if exclusive or not tries_left:
                raise
            path = os.path.realpath(path)  # O_EXCL follows no link, and this may be a dangling one
    raise AssertionError


def _create(path: str, flags: int) -> int:
    fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if _access.gid >= 0:
            os.fchown(fd, -1, _access.gid)
        os.fchmod(fd, _access.mode)
    except BaseException:
        os.close(fd)
        Path(path).unlink()
        raise
    return fd


def touch(path: str | Path) -> None:
    """Make an empty file if it is missing. SQLite takes one for a new database, and gives its
    mode to the files that it makes beside it.

    A file that exists is not opened: closing it would end all POSIX locks that this process has on
    it, also those of a connection of SQLite. Another process could then delete the log of the
    database that this one writes to.
    """
    with contextlib.suppress(FileExistsError):
        os.close(open_file(os.path.realpath(path), os.O_RDWR | os.O_EXCL))


def make_directory(path: Path) -> bool:
    """Make a directory and its missing parents.

    Returns:
        Whether it was made; False: it existed.

    Raises:
        OSError: As of `os.mkdir`.
    """
    try:
        path.mkdir(0o700)
    except FileNotFoundError:
        if path.parent == path:
            raise
        make_directory(path.parent)
        return make_directory(path)
    except FileExistsError:
        if not path.is_dir():
            raise
        return False
    if _access.gid >= 0:
        os.chown(path, -1, _access.gid)
    path.chmod(_access.directory_mode)
    return True


def replace_file(
    path: Path, content: bytes, *, durable: bool = False, in_place_if_full: bool = False
) -> None:
    """Replace a file atomically.

    Args:
        durable: Sync it, so that it survives a power cut when the call returns.
        in_place_if_full: Write over the old content, padded with spaces, if the disk has no space
            for a new file. This is not atomic: readers must tolerate a torn file.

    Raises:
        OSError: The file still has its old content.
    """
    try:
        _replace(path, content, durable=durable)
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not (in_place_if_full and is_full and _overwrite(path, content)):
            raise


def _replace(path: Path, content: bytes, *, durable: bool) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)  # left by a process that had this pid and died here
    fd = open_file(new, os.O_WRONLY | os.O_EXCL)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fdatasync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def _overwrite(path: Path, content: bytes) -> bool:
    """Write over a file within the space that it has; return false if it has too little."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
        if len(content) > max(status.st_size, 512 * status.st_blocks):
            return False
        content = content.ljust(status.st_size)
        return os.pwrite(fd, content, 0) == len(content)
    except OSError:
        return False  # a file system that never writes in place
    finally:
        os.close(fd)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def identity_of(path: str | Path | int) -> Identity | None:
    """Return the identity of the file of a path or a descriptor; None: the path names none."""
    try:
        status = os.fstat(path) if isinstance(path, int) else Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def is_at(fd: int, path: str | Path) -> bool:
    """Return whether a path still names the open file or directory of a descriptor.

    A file that no path names is lost when it is closed.
    """
    status = os.fstat(fd)
    return status.st_nlink > 0 and identity_of(path) == (status.st_dev, status.st_ino)


def excess_mode(path: Path, access: Access) -> int:
    """Return the mode bits for group and others that a directory has beyond those of `access`."""
    return stat.S_IMODE(path.stat().st_mode) & 0o077 & ~access.directory_mode
