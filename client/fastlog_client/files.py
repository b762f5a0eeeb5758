# -*- coding: utf-8 -*-
"""Files and directories that belong to this user alone."""

from __future__ import absolute_import, division, print_function

import errno
import os
import stat

from fastlog_client.compat import fcntl
from fastlog_client.errors import UnsafeFile

_SAFE_FLAGS = 0  # follow no link, wait for no FIFO, and close in programs that are started
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC"):
    _SAFE_FLAGS |= getattr(os, _flag, 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_HAS_DIR_FD = os.open in getattr(os, "supports_dir_fd", ())
_READ_BYTES = 1 << 20
VANISHED = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ESTALE,
    errno.EBADF,
    errno.EACCES,
    errno.EPERM,
)
"""Errors of a write when files or folder were removed or replaced, or changed their owner."""


class File(object):
    """An open file or directory, and its identity: a program may close all open descriptors, and
    open another file under the same number.
    """

    __slots__ = ("descriptor", "identity")

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.identity = identity_of(os.fstat(descriptor))

    def check(self):
        """Check that the file still has a name, and the descriptor still is that of the file.

        Raises:
            EnvironmentError: it does not, or is not.
        """
        info = os.fstat(self.descriptor)
        if (
            info[1:3] != self.identity or not info[3]
        ):  # indices are faster than names: each record waits for it
            raise EnvironmentError(errno.ESTALE, "the file was removed")

    def is_same(self):
        """Return whether the descriptor is still that of this file, removed or not."""
        try:
            return identity_of(os.fstat(self.descriptor)) == self.identity
        except EnvironmentError:
            return False

    def read(self, begin, end):
        """Return the bytes from `begin` to `end`, or as many of them as there are."""
        if not self.is_same():
            raise EnvironmentError(errno.EBADF, "the descriptor was closed")
        os.lseek(self.descriptor, begin, os.SEEK_SET)
        parts = []
        while begin < end:
            part = os.read(self.descriptor, min(end - begin, _READ_BYTES))
            if not part:
                break
            parts.append(part)
            begin += len(part)
        return b"".join(parts)

    def close(self):
        if self.is_same():
            os.close(self.descriptor)
        self.descriptor = -1

    def close_in_child(self):
        """Close the file in a child, but keep its descriptor open, on the null device.

        Code that the fork has interrupted may be about to write to that descriptor, and another
        file of the child must not get what it writes.
        """
        if self.is_same():
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, self.descriptor)
            os.close(null)
            close_on_exec(self.descriptor)


class Folder(File):
    """A directory that is kept open, so that no other can take its place.

    With Python 3, names are looked up from its descriptor; with Python 2 through /proc, which does
    the same on Linux. Where neither is, its path is compared with it before each use.
    """

    __slots__ = ("path",)

    def __init__(self, path, descriptor):
        File.__init__(self, descriptor)
        self.path = path

    def _at(self, name):
        """Return a path for a name in the folder, and the keyword arguments to use with it."""
        if not self.is_same():
            raise EnvironmentError(errno.EBADF, "the descriptor was closed")
        if _HAS_DIR_FD:
            return name, {"dir_fd": self.descriptor}
        if os.path.isdir("/proc/self/fd/%d" % self.descriptor):
            return "/proc/self/fd/%d/%s" % (self.descriptor, name), {}
        if identity_of(os.lstat(self.path)) != self.identity:
            raise EnvironmentError(errno.ESTALE, "the folder was replaced")
        return os.path.join(self.path, name), {}

    def names(self):
        """Return the names in the folder."""
        if _HAS_DIR_FD and self.is_same():
            return os.listdir(self.descriptor)
        return os.listdir(self._at(".")[0])

    def lstat(self, name):
        path, where = self._at(name)
        return os.lstat(path, **where)

    def has(self, name, file):
        """Return whether that name is the name of this file."""
        try:
            return identity_of(self.lstat(name)) == file.identity
        except EnvironmentError as error:
            return error.errno not in VANISHED

    def open(self, name, flags):
        """Open a file of this user, or make one that only this user can access.

        Raises:
            UnsafeFile: it is not a regular file of this user alone.
            EnvironmentError: it is not there, or is there though `flags` has O_EXCL.
        """
        is_new = bool(flags & os.O_EXCL)
        if not is_new:
            self._require_own(
                name, self.lstat(name), stat.S_ISREG
            )  # opening a device may have effects
        path, where = self._at(name)
        descriptor = os.open(path, flags | _SAFE_FLAGS, 0o600, **where)
        try:
            self._require_own(name, os.fstat(descriptor), stat.S_ISREG)
            if is_new:
                os.fchmod(descriptor, 0o600)  # whatever the umask is
            close_on_exec(descriptor)
            return File(descriptor)
        except Exception:
            os.close(descriptor)
            raise

    def folder(self, name):
        """Open a folder in this one.

        Raises:
            UnsafeFile: it is not one of this user, or others can write it.
            EnvironmentError: it is not there.
        """
        self._require_own(name, self.lstat(name), stat.S_ISDIR)
        path, where = self._at(name)
        descriptor = os.open(path, os.O_RDONLY | _DIRECTORY | _SAFE_FLAGS, **where)
        try:
            self._require_own(name, os.fstat(descriptor), stat.S_ISDIR)
            close_on_exec(descriptor)
            return Folder(os.path.join(self.path, name), descriptor)
        except Exception:
            os.close(descriptor)
            raise

    def make_folder(self, name):
        """Make a folder that only this user can access, and open it."""
        path, where = self._at(name)
        os.mkdir(path, 0o700, **where)
        if self.lstat(name).st_mode & 0o700 != 0o700:
            os.chmod(path, 0o700, **where)  # the umask may have removed that
        return self.folder(name)

    def _require_own(self, name, info, is_right_kind):
        path = os.path.join(self.path, name)
        if not is_right_kind(info.st_mode):
            kind = "folder" if is_right_kind is stat.S_ISDIR else "regular file"
            raise UnsafeFile("%s is no %s: remove it" % (path, kind))
        if info.st_uid != os.geteuid():
            raise UnsafeFile("%s belongs to user %d: remove it" % (path, info.st_uid))
        if is_right_kind is stat.S_ISDIR and info.st_mode & _WRITABLE_BY_OTHERS:
            raise UnsafeFile("others can write %s: remove it, or set its mode to 0700" % path)
        if is_right_kind is stat.S_ISREG and info.st_nlink > 1:
            raise UnsafeFile("%s has another name elsewhere (a hard link): remove it" % path)

    def unlink(self, name):
        path, where = self._at(name)
        os.unlink(path, **where)

    def rmdir(self, name):
        path, where = self._at(name)
        os.rmdir(path, **where)

    def rename(self, name, target, new_name):
        """Move a file to the folder `target`."""
        path, where = self._at(name)
        new_path, new_where = target._at(new_name)
        if where:
            where = {"src_dir_fd": where["dir_fd"], "dst_dir_fd": new_where["dir_fd"]}
        os.rename(path, new_path, **where)

    def sync(self):
        """Wait until the names in the folder are durable."""
        os.fsync(self.descriptor)


def identity_of(info):
    """Return what identifies a file in the result of a stat."""
    return info[1:3]  # st_ino, st_dev


def close_on_exec(descriptor):
    """Close the descriptor in programs that are started: Python 2 has no O_CLOEXEC."""
    fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)


def open_directory(path):
    """Open a spool directory, which must be this user's, or root's.

    Raises:
        UnsafeFile: it is another user's.
        EnvironmentError: it cannot be opened.
    """
    trusted = (0, os.geteuid())
    info = os.lstat(path)
    descriptor = None
    if info.st_uid in trusted:  # else it may be another user's link to a directory of ours
        flags = os.O_RDONLY | _DIRECTORY | (_SAFE_FLAGS & ~getattr(os, "O_NOFOLLOW", 0))
        descriptor = os.open(path, flags)
        info = os.fstat(descriptor)
    if info.st_uid not in trusted:
        if descriptor is not None:
            os.close(descriptor)
        raise UnsafeFile(
            "the spool directory %s belongs to user %d: use another" % (path, info.st_uid)
        )
    close_on_exec(descriptor)
    return Folder(path, descriptor)


def make_directory(path):
    """Make a spool directory that only this user can access, unless it exists."""
    try:
        os.makedirs(path, 0o700)
    except EnvironmentError:
        if not os.path.isdir(path):  # else it exists, or another process was faster
            raise
        return
    if os.lstat(path).st_mode & 0o700 != 0o700:
        os.chmod(path, 0o700)  # the umask may have removed that


def write_all(descriptor, data):
    """Write all bytes, in as many calls as it takes."""
    while data:
        data = data[os.write(descriptor, data) :]
