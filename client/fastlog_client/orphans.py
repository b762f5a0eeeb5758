# -*- coding: utf-8 -*-
"""Spools of processes that have ended: found in the spool directory, and sent one at a time."""

from __future__ import absolute_import, division, print_function

import errno
import os

from fastlog_client.connection import Connection
from fastlog_client.directory import find_spool_folders
from fastlog_client.errors import UnsafeFile
from fastlog_client.guard import Guard
from fastlog_client.spool import Spool

_SEARCH_SECONDS = 5.0  # between two searches for spools whose process has ended
_TRIES = 3  # connections without any progress for one spool, before the next spool is tried


class Orphans(object):
    """The spools in a directory whose process has ended.

    Args:
        directory: the spool directory; None if there is none.
        options: `Options` of the handler.
        report: called with (kind, text, exception or None).
    """

    def __init__(self, directory, options, report):
        self.connection = None  # that sends the adopted spool
        self._directory, self._options, self._report = directory, options, report
        self._search_at = 0.0
        self._last_folder = ""  # that was tried
        self._skipped = {}  # skipped and reported folders: whether it is because of another user
        self._vanishing = set()  # folders in which something was missing at the last search

    @property
    def due(self):
        """When the next search is, or None."""
        has_search = self._directory is not None and self.connection is None
        return self._search_at if has_search else None

    @property
    def may_connect(self):
        """Whether a spool is being sent, or may be at the first attempt."""
        return self.connection is not None and self.connection.may_connect

    def step(self, now, stamp):
        """Do what can be done without waiting."""
        if self._directory is None:
            return
        if self.connection is None and now >= self._search_at:
            self._search_at = now + _SEARCH_SECONDS
            store = self._find()
            if store is not None:
                self.connection = Connection(
                    store, Guard(), self._options.address, self._options, self._report
                )
                self.connection.finishing = True
        if self.connection is not None:
            self._send(now, stamp)

    def abandon(self, is_interrupted=False):
        """Close the files of the adopted spool, which stays where it is."""
        if self.connection is not None:
            self.connection.store.abandon(is_interrupted)

    def _send(self, now, stamp):
        connection = self.connection
        try:
            connection.step(now, stamp)
        except Exception as error:  # of any kind: the files may hold anything
            self._skip(connection.store.folder, error)
            self._postpone(now)
            return
        if connection.is_done:
            connection.store.close()
            self.connection = None
            if not os.path.isdir(connection.store.folder):  # else each search would find it again
                self._search_at = now
        elif connection.failures >= _TRIES:
            self._postpone(now)  # until all others were tried

    def _postpone(self, now):
        self.connection.close()
        self.connection.store.abandon()
        self.connection = None
        self._search_at = now + _SEARCH_SECONDS

    def _find(self):
        folders = find_spool_folders(self._directory)
        present = set(folders)
        self._skipped = {folder: why for folder, why in self._skipped.items() if folder in present}
        self._vanishing &= present
        later = [folder for folder in folders if folder > self._last_folder]
        for folder in later + folders[: len(folders) - len(later)]:
            if self._skipped.get(folder):
                continue
            self._last_folder = folder
            try:
                store = Spool.adopt(folder)
            except Exception as error:
                if getattr(error, "errno", None) == errno.ENOENT and folder not in self._vanishing:
                    self._vanishing.add(folder)  # being removed, or the next search reports it
                else:
                    self._skip(folder, error)
                continue
            if store is not None:
                return store
        return None

    def _skip(self, folder, error):
        if folder not in self._skipped:
            self._report("spool", "the spool folder %s is skipped" % folder, error)
        self._skipped[folder] = isinstance(error, UnsafeFile)
