# -*- coding: utf-8 -*-
"""The spool directory, which holds a folder for each process."""

from __future__ import absolute_import, division, print_function

import binascii
import errno
import os
import re

from fastlog_client.compat import fcntl
from fastlog_client.files import File, open_directory

_HEX_ID = re.compile(r"[0-9a-f]{32}\Z")


def find_spool_folders(directory):
    """Return the paths of all spools there; none if the directory cannot be opened."""
    try:
        folder = open_directory(directory)
    except EnvironmentError:
        return []
    try:
        names = folder.names()
    finally:
        folder.close()
    return [os.path.join(directory, name) for name in sorted(names) if _HEX_ID.match(name)]


def make_spool_folder(directory, fsync):
    """Make a folder for a spool, with a locked file `lock`. Returns both, open."""
    parent = open_directory(directory)
    name = binascii.hexlify(os.urandom(16)).decode("ascii")
    folder = None
    try:
        folder = parent.make_folder("." + name)
        lock = lock_folder(folder, may_make=True)
        parent.rename("." + name, parent, name)  # under its final name it is always locked
        folder.path = os.path.join(directory, name)
        if fsync:
            parent.sync()
        return folder, lock
    except Exception:
        if folder is not None:
            for undo, what in ((folder.unlink, "lock"), (parent.rmdir, "." + name)):
                try:
                    undo(what)
                except EnvironmentError:
                    pass  # it is empty, and its name is not that of a spool
            folder.close()
        raise
    finally:
        parent.close()


def lock_folder(folder, may_make):
    """Open and lock the folder's `lock`.

    Args:
        may_make: make it if there is none.

    Returns:
        The file; None if there is none, or if another process has locked it.
    """
    try:
        file = folder.open("lock", os.O_RDWR)
    except EnvironmentError as error:
        if error.errno != errno.ENOENT:
            raise
        if not may_make:
            return None
        try:
            file = folder.open("lock", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except EnvironmentError as error:
            if error.errno in (errno.EEXIST, errno.ENOENT):
                return None  # another process was faster
            raise
    try:
        fcntl.flock(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except EnvironmentError as error:
        file.close()
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return None
        raise
    return file


class SpoolFolder(object):
    """A spool folder with two open files in it: `lock` and `state`."""

    __slots__ = ("folder", "lock", "state")

    def __init__(self, folder, lock, state):
        self.folder, self.lock, self.state = folder, lock, state

    def close(self, close=File.close):
        """Close the folder and both files, each by `close`."""
        files, self.lock, self.state = (self.lock, self.state, self.folder), None, None
        for file in files:
            if file is not None:
                close(file)
