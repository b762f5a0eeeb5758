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
    """The folders of all spools there; none if there is no such directory of ours any more."""
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
    """Make a folder for a spool, with a locked `lock`. Returns both, open."""
    parent = open_directory(directory)
    name = binascii.hexlify(os.urandom(16)).decode("ascii")
    folder = None
    try:
        folder = parent.make_folder("." + name)
        lock = lock_folder(folder)
        parent.rename("." + name, parent, name)  # whoever sees it sees it locked
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
                    pass  # it is empty, and nobody takes it for a spool
            folder.close()
        raise
    finally:
        parent.close()


def lock_folder(folder):
    """The folder's locked file, which is made if there is none; None if it is somebody else's."""
    try:
        file = folder.open("lock", os.O_RDWR)
    except EnvironmentError as error:
        if error.errno != errno.ENOENT:
            raise
        try:
            file = folder.open("lock", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except EnvironmentError as error:
            if error.errno in (errno.EEXIST, errno.ENOENT):
                return None  # somebody else was faster
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
    """A spool folder with two open files in it."""

    __slots__ = ("folder", "lock", "state")

    def __init__(self, folder, lock, state):
        self.folder, self.lock, self.state = folder, lock, state

    def close(self, close=File.close):
        files, self.lock, self.state = (self.lock, self.state, self.folder), None, None
        for file in files:
            if file is not None:
                close(file)
