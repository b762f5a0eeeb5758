# -*- coding: utf-8 -*-
"""Send the records of Python's logging to a fastlog-server, and lose none that can be kept.

    handler = fastlog_client.SocketHandler("127.0.0.1", 9020)
    logging.getLogger().addHandler(handler)

One file without dependencies, for CPython 2.7 and 3.6 or newer.

Theory of operation. `SocketHandler.emit` makes bytes of a record and puts them into an *inbox*, a
deque; it takes no lock and makes no system call. A daemon thread, the *sender*, moves them to a
*store*, where each gets a sequence number: `_Memory`, or `_Spool` on disk. A `_Link` is a socket
that is opened again for as long as its store holds something; a `_Session` is what is said over
one connection, without I/O. A record leaves the store when the server has acknowledged it: it is
durable there. What had to be dropped stays in the store as a `_Gap`, so that the server knows.

What several threads may want is behind one `_Guard`: the store, and moving the inbox there. With a
spool, `emit` moves its record itself, so that it is in a file before the application goes on.

Signal handlers and finalizers interrupt anything, and may log. Where they interrupt whoever has the
guard, they leave their records in the inbox, and it moves them before it goes on. A signal handler
may also raise: whoever has the guard next completes what was being moved (`_complete_change`).

`close` has the sender end when all is sent; `emit` has it go on, or makes another. Only the end of
the process is the end of a handler (`_end_of_process`).
"""

from __future__ import absolute_import, division, print_function

import atexit
import binascii
import bisect
import collections
import errno
import hashlib
import hmac
import itertools
import logging
import logging.handlers
import os
import random
import re
import select
import socket
import stat
import struct
import sys
import threading
import time
import weakref
import zlib

try:
    import cPickle as pickle
    import cStringIO
except ImportError:
    import pickle
try:
    import fcntl
except ImportError:
    fcntl = None  # not a POSIX system: no spool

__version__ = "0.1.0"
__all__ = ["ReconnectingSocketHandler", "SocketHandler"]

_PYTHON_2 = sys.version_info[0] == 2
_TEXT_TYPES = (str, type(""))
_OS_ERRORS = (EnvironmentError, socket.error, select.error)  # one class, from Python 3.3 on
_getpid = os.getpid
_HAS_FORK_HOOKS = hasattr(os, "register_at_fork")
_dice = random.SystemRandom()  # the children of a fork would share another's state

if _PYTHON_2:
    from thread import allocate_lock as _allocate_lock
    from thread import get_ident as _thread_id
else:
    from threading import Lock as _allocate_lock
    from threading import get_ident as _thread_id

_wall_clock = time.time
if hasattr(time, "monotonic"):
    _monotonic = time.monotonic
elif os.name == "nt":
    _monotonic = time.clock
else:

    def _monotonic():
        """Seconds that no change of the clock disturbs, to a hundredth."""
        return os.times()[4]


# ---- records ---------------------------------------------------------------------------------

_PICKLE_PROTOCOL = 2 if _PYTHON_2 else 4
_STOCK_PROTOCOL = 1  # what the standard handler sends
_TEXT_LIMIT = 4096  # characters of a value that had to be made text
_default_formatter = logging.Formatter()


def _encode(record, formatter, LogRecord=logging.LogRecord, text=str, dumps=pickle.dumps):
    """Make bytes of a record: the attributes that the standard handler sends, as a pickled dict.

    The record stays as it is. This is most of what `emit` costs, hence the names in the arguments,
    and getMessage() where that is known not to be somebody else's.

    Raises:
        Exception: whatever its arguments, the formatter or the pickler raise.
    """
    attributes = record.__dict__.copy()
    message = attributes["msg"]
    if message.__class__ is text and record.__class__ is LogRecord:
        args = attributes["args"]
        if args:
            attributes["msg"] = message % args
    else:
        attributes["msg"] = record.getMessage()
    attributes["args"] = None
    if attributes["exc_info"]:
        attributes["exc_text"] = _trace(attributes, formatter)
        attributes["exc_info"] = None
    if "message" in attributes:
        del attributes["message"]
    return dumps(attributes, _PICKLE_PROTOCOL)


def _trace(attributes, formatter):
    """The traceback of a record that has `exc_info`. A formatter, this one or that of the handler
    before, may give a list of its lines.
    """
    trace = attributes.get("exc_text")
    if not trace:
        trace = (formatter or _default_formatter).formatException(attributes["exc_info"])
    if isinstance(trace, (list, tuple)) and all(isinstance(line, _TEXT_TYPES) for line in trace):
        return "\n".join(line[:-1] if line.endswith("\n") else line for line in trace)
    return trace


if _PYTHON_2:
    _PLAIN = len(logging.makeLogRecord({}).__dict__)

    def _dumps(attributes, protocol, Pickler=pickle.Pickler, StringIO=cStringIO.StringIO):
        """Pickle without a memo, which takes a third of the time. Only containers need one, and a
        record to which the application has added nothing holds none.
        """
        if len(attributes) > _PLAIN:
            return pickle.dumps(attributes, protocol)
        out = StringIO()
        pickler = Pickler(out, protocol)
        pickler.fast = True
        pickler.dump(attributes)
        return out.getvalue()

    _encode.__defaults__ = (logging.LogRecord, str, _dumps)


def _dumps_anyhow(record, formatter, protocol):
    """Make bytes of a record of which something cannot be, with that as text.

    Returns:
        The bytes, and the names of what is text now.
    """
    attributes = record.__dict__.copy()
    odd = []
    try:
        attributes["msg"] = record.getMessage()
    except Exception:  # the arguments do not fit the message, or their str() fails
        odd.append("args")
        attributes["msg"] = "%s %% %s" % (
            _as_text(attributes.get("msg")),
            _as_text(attributes.get("args")),
        )
    attributes["args"] = None
    if attributes.get("exc_info"):
        try:
            attributes["exc_text"] = _trace(attributes, formatter)
        except Exception:
            odd.append("exc_info")
            attributes["exc_text"] = _as_text(attributes["exc_info"])
    attributes["exc_info"] = None
    attributes.pop("message", None)
    for name, value in list(attributes.items()):
        try:
            pickle.dumps((name, value), protocol)
        except Exception:
            del attributes[name]
            name = name if isinstance(name, str) else _as_text(name)
            odd.append(name)
            attributes[name] = _as_text(value)
    return pickle.dumps(attributes, protocol), odd


def _as_text(value):
    try:
        text = repr(value)
    except Exception:
        text = "<unprintable %s>" % type(value).__name__
    return text if len(text) <= _TEXT_LIMIT else text[:_TEXT_LIMIT] + "..."


# ---- what waits ------------------------------------------------------------------------------

_OVERHEAD = 64
"""Bytes that a record takes in memory beside its own."""
_BATCH_RECORDS = 4096
_NEWS = 64
"""Reports of a store that wait to be made; what comes beyond says the same."""
_NOBODY = b"\0" * 16

_FULL, _SPOOL_FULL, _TOO_LARGE, _DAMAGED, _LOST, _LEFT = range(1, 7)
_REASONS = {
    _FULL: "memory full",
    _SPOOL_FULL: "spool full",
    _TOO_LARGE: "over the server's limit",
    _DAMAGED: "spool damaged",
    _LOST: "could not be encoded",
    _LEFT: "left at exit",
}


class _Gap(object):
    """Adjacent records that will never come, and why."""

    __slots__ = ("count", "reason", "t0", "t1")

    def __init__(self, reason, t0, t1=None, count=1):
        self.count = count
        self.reason = reason
        self.t0 = t0  # microseconds since the epoch: when the first was dropped
        self.t1 = t0 if t1 is None else t1

    def __len__(self):
        return 0  # bytes of a record

    def grow(self, stamp):
        self.count += 1
        self.t1 = max(self.t1, stamp)  # the clock may have been set back


def _count(entry):
    """How many numbers it takes."""
    return entry.count if entry.__class__ is _Gap else 1


class _NewIdNeeded(Exception):
    """This client id is of no use any more with that server.

    Args:
        claimed: the last number that the server said it has, if that is why.
    """

    def __init__(self, text, claimed=None):
        Exception.__init__(self, text)
        self.claimed = claimed


_OVER_ACK = "the server acknowledged what it was not sent"


class _Store(object):
    """Records in their order, numbered from 1 on; `first` is the oldest that is not acknowledged.

    `first` <= `cursor` <= `sent` <= `next`; this connection has sent what is below `cursor`, and
    under this client id nothing from `sent` on was ever sent: an acknowledgement of that is wrong.
    Numbers never change. A client with a new id begins with sequence 1 again: `shift` is what
    numbers are ahead of sequences then. Not thread-safe: whoever calls it holds its guard.

    An exception of a signal handler may end each of these between two bytecodes. `recover`
    completes what it has interrupted; nothing else is called before that.
    """

    persistent = False
    outlives_process = False  # whether what is in it now is kept when the process ends

    def __init__(self):
        self.client_id = os.urandom(16)
        self.incarnation = 1
        self.acked_by = _NOBODY  # the server that acknowledged last
        self.first = self.cursor = self.sent = self.next = 1
        self.shift = 0
        self.bytes = 0  # that it takes
        self.dropped = dict.fromkeys(_REASONS, 0)  # records by reason
        self.gaps = 0
        self.fresh_gaps = collections.deque(maxlen=_NEWS)  # reasons; whoever reports removes them
        self.news = collections.deque(maxlen=_NEWS)  # (text, error) to report, removed likewise

    def _count_gap(self, reason, is_new, count=1):
        self.dropped[reason] += count
        if is_new:
            self.gaps += 1
            self.fresh_gaps.append(reason)

    def renumber(self, claimed=None):
        """Become another client: what is left has the sequences from 1 on.

        Args:
            claimed: the last number that the server said it has, if that is known.

        Returns:
            How many of the numbers that are left were sent under the old id, or may have been: the
            server may store them twice.
        """
        end = self.sent if claimed is None else min(claimed + 1, self.next)
        doubtful = max(0, max(end, self.sent) - self.first)
        self.client_id = os.urandom(16)
        self.acked_by = _NOBODY
        self.shift = self.first - 1
        self.sent = self.first
        self._unsend()
        return doubtful

    def check(self, now):
        """Notice what has happened to it from outside. Call repeatedly."""

    def save(self):
        """Put into files what is in memory only, where that is possible."""

    def count_unsaved(self):
        """How many records would be lost if the process ended now."""
        return self.pending

    # A change of several steps is written down before the first. Each step leaves as it is what
    # was done already, so the change can be made again from the beginning.

    _change = None  # (function, arguments), while it is being made

    def _make_change(self, function, *args):
        self._change = (function, args)
        function(*args)
        self._change = None

    def _complete_change(self):
        if self._change is not None:
            function, args = self._change
            function(*args)
            self._change = None


class _Memory(_Store):
    def __init__(self):
        _Store.__init__(self)
        self.pending = 0  # records, without the gaps between them
        self._sent = collections.deque()  # from `first` to `cursor`
        self._waiting = collections.deque()  # from `cursor` to `next`
        self._declared = dict.fromkeys(_REASONS, 0)  # dropped records that were acknowledged

    def recover(self):
        """Complete a change that an exception interrupted; the queues say what there is."""
        self._complete_change()
        self.cursor = self.first + sum(map(_count, self._sent))
        self.sent = max(self.sent, self.cursor)
        self.next = self.cursor + sum(map(_count, self._waiting))
        dropped, pending, size = self._declared.copy(), 0, 0
        for entry in itertools.chain(self._sent, self._waiting):
            if entry.__class__ is _Gap:
                dropped[entry.reason] += entry.count
            else:
                pending += 1
                size += len(entry) + _OVERHEAD
        self.dropped, self.pending, self.bytes = dropped, pending, size

    def extend(self, records, stamp):
        """Put records at the end; those that find no room there are dropped at `stamp`."""
        count = len(records)
        self._waiting.extend(records)
        self.next += count
        self.pending += count
        self.bytes += sum(map(len, records)) + count * _OVERHEAD

    def add_gap(self, reason, stamp):
        """Give the next number to a record that is dropped at `stamp`."""
        last = self._waiting[-1] if self._waiting else None
        merges = last.__class__ is _Gap and last.reason == reason
        if merges:
            last.grow(stamp)
        else:
            self._waiting.append(_Gap(reason, stamp))
        self.next += 1
        self._count_gap(reason, not merges)

    def drop_oldest(self, size, stamp):
        """Drop what was not sent, the oldest first, until `size` bytes are free or all is gone."""
        waiting, at = self._waiting, 0
        while at < len(waiting) and size > 0:
            entry = waiting[at]
            if entry.__class__ is _Gap:
                at += 1
                continue
            size -= len(entry) + _OVERHEAD
            merges = at > 0 and waiting[at - 1].reason == _FULL
            if merges:
                gap = waiting[at - 1]
                gap.t1 = max(gap.t1, stamp)
                self._make_change(self._merge, gap, gap.count + 1, len(waiting) - 1, at)
            else:
                waiting[at] = _Gap(_FULL, stamp)
                at += 1
            self._remove(entry)
            self._count_gap(_FULL, not merges)

    def _merge(self, gap, count, left, at):
        """Make the record at that place a part of the gap before it."""
        gap.count = count
        if len(self._waiting) > left:
            del self._waiting[at]

    def give_up(self, stamp):
        """Declare all that was not sent as left at exit."""
        entries, gaps = [], 0
        for entry in self._waiting:
            if entry.__class__ is _Gap:
                entries.append(_Gap(entry.reason, entry.t0, entry.t1, entry.count))
            elif entries and entries[-1].reason == _LEFT:
                entries[-1].grow(stamp)
            else:
                entries.append(_Gap(_LEFT, stamp))
                gaps += 1
        self._waiting = collections.deque(entries)
        self.gaps += gaps
        self.fresh_gaps.extend([_LEFT] * gaps)
        self.recover()

    def take(self, limit, must, max_record, stamp):
        """Take what is to be sent next, and move the cursor behind it.

        Args:
            limit: bytes that the records may have, with 4 for each.
            must: whether a single record may have more.
            max_record: a record that is larger becomes a gap.

        Returns:
            Its first number, and a list of records or a gap; or None.
        """
        waiting, base, records, size = self._waiting, self.cursor, [], 0
        for entry in itertools.islice(waiting, _BATCH_RECORDS):
            if entry.__class__ is _Gap:
                break
            if len(entry) > max_record:
                self._reject_next(entry, stamp, not records)
                break
            size += 4 + len(entry)
            if size > limit and (records or not must):
                break
            records.append(entry)
        if records:
            self._move_on(records)
            return base, records
        if waiting and waiting[0].__class__ is _Gap:
            gap = waiting[0]
            self._move_on([gap])
            return base, gap
        return None

    def _reject_next(self, record, stamp, is_first):
        if is_first:  # else at the next call
            self._waiting[0] = _Gap(_TOO_LARGE, stamp)
            self._remove(record)
            self._count_gap(_TOO_LARGE, True)

    def _move_on(self, entries):
        count = len(entries)
        lengths = (len(self._sent) + count, len(self._waiting) - count)
        cursor = self.cursor + sum(map(_count, entries))
        self._make_change(self._take_away, entries, lengths, cursor)

    def _take_away(self, entries, lengths, cursor):
        """Move these entries from what waits to what is sent."""
        if len(self._sent) < lengths[0]:
            self._sent.extend(entries)
        while len(self._waiting) > lengths[1]:
            self._waiting.popleft()
        self.cursor = cursor
        self.sent = max(self.sent, cursor)

    def ack(self, last, node):
        """Forget what is up to this number, which is below `cursor`: that server has it."""
        self._forget(self._sent, last, node)

    def _forget(self, entries, last, node):
        if last < self.first:
            return
        self.acked_by = node
        number, left, pending, size = self.first, len(entries), self.pending, self.bytes
        declared, rest = self._declared.copy(), None
        for entry in entries:
            if number > last:
                break
            if entry.__class__ is not _Gap:
                pending -= 1
                size -= len(entry) + _OVERHEAD
                number += 1
            elif number + entry.count - 1 <= last:
                declared[entry.reason] += entry.count
                number += entry.count
            else:
                declared[entry.reason] += last + 1 - number
                rest = number + entry.count - 1 - last
                break
            left -= 1
        self._make_change(self._remove_first, entries, left, rest, last + 1, declared)
        self.pending, self.bytes = pending, size

    def _remove_first(self, entries, left, rest, first, declared):
        while len(entries) > left:
            entries.popleft()
        if rest is not None:
            entries[0].count = rest
        self.first, self._declared = first, declared

    def rewind(self, last, node):
        """A connection begins: send all again but what is up to this number. Returns how many.

        Raises:
            _NewIdNeeded: the server has what was never sent.
        """
        if last >= self.sent:
            raise _NewIdNeeded(_OVER_ACK, last)
        cursor = self.cursor
        self._unsend()
        self._forget(self._waiting, last, node)
        self.cursor = self.first
        return max(0, cursor - self.first)

    def close(self):
        """Nothing: what is left ends with the process."""

    def abandon(self, is_interrupted=False):
        """Nothing likewise."""

    def _unsend(self):
        self._make_change(self._put_back, len(self._waiting) + len(self._sent))

    def _put_back(self, length):
        if len(self._waiting) < length:
            self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        self.cursor = self.first

    def _remove(self, record):
        self.pending -= 1
        self.bytes -= len(record) + _OVERHEAD


# ---- files of this user only -----------------------------------------------------------------

_SAFELY = 0  # never through a link, never waiting for a FIFO, and not for programs that are started
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC"):
    _SAFELY |= getattr(os, _flag, 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_HAS_DIR_FD = os.open in getattr(os, "supports_dir_fd", ())


class _NotOurs(EnvironmentError):
    """Another user made this, or could change it: nothing of it is read or written."""

    def __repr__(self):
        return str(self)


class _File(object):
    """An open file or directory, and which one: a program may close all descriptors that it finds,
    and open something else under the same number.
    """

    __slots__ = ("descriptor", "identity")

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.identity = _identity(os.fstat(descriptor))

    def check(self):
        """Learn whether it still has a name, and still is the same.

        Raises:
            EnvironmentError: it has not, or is not.
        """
        info = os.fstat(self.descriptor)
        if info[1:3] != self.identity or not info[3]:  # faster than names: a record waits for it
            raise EnvironmentError(errno.ESTALE, "the file was removed")

    def is_same(self):
        """Whether the descriptor is still that of this file, removed or not."""
        try:
            return _identity(os.fstat(self.descriptor)) == self.identity
        except EnvironmentError:
            return False

    def read(self, begin, end):
        """The bytes from `begin` to `end`, or as many of them as there are."""
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
        """Close it, but keep its number: what a fork has interrupted may be about to write there,
        and another file of this child must not get that.
        """
        if self.is_same():
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, self.descriptor)
            os.close(null)
            _close_on_exec(self.descriptor)


class _Folder(_File):
    """A directory that is held open, so that nobody can put another in its place.

    With Python 3, names are looked up from its descriptor; with Python 2 through /proc, which does
    the same on Linux. Where neither is, its path is compared with it before each use.
    """

    __slots__ = ("path",)

    def __init__(self, path, descriptor):
        _File.__init__(self, descriptor)
        self.path = path

    def _at(self, name):
        """A path for this name, and arguments that belong to it."""
        if not self.is_same():
            raise EnvironmentError(errno.EBADF, "the descriptor was closed")
        if _HAS_DIR_FD:
            return name, {"dir_fd": self.descriptor}
        if os.path.isdir("/proc/self/fd/%d" % self.descriptor):
            return "/proc/self/fd/%d/%s" % (self.descriptor, name), {}
        if _identity(os.lstat(self.path)) != self.identity:
            raise EnvironmentError(errno.ESTALE, "the folder was replaced")
        return os.path.join(self.path, name), {}

    def names(self):
        if _HAS_DIR_FD and self.is_same():
            return os.listdir(self.descriptor)
        return os.listdir(self._at(".")[0])

    def lstat(self, name):
        path, where = self._at(name)
        return os.lstat(path, **where)

    def has(self, name, file):
        """Whether that name is this file's."""
        try:
            return _identity(self.lstat(name)) == file.identity
        except EnvironmentError as error:
            return error.errno not in _VANISHED

    def open(self, name, flags):
        """Open a file of this user, or make one for it alone.

        Raises:
            _NotOurs: it is something else.
            EnvironmentError: it is not there, or is there though `flags` has O_EXCL.
        """
        is_new = bool(flags & os.O_EXCL)
        if not is_new:
            self._judge(name, self.lstat(name), stat.S_ISREG)  # to open a device may do something
        path, where = self._at(name)
        descriptor = os.open(path, flags | _SAFELY, 0o600, **where)
        try:
            self._judge(name, os.fstat(descriptor), stat.S_ISREG)
            if is_new:
                os.fchmod(descriptor, 0o600)  # whatever the umask has taken
            _close_on_exec(descriptor)
            return _File(descriptor)
        except Exception:
            os.close(descriptor)
            raise

    def folder(self, name):
        """Open a folder in it.

        Raises:
            _NotOurs: it is not one of this user, or others can write it.
            EnvironmentError: it is not there.
        """
        self._judge(name, self.lstat(name), stat.S_ISDIR)
        path, where = self._at(name)
        descriptor = os.open(path, os.O_RDONLY | _DIRECTORY | _SAFELY, **where)
        try:
            self._judge(name, os.fstat(descriptor), stat.S_ISDIR)
            _close_on_exec(descriptor)
            return _Folder(os.path.join(self.path, name), descriptor)
        except Exception:
            os.close(descriptor)
            raise

    def make_folder(self, name):
        """Make a folder for this user alone, and open it."""
        path, where = self._at(name)
        os.mkdir(path, 0o700, **where)
        if self.lstat(name).st_mode & 0o700 != 0o700:
            os.chmod(path, 0o700, **where)  # the umask has taken that too
        return self.folder(name)

    def _judge(self, name, info, is_right_kind):
        path = os.path.join(self.path, name)
        if not is_right_kind(info.st_mode):
            kind = "folder" if is_right_kind is stat.S_ISDIR else "regular file"
            raise _NotOurs("%s is no %s: remove it" % (path, kind))
        if info.st_uid != os.geteuid():
            raise _NotOurs("%s belongs to user %d: remove it" % (path, info.st_uid))
        if is_right_kind is stat.S_ISDIR and info.st_mode & _BY_OTHERS:
            raise _NotOurs("others can write %s: remove it, or set its mode to 0700" % path)
        if is_right_kind is stat.S_ISREG and info.st_nlink > 1:
            raise _NotOurs("%s has another name elsewhere (a hard link): remove it" % path)

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
        os.fsync(self.descriptor)


def _identity(info):
    return info[1:3]  # st_ino, st_dev


def _close_on_exec(descriptor):
    """Python 2 has no O_CLOEXEC."""
    fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)


def _open_directory(path):
    """Open a spool directory, which must be this user's, or root's.

    Raises:
        _NotOurs: it is another user's.
        EnvironmentError: it cannot be opened.
    """
    trusted = (0, os.geteuid())
    info = os.lstat(path)
    descriptor = None
    if info.st_uid in trusted:  # else it may be another user's link to a directory of ours
        flags = os.O_RDONLY | _DIRECTORY | (_SAFELY & ~getattr(os, "O_NOFOLLOW", 0))
        descriptor = os.open(path, flags)
        info = os.fstat(descriptor)
    if info.st_uid not in trusted:
        if descriptor is not None:
            os.close(descriptor)
        raise _NotOurs(
            "the spool directory %s belongs to user %d: use another" % (path, info.st_uid)
        )
    _close_on_exec(descriptor)
    return _Folder(path, descriptor)


def _make_directory(path):
    """Make a spool directory, for this user alone, unless it is there."""
    try:
        os.makedirs(path, 0o700)
    except EnvironmentError:
        if not os.path.isdir(path):  # else it is there, or a sibling was faster
            raise
        return
    if os.lstat(path).st_mode & 0o700 != 0o700:
        os.chmod(path, 0o700)  # the umask has taken that


# ---- the spool -------------------------------------------------------------------------------

_SEGMENT_BYTES = 1024 * 1024
_ENTRY = struct.Struct(">4sQI")  # mark, number, length or _IS_GAP; then the crc32 of all, the data
_ENTRY_MARK = b"\xfaSE1"
_IS_GAP = 0xFFFFFFFF
_SPOOLED_GAP = struct.Struct(">QBQQ")  # count, reason, t0, t1
_STATE = struct.Struct(">4s16sQQQQ16s")
"""Mark, client id, incarnation, shift, first, sent, acked by; then their crc32."""
_STATE_MARK = b"FST2"
_CRC = struct.Struct(">I")
_GAP_ENTRY_BYTES = _ENTRY.size + _CRC.size + _SPOOLED_GAP.size
_MAX_NUMBER = 1 << 40
"""No process gets there; and no gap is longer than the protocol allows."""
_MAX_INCARNATION = 1 << 63
_LONGEST_RECORD = (1 << 24) - 1  # that any server takes
_LONGEST_SEGMENT = _LONGEST_RECORD + _SEGMENT_BYTES  # nothing behind that is ours
_READ_BYTES = 1 << 20
_LOOK_AGAIN = 0.001  # seconds between two looks whether the file that is written has a name still
_CHECK_SECONDS = 1.0  # between two looks whether the folder is still there
_MOVE_SECONDS = 60.0  # in which a process that lives has moved to another
_VANISHED = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ESTALE,
    errno.EBADF,
    errno.EACCES,
    errno.EPERM,
)
"""What a write fails with when files or folder were removed or replaced, or are others' now."""
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.ETIMEDOUT)


class _Place(object):
    """A spool folder with two open files in it."""

    __slots__ = ("folder", "lock", "state")

    def __init__(self, folder, lock, state):
        self.folder, self.lock, self.state = folder, lock, state

    def close(self, close=_File.close):
        files, self.lock, self.state = (self.lock, self.state, self.folder), None, None
        for file in files:
            if file is not None:
                close(file)


class _Segment(object):
    """A file of entries, or what is to become one; its name is the number of the first."""

    __slots__ = ("base", "data", "file", "name", "size")

    def __init__(self, base):
        self.base = base
        self.name = "%016x.seg" % base
        self.size = 0
        self.data = None  # a bytearray while it is in memory only
        self.file = None  # open, of the last segment


class _Spool(_Store):
    """A store in files, for one process; another adopts it once that has ended.

    Its folder holds `lock`, which the owner has locked; `state`, which is written anew whenever
    something is sent or acknowledged; and segments, each removed when all of it is acknowledged. A
    record that is written survives the process, however it ends. It survives a loss of power only
    with `fsync`, which waits for the disk at each record.

    `state` says how far was sent before it is: what a server claims to have beyond that, nobody
    has sent under this id, also not the process that left this folder. Then the client takes a new
    id. An heir whose files lost their end knows from it which numbers were used.

    Somebody may remove or replace the folder, or files in it, meanwhile. A write notices that its
    file has no name any more, `check` the rest. The spool then moves to a new folder, with all that
    can still be read. While none can be made, what is new is in memory, up to `memory_bytes`.
    """

    persistent = True

    def __init__(self, folder, lock, max_bytes=0, fsync=False, memory_bytes=0):
        _Store.__init__(self)
        self.max_bytes, self._memory_bytes = max_bytes, memory_bytes
        self.error = None  # why the disk rejected something, last
        self._segment_bytes = max(1024, min(_SEGMENT_BYTES, max_bytes // 8))
        self._place = _Place(folder, lock, None)
        self._fsync = fsync
        self._is_adopted = False  # nothing is added to it any more
        self._position = None  # where the next byte goes in the last segment, if that is known
        self._segments = []
        self._gap = None  # [number, gap, offset or None]: the last entry, if it is a gap
        self._absent = []  # [begin, end) of numbers from `first` on that are no records any more
        self._ahead = collections.deque()  # (number, entry): what was read, from `cursor` on
        self._loaded = 1  # what is below this number was read
        self._reading, self._offset = None, 0  # the segment that is read, and from where on
        self._check_at = 0.0
        self._looked_at = 0.0  # wall clock, when the file that is written was checked
        self._left = []  # places that it has moved from

    @classmethod
    def create(cls, directory, max_bytes, fsync, memory_bytes=0):
        """Make a new one below this directory.

        Raises:
            EnvironmentError: it cannot be made.
        """
        folder, lock = _make_spool_folder(directory, fsync)
        spool = cls(folder, lock, max_bytes, fsync, memory_bytes)
        try:
            spool.client_id = binascii.unhexlify(os.path.basename(folder.path))
            spool._place.state = spool._make_state(folder)
            spool._begin_segment(1)
            mode = os.stat(directory).st_mode
        except Exception:
            spool.close()  # and removes it
            raise
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            spool.news.append(
                ("all users can remove what waits in %s: set its mode to 0700" % directory, None)
            )
        return spool

    @classmethod
    def adopt(cls, folder):
        """Take over the spool of a process that has ended.

        Returns:
            None if its process lives, if somebody else was faster, or if it holds nothing.

        Raises:
            _NotOurs: it is not a folder of this user alone, or a file in it is not.
            EnvironmentError: it cannot be read.
        """
        parent = _open_directory(os.path.dirname(folder))
        try:
            folder = parent.folder(os.path.basename(folder))
        except EnvironmentError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        finally:
            parent.close()
        spool = cls(folder, None)
        try:
            names = folder.names()
            if "lock" not in names:
                # It was sent, and something else has kept the folder. Or somebody has removed the
                # lock: then its process, if it lives, notices soon, and moves.
                since = abs(time.time() - os.fstat(folder.descriptor).st_mtime)
                if since < _MOVE_SECONDS or not any(map(_SEGMENT_NAME.match, names)):
                    spool.abandon()
                    return None
            spool._place.lock = _lock(folder)
            if spool._lock is None or not folder.has("lock", spool._lock):
                spool.abandon()  # it was sent and removed between open and lock
                return None
            spool._read_folder()
            spool._is_adopted = True
            spool.incarnation += 1
            spool._write_state(spool._state)
        except Exception:
            spool.abandon()
            raise
        return spool

    @property
    def folder(self):
        return self._folder.path

    @property
    def _folder(self):
        return self._place.folder

    @property
    def _lock(self):
        return self._place.lock

    @property
    def _state(self):
        return self._place.state

    @property
    def _file(self):
        return self._segments[-1].file if self._segments else None

    @property
    def pending(self):
        """Records that are not acknowledged, without the gaps between them."""
        return self._count_records(self.first, self.next)

    @property
    def outlives_process(self):
        return not self._is_in_memory

    @property
    def _is_in_memory(self):
        return bool(self._segments) and self._segments[-1].data is not None

    # -- numbers that are no records any more --

    def _find_absent(self, begin, end):
        """How many of these numbers are none already; and the spans that touch them, as a slice
        and what is to replace it.
        """
        spans = self._absent
        at = bisect.bisect_left(spans, [begin])
        if at and spans[at - 1][1] >= begin:
            at -= 1
        stop, known, low, high = at, 0, begin, end
        while stop < len(spans) and spans[stop][0] <= end:
            known += max(0, min(end, spans[stop][1]) - max(begin, spans[stop][0]))
            low, high = min(low, spans[stop][0]), max(high, spans[stop][1])
            stop += 1
        return known, slice(at, stop), [low, high]

    def _drop(self, begin, end, reason):
        """Note that these numbers are no records, and count those that were."""
        count = end - begin - self._find_absent(begin, end)[0]
        if count:
            total = self.dropped[reason] + count
            self._make_change(self._note_absent, begin, end, reason, total, self.gaps + 1)

    def _note_absent(self, begin, end, reason, dropped, gaps):
        _, place, span = self._find_absent(begin, end)
        self._absent[place] = [span]
        self.dropped[reason] = dropped
        if self.gaps != gaps:
            self.fresh_gaps.append(reason)
            self.gaps = gaps

    def _trim_absent(self):
        spans, at = self._absent, 0
        while at < len(spans) and spans[at][1] <= self.first:
            at += 1
        del spans[:at]
        if spans and spans[0][0] < self.first:
            spans[0][0] = self.first

    def _count_records(self, begin, end):
        """How many of these numbers are records that are not acknowledged."""
        begin = max(begin, self.first)
        spans = [(max(begin, low), min(end, high)) for low, high in self._absent]
        return max(0, end - begin) - sum(max(0, high - low) for low, high in spans)

    # -- after an exception --

    def recover(self):
        """Complete a change that an exception interrupted: the segments say what was written."""
        self._trim_absent()
        if self._is_adopted or self._lock is None or not self._segments:
            return  # nothing is added to it any more; or this is the child of a fork
        self._position, self._looked_at = None, 0.0
        for segment in self._segments:
            is_written = segment is self._segments[-1] and segment.data is None
            if segment.file is not None and not is_written:
                file, segment.file = segment.file, None
                file.close()
        self._forget_unknown_files()
        self._recover_end()
        self.bytes = sum(segment.size for segment in self._segments)
        self._complete_change()
        if self._left:
            self._check_at = 0.0  # the move goes on

    def _forget_unknown_files(self):
        """Remove a segment's file that was made, and nothing more."""
        try:
            for name in self._folder.names():
                if _SEGMENT_NAME.match(name) and int(name[:16], 16) > self._segments[-1].base:
                    self._remove(name, self._folder)
        except EnvironmentError as error:
            self.error = error

    def _recover_end(self):
        """Learn what the last segment ends with, be it counted or not."""
        segment, gap = self._segments[-1], self._gap
        try:
            data = self._read_all(segment)
        except EnvironmentError as error:
            self.error = error
            return
        end, written, last = 0, None, None
        for number, entry, behind in _entries_with_ends(data):
            if segment.base <= number and number + _count(entry) <= self.next + 1:
                end, written, last = behind, number, entry
        if written is None:
            end = min(segment.size, len(data))
        elif end < segment.size and written + _count(last) < self.next:
            end = segment.size  # its end is damaged: that becomes a gap, and what comes is behind
            last = None
        if last is not None and last.__class__ is not _Gap:
            self.next = max(self.next, written + 1)
            if gap is not None and gap[0] <= written:
                self._gap = None
        segment.size = end
        if self._gap is not None:
            is_last = last.__class__ is _Gap and written == self._gap[0]
            self._gap[2] = end - _GAP_ENTRY_BYTES if is_last else None

    def _read_all(self, segment):
        """All that was written to the last segment, also what is not counted in its size."""
        if segment.data is not None:
            return bytes(segment.data)
        return segment.file.read(0, _LONGEST_SEGMENT)

    # -- writing --

    def extend(self, records, stamp):
        for record in records:
            if len(record) > _LONGEST_RECORD:
                self.add_gap(_TOO_LARGE, stamp)
            elif self._append(record):
                self.next += 1
            else:
                self.add_gap(_FULL if self._is_in_memory else _SPOOL_FULL, stamp)

    def add_gap(self, reason, stamp):
        self._counting = (self.next, reason, self.dropped[reason])
        last, begin, gap = self._gap, self.next, _Gap(reason, stamp)
        merges = last is not None and last[0] >= self._loaded and last[1].reason == reason
        if merges:
            begin = last[0]
            gap = _Gap(reason, last[1].t0, max(last[1].t1, stamp), last[1].count + 1)
        dropped, gaps = self.dropped[reason] + 1, self.gaps + (not merges)
        self._make_change(self._end_with, begin, gap, dropped, gaps)

    def _end_with(self, begin, gap, dropped, gaps):
        """Have this gap, which ends with the next number, in the place of that which it merges."""
        former, end = self._gap, begin + gap.count
        is_new = former is None or former[0] != begin
        self._gap = [begin, gap, None if is_new else former[2]]
        self._note_absent(end - 1, end, gap.reason, dropped, gaps)
        self._write_gap()
        self.next = end

    def _append(self, record):
        """Write a record; returns whether it is written."""
        if self._gap is not None and self._gap[2] is None and not self._write_gap():
            return False
        entry = _make_entry(self.next, len(record), record)
        bound = self._memory_bytes if self._file is None else self.max_bytes
        if self.bytes + len(entry) > bound or not self._write(self.next, entry):
            return False
        self._gap = None
        return True

    def _write_gap(self):
        """Write the gap at the end, or write it anew; it may go beyond the bound."""
        number, gap, offset = self._gap
        entry = _make_entry(
            number, _IS_GAP, _SPOOLED_GAP.pack(gap.count, gap.reason, gap.t0, gap.t1)
        )
        if not self._write(number, entry, offset):
            return False
        self._gap[2] = self._segments[-1].size - len(entry)
        return True

    def _write(self, number, entry, offset=None):
        """Write an entry at the end, or over the last one; returns whether it is kept."""
        for is_last_try in (False, True):
            if self._lock is None:
                return False  # abandoned: a fork interrupted the caller, and this is the child
            try:
                self._put(number, entry, offset)
                break
            except EnvironmentError as error:
                self.error = error
                self._cut()
                if is_last_try or self._lock is None or error.errno not in _VANISHED:
                    return False
                self._renew()
        if offset is None:
            self._segments[-1].size += len(entry)
            self.bytes += len(entry)
        return True

    def _put(self, number, entry, offset):
        segment = self._segments[-1]
        if offset is None and segment.size and segment.size + len(entry) > self._segment_bytes:
            segment = self._begin_segment(number)
        at = segment.size if offset is None else offset
        if segment.data is not None:
            segment.data[at:] = entry
            return
        file = self._file
        moment = _wall_clock()
        if not 0 <= moment - self._looked_at < _LOOK_AGAIN:  # each time costs up to 1.6 us a record
            file.check()
            self._looked_at = moment
        if self._position != at:
            os.lseek(file.descriptor, at, os.SEEK_SET)
        self._position = None
        _write_all(file.descriptor, entry)
        self._position = at + len(entry)
        if self._fsync:
            os.fsync(file.descriptor)

    def _cut(self):
        """Remove what was written in part; where that fails too, the next write goes over it."""
        try:
            if self._file is not None and self._file.is_same():
                os.ftruncate(self._file.descriptor, self._segments[-1].size)
        except EnvironmentError as error:
            self.error = error

    def _begin_segment(self, number):
        segment = _Segment(number)
        former = self._segments[-1] if self._segments else None
        if self._is_in_memory:
            segment.data = bytearray()
        else:
            segment.file = self._make_file(segment)
            self._position, self._looked_at = 0, 0.0
        self._segments.append(segment)
        if former is not None and former.file is not None:
            file, former.file = former.file, None
            file.close()
        return segment

    def _make_file(self, segment):
        file = self._folder.open(segment.name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        if self._fsync:
            self._folder.sync()
        return file

    # -- a folder that vanishes --

    def check(self, now):
        if self._is_adopted or self._lock is None or now < self._check_at:
            return
        self._check_at = now + _CHECK_SECONDS
        if self._is_in_memory or not self._is_in_place():
            self._renew()
        elif self._left:  # an exception has interrupted that
            try:
                self._complete_move()
            except EnvironmentError as error:
                self.error = error

    def _is_in_place(self):
        segment = self._segments[-1]
        return self._is_folder_in_place() and self._folder.has(segment.name, self._file)

    def _is_folder_in_place(self):
        """Whether it is where another process would find it, with what that would need."""
        try:
            if _identity(os.lstat(self._folder.path)) != self._folder.identity:
                return False
        except EnvironmentError as error:
            return error.errno not in (errno.ENOENT, errno.ENOTDIR)  # else we may not look any more
        return self._folder.has("lock", self._lock) and self._folder.has("state", self._state)

    def _renew(self):
        """Move to a new folder, or to memory while none can be made."""
        was_in_memory, old = self._is_in_memory, self._folder.path
        self._take_into_memory()
        try:
            if not self._is_folder_in_place():
                self._move()
            self._complete_move()
        except EnvironmentError as error:
            self.error = error
        if was_in_memory != self._is_in_memory:
            if was_in_memory:
                text = "the records are in the spool again: %s" % self._folder.path
            else:
                text = "the spool %s was removed, and none can be made: records are in memory" % old
            self.news.append((text, self.error if self._is_in_memory else None))
        elif not was_in_memory:
            text = "the spool %s was removed or replaced: what can be read of it is in %s now"
            self.news.append((text % (old, self._folder.path), None))

    def save(self):
        if self._is_in_memory and self._lock is not None:
            self._renew()

    def count_unsaved(self):
        if not self._is_in_memory:
            return 0
        if not self._is_folder_in_place():
            return self.pending
        ends = [segment.base for segment in self._segments[1:]] + [self.next]
        return sum(
            self._count_records(segment.base, end)
            for segment, end in zip(self._segments, ends)
            if segment.data is not None
        )

    def _complete_move(self):
        for place in self._left:
            self._fetch_all(place)
        for segment in self._segments:
            if segment.data is not None:
                self._write_out(segment)
        self._clear_what_was_left()

    def _take_into_memory(self):
        """Read the last segment, through its descriptor: the file may have no name any more."""
        segment = self._segments[-1]
        if segment.data is not None:
            return
        try:
            data = self._file.read(0, segment.size)
        except EnvironmentError:
            data = self._salvage(segment, self._folder)
        data += b"\0" * (segment.size - len(data))  # offsets stay; it will be a gap
        segment.data = bytearray(data)
        file, segment.file = segment.file, None
        file.close()

    def _move(self):
        """Make a new folder, to which all goes that is left in the old."""
        directory = os.path.dirname(self._folder.path)
        _make_directory(directory)
        folder, lock = _make_spool_folder(directory, self._fsync)
        try:
            state = self._make_state(folder)
        except EnvironmentError:
            for name in ("state", "lock"):
                self._remove(name, folder)
            self._remove_folder(folder)
            lock.close()
            folder.close()
            raise
        self._reading = None
        self._left.append(self._place)  # its lock is kept until all is written again
        self._place = _Place(folder, lock, state)

    def _fetch_all(self, place):
        for segment in self._segments:
            if place is not self._place and segment.data is None and not self._has(segment):
                self._fetch(segment, place.folder)

    def _has(self, segment):
        try:
            self._folder.lstat(segment.name)
            return True
        except EnvironmentError as error:
            if error.errno != errno.ENOENT:
                raise
            return False

    def _clear_what_was_left(self):
        while self._left:
            place = self._left[-1]
            folder, is_ours = place.folder, place is not self._place
            if is_ours and folder.descriptor >= 0:
                names = [name for name in folder.names() if _SEGMENT_NAME.match(name)] + ["state"]
                if place.lock is not None and folder.has("lock", place.lock):
                    names.append("lock")
                for name in names:
                    self._remove(name, folder)
                self._remove_folder(folder)
            self._left.pop()
            if is_ours:
                place.close()

    def _fetch(self, segment, old):
        """Take a segment's file along; if that cannot be, its records become a gap."""
        try:
            old.rename(segment.name, self._folder, segment.name)
            return
        except EnvironmentError as error:
            is_elsewhere = error.errno == errno.EXDEV
        data = self._salvage(segment, old) if is_elsewhere else b""
        self.bytes -= segment.size - len(data)
        segment.size = len(data)
        if data:
            segment.data = bytearray(data)
            try:
                self._write_out(segment)
            except EnvironmentError as error:  # it stays in memory until the next attempt
                self.error = error

    def _salvage(self, segment, folder):
        try:
            return self._read(segment, 0, folder)
        except EnvironmentError:
            return b""

    def _write_out(self, segment):
        """Make a file of a segment that is in memory."""
        self._remove(segment.name, self._folder)  # part of an earlier attempt
        file = self._make_file(segment)
        try:
            _write_all(file.descriptor, bytes(segment.data))
            if self._fsync:
                os.fsync(file.descriptor)
        except EnvironmentError:
            file.close()
            self._remove(segment.name, self._folder)
            raise
        if segment is self._segments[-1]:
            self._position = None
            segment.file = file
            segment.data = None
        else:
            segment.data = None
            file.close()

    # -- reading --

    def take(self, limit, must, max_record, stamp):
        if not self._ahead:
            self._load(stamp)
        ahead, base, records, size = self._ahead, self.cursor, [], 0
        while ahead and len(records) < _BATCH_RECORDS:
            number, entry = ahead[0]
            if entry.__class__ is _Gap:
                break
            if len(entry) > max_record:
                ahead[0] = (number, _Gap(_TOO_LARGE, stamp))
                self._drop(number, number + 1, _TOO_LARGE)
                break
            size += 4 + len(entry)
            if size > limit and (records or not must):
                break
            records.append(entry)
            ahead.popleft()
        if records:
            self._move_cursor(len(records))
            return base, records
        if ahead and ahead[0][1].__class__ is _Gap:
            gap = ahead.popleft()[1]
            self._move_cursor(gap.count)
            return base, gap
        return None

    def _move_cursor(self, count):
        self.cursor += count
        if self.cursor > self.sent:
            self.sent = self.cursor
            self._save()
            if self._fsync:
                self._sync_state()

    def _load(self, stamp):
        """Read on, at most to the end of a segment; what is missing there is a gap."""
        expected = self.cursor
        if expected >= self.next:
            return
        index = len(self._segments) - 1
        while index > 0 and self._segments[index].base > expected:
            index -= 1
        data = b""
        if index >= 0:
            segment = self._segments[index]
            is_own = not self._is_adopted and self._lock is not None
            if is_own and index + 1 < len(self._segments) and not self._is_in_place():
                self._renew()  # else it would seem to be gone, though it may have moved only
            if segment is not self._reading:
                self._reading, self._offset = segment, 0
            data = self._read(segment, self._offset)
            self._offset = segment.size
        for number, entry in _entries(data):
            count = entry.count if entry.__class__ is _Gap else 1
            if number + count <= expected:
                continue
            if number + count > self.next:
                break  # no file of ours: it has what was never given a number
            if number > expected:
                self._read_damage(expected, number, stamp)
            elif number < expected:  # a gap, of which the server has a part
                entry.count = count = number + count - expected
                number = expected
            self._read_ahead(number, entry)
            expected = number + count
        in_memory = self._gap is not None and self._gap[2] is None
        if index + 1 < len(self._segments):
            end = self._segments[index + 1].base
        else:
            end = self._gap[0] if in_memory else self.next
        if end > expected:
            self._read_damage(expected, end, stamp)
        if in_memory and index + 1 == len(self._segments):
            begin, gap = max(end, expected), self._gap[1]
            self._read_ahead(begin, _Gap(gap.reason, gap.t0, gap.t1, self.next - begin))

    def _read_damage(self, begin, end, stamp):
        self._drop(begin, end, _DAMAGED)
        self._read_ahead(begin, _Gap(_DAMAGED, stamp, count=end - begin))

    def _read_ahead(self, number, entry):
        self._ahead.append((number, entry))
        self._loaded = number + (entry.count if entry.__class__ is _Gap else 1)

    def _read(self, segment, begin, folder=None):
        """Bytes of a segment; none if its file is gone, or another's.

        Raises:
            EnvironmentError: it cannot be read now, and perhaps later.
        """
        if segment.data is not None:
            return bytes(segment.data[begin : segment.size])
        if segment is self._segments[-1] and self._file is not None and self._file.is_same():
            self._position = None
            return self._file.read(begin, segment.size)  # also when it has no name any more
        try:
            file = (folder or self._folder).open(segment.name, os.O_RDONLY)
            try:
                return file.read(begin, min(segment.size, _LONGEST_SEGMENT))
            finally:
                file.close()
        except EnvironmentError as error:
            self.error = error
            if error.errno in _PASSING:
                raise
            return b""

    # -- what the server has --

    def ack(self, last, node):
        if last < self.first:
            return
        self.acked_by = node
        self.first = last + 1
        self._trim_absent()
        while len(self._segments) > 1 and self._segments[1].base <= self.first:
            segment = self._segments[0]
            if segment.data is None:
                self._remove(segment.name, self._folder)
            del self._segments[0]
            self.bytes -= segment.size
        self._save()

    def rewind(self, last, node):
        if last >= self.sent:
            raise _NewIdNeeded(_OVER_ACK, last)
        again = self.cursor
        self.ack(last, node)
        self._unsend()
        return max(0, again - self.first)

    def renumber(self, claimed=None):
        doubtful = _Store.renumber(self, claimed)
        self._save()
        return doubtful

    def _unsend(self):
        self.cursor = self._loaded = self.first
        self._ahead.clear()
        self._reading = None

    # -- the folder --

    def _save(self):
        """Write the state. If that fails, whoever adopts the spool may double records: it has an
        older one, and trusts the server no further.
        """
        if self._lock is None:
            return  # abandoned likewise
        try:
            self._write_state(self._state)
        except EnvironmentError as error:
            self.error = error
            self._check_at = 0.0

    def _make_state(self, folder):
        file = folder.open("state", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            self._write_state(file)
            return file
        except Exception:
            file.close()
            raise

    def _write_state(self, file):
        state = _STATE.pack(
            _STATE_MARK,
            self.client_id,
            self.incarnation,
            self.shift,
            self.first,
            self.sent,
            self.acked_by,
        )
        file.check()
        os.lseek(file.descriptor, 0, os.SEEK_SET)
        _write_all(file.descriptor, state + _CRC.pack(_crc32(state)))

    def _sync_state(self):
        try:
            os.fsync(self._state.descriptor)
        except EnvironmentError as error:
            self.error = error

    def _read_folder(self):
        """Learn what there is. An entry that is incomplete at the very end was never taken."""
        names = sorted(name for name in self._folder.names() if _SEGMENT_NAME.match(name))
        for name in names:
            base = int(name[:16], 16)
            if 0 < base < _MAX_NUMBER:
                segment = _Segment(base)
                segment.size = self._folder.lstat(name).st_size
                self.bytes += segment.size
                self._segments.append(segment)
        if not self._read_state():
            # How far was sent is not known: nothing that a server claims to have is believed.
            self.client_id = binascii.unhexlify(os.path.basename(self._folder.path))
            self.incarnation = int(time.time())  # above whatever it was
            self.first = self.sent = self._segments[0].base if self._segments else 1
        self.next = self.sent
        if self._segments:
            last = self._segments[-1]
            self.next = max(self.next, last.base)
            for number, entry in _entries(self._read(last, 0)):
                count = entry.count if entry.__class__ is _Gap else 1
                self.next = max(self.next, number + count)
        self._unsend()

    def _read_state(self):
        """Open the state, or make an empty one. Returns whether it could be read."""
        try:
            self._place.state = self._folder.open("state", os.O_RDWR)
        except EnvironmentError as error:
            if error.errno != errno.ENOENT:
                raise
            self._place.state = self._folder.open("state", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        state = self._state.read(0, _STATE.size + _CRC.size)
        body, crc = state[: _STATE.size], state[_STATE.size :]
        if len(crc) < _CRC.size or _CRC.unpack(crc)[0] != _crc32(body):
            return False
        mark, client_id, incarnation, shift, first, sent, acked_by = _STATE.unpack(body)
        is_sound = shift < first <= sent < _MAX_NUMBER and incarnation < _MAX_INCARNATION
        if mark != _STATE_MARK or not is_sound:
            return False
        self.client_id, self.incarnation, self.acked_by = client_id, incarnation, acked_by
        self.shift, self.first, self.sent = shift, first, sent
        return True

    def close(self):
        """Remove it if the server has all of it; else leave it to whoever adopts it."""
        if self._lock is not None and self.first == self.next:
            names = [segment.name for segment in self._segments if segment.data is None]
            for name in names + ["state", "lock"]:
                self._remove(name, self._folder)
            self._remove_folder(self._folder)
        else:
            self.save()
        self.abandon()

    def _remove(self, name, folder):
        try:
            folder.unlink(name)
        except EnvironmentError as error:  # whoever adopts it tries again
            if error.errno != errno.ENOENT:
                self.error = error

    def _remove_folder(self, folder):
        try:
            parent = _open_directory(os.path.dirname(folder.path))
            try:
                name = os.path.basename(folder.path)
                if parent.has(name, folder):
                    parent.rmdir(name)
            finally:
                parent.close()
        except EnvironmentError as error:
            if error.errno != errno.ENOENT:
                self.error = error

    def abandon(self, is_interrupted=False):
        """Let go of the files. In a child, its parent's lock stays.

        Args:
            is_interrupted: this is a child, whose fork has interrupted a change of the store.
        """
        close = _File.close_in_child if is_interrupted else _File.close
        file, places = self._file, [self._place] + self._left
        if file is not None:
            self._segments[-1].file = None
            close(file)
        self._left = []
        for place in places:
            place.close(close)


_HEX_ID = re.compile(r"[0-9a-f]{32}\Z")
_SEGMENT_NAME = re.compile(r"[0-9a-f]{16}\.seg\Z")


def _spools_in(directory):
    """The folders of all spools there; none if there is no such directory of ours any more."""
    try:
        folder = _open_directory(directory)
    except EnvironmentError:
        return []
    try:
        names = folder.names()
    finally:
        folder.close()
    return [os.path.join(directory, name) for name in sorted(names) if _HEX_ID.match(name)]


def _make_spool_folder(directory, fsync):
    """Make a folder for a spool, with a locked `lock`. Returns both, open."""
    parent = _open_directory(directory)
    name = binascii.hexlify(os.urandom(16)).decode("ascii")
    folder = None
    try:
        folder = parent.make_folder("." + name)
        lock = _lock(folder)
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


def _make_entry(number, length, data):
    head = _ENTRY.pack(_ENTRY_MARK, number, length)
    return head + _CRC.pack(_crc32(data, _crc32(head))) + data


def _entries(data):
    """The entries in these bytes, also those behind a damaged place: (number, record or gap)."""
    for number, entry, _ in _entries_with_ends(data):
        yield number, entry


def _entries_with_ends(data):
    """The same, with the offset behind each."""
    at = data.find(_ENTRY_MARK)
    work = 16 * len(data) + _LONGEST_RECORD  # bytes of what only looks like an entry
    while at >= 0 and work >= 0:
        begin = at + _ENTRY.size + _CRC.size
        if begin > len(data):
            return
        _, number, length = _ENTRY.unpack_from(data, at)
        (crc,) = _CRC.unpack_from(data, at + _ENTRY.size)
        end = begin + (_SPOOLED_GAP.size if length == _IS_GAP else length)
        body = data[begin:end] if end <= len(data) else b""
        if end > len(data) or crc != _crc32(body, _crc32(data[at : at + _ENTRY.size])):
            work -= len(body)
            at = data.find(_ENTRY_MARK, at + 1)
            continue
        entry, count = body, 1
        if length == _IS_GAP:
            count, reason, t0, t1 = _SPOOLED_GAP.unpack(body)
            entry = _Gap(reason, t0, t1, count) if reason in _REASONS else None
        if entry is not None and 0 < number and 0 < count <= _MAX_NUMBER - number:
            yield number, entry, end
        at = data.find(_ENTRY_MARK, end)


def _crc32(data, crc=0):
    return zlib.crc32(data, crc) & 0xFFFFFFFF


def _lock(folder):
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


def _write_all(descriptor, data):
    while data:
        data = data[os.write(descriptor, data) :]


# ---- the fastlog protocol -----------------------------------------------------------------------------

_HEADER = struct.Struct(">2sBBI")
_MAGIC = b"\xfa\x57"
_HELLO, _CHALLENGE, _AUTH, _WELCOME = 0x01, 0x02, 0x03, 0x04
_BATCH, _GAP, _ACK, _NOTICE, _ERROR, _BYE = 0x10, 0x11, 0x20, 0x40, 0x4F, 0x50
_HELLO_HEAD = struct.Struct(">BBH16sQQQ16sI16sB")
_WELCOME_HEAD = struct.Struct(">BBH16sQIIIHH")
_BATCH_HEAD = struct.Struct(">QHBBI")
_GAP_BODY = struct.Struct(">QQBQQ")
_ACK_BODY = struct.Struct(">QIB")
_NOTICE_HEAD = struct.Struct(">BH")
_ERROR_HEAD = struct.Struct(">HBQ")
_BYE_BODY = struct.Struct(">Q")
_LENGTH = struct.Struct(">I")

_VERSION = 1
_CAN_CRC, _IS_PERSISTENT = 1, 2
_CLOSING = 1
_RETRY, _FIX_CONFIG, _NEW_ID = range(3)
_MAX_ANSWER = 4096  # bytes; the longest that a server has to say is an error of 200
_MAX_FRAME = 1 << 24
_BATCH_BYTES = 64 * 1024
_SMALL_WINDOW = 16 * 1024  # what is left of it is not worth a batch while others are on their way


_LONGEST_TEXT = 200  # characters of what a server says that are shown


class _Refused(Exception):
    """The connection must end; `action` says what is to be done before the next."""

    def __init__(self, action, text):
        Exception.__init__(self, text)
        self.action = action


class _Session(object):
    """What is said over one connection, without the connection.

    `receive` what comes, send `to_send` and tell `sent`, `fill` when there may be more to say. It
    begins with a HELLO; nothing else is said before the server's WELCOME (`is_ready`). After its
    NOTICE (`retry_ms` is set) nothing more is.

    Args:
        key: (id, secret) as bytes, or None.
        now: monotonic seconds, as everywhere here.
    """

    def __init__(self, store, key, now):
        self._store, self._key = store, key
        self.heard = now  # when a frame came last
        self.is_ready = False
        self.retry_ms = None
        self.node = None
        self.resent = 0  # records that were sent over another connection
        self.batches = 0
        self.has_progressed = False
        self.said_bye = False
        self.keepalive = 5.0
        self._window = 0
        self._in_flight = 0  # payload bytes of the batches that are not acknowledged
        self._batches = collections.deque()  # of those: (last number, payload bytes)
        self._in = b""
        self._out = collections.deque()
        self._nonce = os.urandom(16)
        self._server_nonce = None
        self._hello = self._make_hello()
        self._say(_HELLO, self._hello)

    # -- what we say --

    def to_send(self):
        """The next bytes for the server; empty when there is nothing to say."""
        return self._out[0] if self._out else b""

    def sent(self, count):
        """So many of these were sent."""
        if count == len(self._out[0]):
            self._out.popleft()
        else:
            self._out[0] = self._out[0][count:]

    def fill(self, stamp):
        """Make the next batch or gap, if there is one and it may be sent, and nothing waits."""
        if self._out or not self.is_ready or self.retry_ms is not None or self.said_bye:
            return
        room = self._window - self._in_flight - _BATCH_HEAD.size - _CRC.size
        must = not self._in_flight and self._window > 0
        if not must and room < _SMALL_WINDOW:
            room = 0
        what = self._store.take(min(_BATCH_BYTES, room), must, self._max_record, stamp)
        if what is None:
            return
        base, content = what
        if content.__class__ is _Gap:
            first = base - self._store.shift
            last = first + content.count - 1
            self._say(_GAP, _GAP_BODY.pack(first, last, content.reason, content.t0, content.t1))
        else:
            self._say_batch(base, content)

    def bye(self):
        """End it: the server has acknowledged all."""
        self.said_bye = True
        self._say(_BYE, _BYE_BODY.pack(self._store.next - 1 - self._store.shift))

    def _make_hello(self):
        store, key_id = self._store, self._key[0] if self._key else b""
        capabilities = _CAN_CRC | (_IS_PERSISTENT if store.persistent else 0)
        head = _HELLO_HEAD.pack(
            _VERSION,
            _VERSION,
            capabilities,
            store.client_id,
            store.incarnation,
            store.first - store.shift,
            store.next - store.shift,
            store.acked_by,
            _MAX_FRAME,
            self._nonce,
            len(key_id),
        )
        return head + key_id

    def _say(self, kind, payload, flags=0):
        self._out.append(_HEADER.pack(_MAGIC, kind, flags, len(payload)) + payload)

    def _say_batch(self, base, records):
        frames = []
        for record in records:
            frames.append(_LENGTH.pack(len(record)))
            frames.append(record)
        frames = b"".join(frames)
        head = _BATCH_HEAD.pack(base - self._store.shift, len(records), 0, 0, len(frames))
        payload, flags = head + frames, 0
        if self._has_crc:
            payload, flags = payload + _CRC.pack(_crc32(payload)), 1
        self._say(_BATCH, payload, flags)
        self._batches.append((base + len(records) - 1, len(payload)))
        self._in_flight += len(payload)
        self.batches += 1

    # -- what we hear --

    def receive(self, data, now):
        """Take bytes of the server, however they are cut.

        Raises:
            _Refused: the connection is of no use any more.
            _NewIdNeeded: nor is the client id.
        """
        self._in += data
        while len(self._in) >= _HEADER.size:
            magic, kind, _, length = _HEADER.unpack_from(self._in)
            if magic != _MAGIC or length > _MAX_ANSWER:
                raise _Refused(_RETRY, "what answers there does not speak the fastlog protocol")
            end = _HEADER.size + length
            if len(self._in) < end:
                return
            payload, self._in = self._in[_HEADER.size : end], self._in[end:]
            self.heard = now
            try:
                self._hear(kind, payload)
            except struct.error:
                raise _Refused(_RETRY, "the server sent a frame that is too short")

    def _hear(self, kind, payload):
        if kind == _ERROR:
            code, action, _ = _ERROR_HEAD.unpack_from(payload)
            if action == _NEW_ID:
                raise _NewIdNeeded("the server wants another client id")
            text = _printable(payload[_ERROR_HEAD.size :])
            raise _Refused(action, "the server answered: %s (code %d)" % (text, code))
        if self.is_ready:
            if kind == _ACK:
                self._hear_ack(*_ACK_BODY.unpack_from(payload))
            elif kind == _NOTICE:
                code, retry_ms = _NOTICE_HEAD.unpack_from(payload)
                if code == _CLOSING:
                    self.retry_ms = retry_ms
                    self._out.clear()
        elif kind == _CHALLENGE and self._server_nonce is None:
            self._hear_challenge(payload)
        elif kind == _WELCOME:
            self._hear_welcome(payload)
        else:
            raise _Refused(_RETRY, "the server sent a frame out of turn")

    def _hear_challenge(self, nonce):
        if self._key is None:
            raise _Refused(_FIX_CONFIG, "the server wants a key, and none is configured")
        if len(nonce) != len(self._nonce):  # else it chooses what else the proof would prove
            raise _Refused(_RETRY, "the server sent a challenge of %d bytes" % len(nonce))
        self._server_nonce = nonce
        self._say(_AUTH, self._digest(b"fl1c", nonce, self._hello))

    def _hear_welcome(self, payload):
        fields, proof = payload[: _WELCOME_HEAD.size], payload[_WELCOME_HEAD.size :]
        (version, _, capabilities, node, committed) = _WELCOME_HEAD.unpack(fields)[:5]
        _, self._max_record, self._window, _, keepalive = _WELCOME_HEAD.unpack(fields)[5:]
        if version != _VERSION:
            raise _Refused(_FIX_CONFIG, "the server chose a version that is not spoken here")
        if self._key is not None:
            nonce = self._server_nonce or b""
            right = self._digest(b"fl1s", self._nonce, nonce, self._hello, fields)
            if not nonce or not hmac.compare_digest(right, proof):
                raise _Refused(_FIX_CONFIG, "the server does not prove that it has the key")
        if not self._max_record:
            raise _Refused(_FIX_CONFIG, "the server takes records of 0 bytes only")
        last = committed + self._store.shift
        if last < self._store.first - 1:  # it would take nothing that comes behind that hole
            raise _NewIdNeeded("the server forgot what it had acknowledged")
        self.node = node
        self.keepalive = keepalive or 5.0
        self._has_crc = bool(capabilities & _CAN_CRC)
        self.has_progressed = last >= self._store.first
        self.resent = self._store.rewind(last, node)
        self.is_ready = True

    def _hear_ack(self, committed, window, state):
        last = committed + self._store.shift
        if last >= self._store.cursor:
            raise _NewIdNeeded(_OVER_ACK, last)
        self._window = window
        if last >= self._store.first:
            self.has_progressed = True
            self._store.ack(last, self.node)
        while self._batches and self._batches[0][0] <= last:
            self._in_flight -= self._batches.popleft()[1]

    def _digest(self, *parts):
        return hmac.new(self._key[1], b"".join(parts), hashlib.sha256).digest()


def _printable(data):
    """Text of a peer, safe for a terminal and a log: printable ASCII, all else escaped."""
    shown = "".join(chr(c) if 32 <= c < 127 else "\\x%02x" % c for c in bytearray(data))
    return shown[:_LONGEST_TEXT]


# ---- the connection --------------------------------------------------------------------------

_SHORTEST_DELAY, _LONGEST_DELAY = 0.01, 3600.0
_EMIT_DELAY = 0.05  # a record that is emitted cuts a delay short, down to this
_ERROR_DELAY = 0.1
_WELCOME_SECONDS = 10.0
_CHUNKS = 16  # are sent or received before the other direction has its turn
_NO_SIGNAL = 0x4000 if sys.platform.startswith("linux") else 0  # MSG_NOSIGNAL; Python 2 has no name
_IN_PROGRESS = (errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS))
_TRY_AGAIN = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)


class _BackOff(object):
    """Delays between attempts to connect: a handler's `retryStart`, `retryFactor`, `retryMax`."""

    def __init__(self):
        self.start, self.factor, self.longest = _SHORTEST_DELAY, 2.0, 1.0

    def after(self, delay):
        """The delay that follows this one, or the first after None."""
        delay = self.start if delay is None else max(self.start, self.factor * delay)
        return max(_SHORTEST_DELAY, min(delay, self.longest, _LONGEST_DELAY))


class _Link(object):
    """A connection that is made again for as long as its store holds something.

    `step` does what can be done without waiting, and never raises for what the network does.

    Args:
        address: a Unix path, or (host, port).
        report: told (kind, text, exception or None) when an outage begins.
    """

    def __init__(self, store, guard, address, options, report):
        self.store = store
        self.connections = self.resent = self.batches = self.new_ids = 0
        self.finishing = False  # nothing will be added: say BYE, and end
        self.due = None  # when the next step must be, or None
        self._guard, self._address, self._options = guard, address, options
        self._report, self._complaint = report, None
        self.failures = 0  # connections in a row that were lost without any progress
        self._addresses = []  # that the host name has, not yet tried
        self._socket = self._session = None
        self._is_connected = False
        self._since = 0.0  # when this connection was begun
        self._delay = None  # before the last attempt; None: the last connection was of use
        self._next_try = self._earliest_try = 0.0
        self._seen = 0  # the store's `next` at the last attempt
        self._is_blocked = False  # the socket takes nothing now
        self._is_forgotten = False  # the server was told BYE

    @property
    def is_ready(self):
        return self._session is not None and self._session.is_ready

    @property
    def is_done(self):
        """Whether it was finishing, and has."""
        return self.finishing and self._socket is None and self.store.first == self.store.next

    @property
    def is_hopeful(self):
        """Whether it is connected, or may be at the first attempt."""
        return self._socket is not None or not self._seen

    @property
    def node(self):
        return self._session.node if self.is_ready else None

    @property
    def has_backlog(self):
        """Whether there is something to send that waits for the server."""
        return self._socket is not None and (
            self._is_blocked or self.store.cursor < self.store.next
        )

    def wants_records(self, now):
        """Whether a record that is emitted now would be sent, or tried to be, at once."""
        if self._socket is None:
            return now >= self._earliest_try
        return self.is_ready and not self.has_backlog

    def wait(self, now):
        """Seconds until the next attempt to connect, where no record is emitted meanwhile."""
        return 0.0 if self._socket is not None else max(0.0, self._next_try - now)

    def hurry(self):
        """Try to connect at the next step."""
        self._next_try = self._earliest_try = 0.0

    def polled(self):
        """(descriptor, whether to wait for room to send), or None."""
        if self._socket is None:
            return None
        return self._socket.fileno(), self._is_blocked or not self._is_connected

    def step(self, now, stamp):
        """Connect, receive and send. Sets `due`."""
        self._check_store(now)
        try:
            if self._socket is None:
                self._try_to_connect(now)
            if self._socket is not None and self._has_connected(now):
                self._receive(now)
                self._send(stamp, now)
                self._judge(now)
        except _Refused as error:
            delay = _ERROR_DELAY if error.action == _RETRY else self._options.retry_interval
            self._lose(now, str(error), None, delay)
        except _NewIdNeeded as error:
            self._take_new_id(now, error)
        except _OS_ERRORS as error:
            self._lose(now, "the connection was lost", error, 0.0)
        self._set_due(now)

    # Whoever has the guard next completes what an exception of a signal handler ends here.

    def _recover(self):
        self.store.recover()
        self._guard.unfinished = None

    def _check_store(self, now):
        with self._guard:
            self._guard.unfinished = self._recover
            self.store.check(now)
            self._guard.unfinished = None

    def _renumber(self, claimed=None):
        with self._guard:
            self._guard.unfinished = self._recover
            again = self.store.cursor - self.store.first
            doubtful = self.store.renumber(claimed)
            self._guard.unfinished = None
        return again, doubtful

    def _take_new_id(self, now, error):
        """Go on as another client, which keeps all that was not acknowledged rightly."""
        again, doubtful = self._renumber(error.claimed)
        self.resent += again
        self.new_ids += 1
        text = "%s: a new client id is taken" % error
        if doubtful:
            text += ", and %d records are sent again: some may be stored twice" % doubtful
        if self._complaint != text:
            self._complaint = text
            self._report("identity", text, None)
        self._lose(now, text, None, 0.0 if error.claimed is None else _ERROR_DELAY)

    def close(self):
        if self._socket is not None:
            _close(self._socket)
        self._socket = self._session = None

    # -- the parts of a step --

    def _try_to_connect(self, now):
        if self.store.first == self.store.next or now < self._earliest_try:
            return
        if now < self._next_try and self.store.next == self._seen:
            return
        if self._is_forgotten:  # the server has been told that the id is done
            self._renumber()
            self._is_forgotten = False
        self._seen = self.store.next
        self._since = now
        self._is_connected = self._is_blocked = False
        try:
            if not self._addresses:
                self._addresses = self._resolve()
            family, address = self._addresses.pop(0)
            self._socket = _make_socket(family)
            code = self._socket.connect_ex(address)
            if code and (code not in _IN_PROGRESS or not isinstance(address, tuple)):
                raise socket.error(code, os.strerror(code))
        except _OS_ERRORS + (UnicodeError,) as error:
            self._lose(now, "cannot connect", error, 0.0)

    def _resolve(self):
        if not isinstance(self._address, tuple):
            return [(socket.AF_UNIX, self._address)]
        host, port = self._address
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        return [(entry[0], entry[4]) for entry in found]

    def _has_connected(self, now):
        if self._is_connected:
            return True
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._lose(now, "cannot connect", socket.error(code, os.strerror(code)), 0.0)
            return False
        try:
            self._socket.getpeername()
        except _OS_ERRORS:
            if now - self._since >= self._options.connect_timeout:
                self._lose(now, "no connection within the time for it", None, 0.0)
            return False
        self._is_connected = True
        self._addresses = []
        self.connections += 1
        with self._guard:
            self._session = _Session(self.store, self._options.key, now)
        return True

    def _receive(self, now):
        for _ in range(_CHUNKS):
            try:
                data = self._socket.recv(65536)
            except _OS_ERRORS as error:
                if error.errno in _TRY_AGAIN:
                    return
                raise
            if not data:
                raise socket.error(errno.ECONNRESET, "the server closed it")
            with self._guard:
                self._guard.unfinished = self._recover
                self._session.receive(data, now)
                self._account()
                self._guard.unfinished = None

    def _account(self):
        session = self._session
        self.resent, session.resent = self.resent + session.resent, 0
        self.batches, session.batches = self.batches + session.batches, 0
        if session.has_progressed:
            self._delay = self._complaint = None
            self.failures = 0

    def _send(self, stamp, now):
        self._is_blocked = False
        for _ in range(_CHUNKS):
            with self._guard:
                self._guard.unfinished = self._recover
                self._session.fill(stamp)
                self._account()
                self._guard.unfinished = None
                if self.finishing and self.is_ready and self.store.first == self.store.next:
                    if not self._session.said_bye and self._session.retry_ms is None:
                        self._session.bye()
            data = self._session.to_send()
            if not data:
                return
            try:
                self._session.sent(self._socket.send(data, _NO_SIGNAL))
            except _OS_ERRORS as error:
                if error.errno not in _TRY_AGAIN:
                    self._receive(now)  # the server may have said why
                    raise
                self._is_blocked = True
                return
        self._is_blocked = True  # it may take more, but what came has its turn first

    def _judge(self, now):
        """A server that is silent while it owes us something is dead."""
        session = self._session
        silent = now - session.heard
        if not session.is_ready:
            if now - self._since >= _WELCOME_SECONDS:
                raise _Refused(_RETRY, "no welcome within %d s" % _WELCOME_SECONDS)
        elif self._is_owed() and silent >= 3 * session.keepalive:
            raise _Refused(_RETRY, "nothing heard from the server for %d s" % silent)

    def _is_owed(self):
        session = self._session
        return (
            self.store.first < self.store.next or session.retry_ms is not None or session.said_bye
        )

    def _lose(self, now, text, error, least):
        """The connection is lost: try again, after `least` seconds or more."""
        session = self._session
        self.failures += session is not None
        self.close()
        self._is_forgotten = session is not None and session.said_bye
        if session is not None and session.retry_ms is not None:
            least = max(least, session.retry_ms / 1000.0)
        elif self._is_forgotten:
            pass  # it was to end; something was logged since
        elif self.store.first < self.store.next and self._complaint != text:
            self._complaint = text
            self._report("connection", text, error)
        if self._addresses:
            delay = 0.0  # the host has another address
        elif self._delay is None and session is not None:
            delay = self._delay = 0.0
        else:
            delay = self._delay = self._options.back_off.after(self._delay)
            delay *= 0.5 + _dice.random() / 2
        self._next_try = now + max(delay, least)
        self._earliest_try = now + max(min(delay, _EMIT_DELAY), least)

    def _set_due(self, now):
        self.due = None
        if self._socket is None:
            if self.store.first < self.store.next:
                waits = now < self._earliest_try or self.store.next != self._seen
                self.due = self._earliest_try if waits else self._next_try
        elif not self._is_connected:
            self.due = self._since + self._options.connect_timeout
        elif not self._session.is_ready:
            self.due = self._since + _WELCOME_SECONDS
        elif self._is_owed():
            self.due = self._session.heard + 3 * self._session.keepalive


def _make_socket(family):
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    if fcntl is not None:
        fcntl.fcntl(connection.fileno(), fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    if family != getattr(socket, "AF_UNIX", None):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _probe_peer(connection, 60, 15, 4)
    return connection


def _probe_peer(connection, idle, interval, count):
    """Have the kernel probe a server that is silent; its own default is two hours."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = (
        (("TCP_KEEPIDLE", "TCP_KEEPALIVE"), idle),  # the second is its name on macOS
        (("TCP_KEEPINTVL",), interval),
        (("TCP_KEEPCNT",), count),
    )
    for names, value in options:
        known = [getattr(socket, name) for name in names if hasattr(socket, name)]
        if known:
            try:
                connection.setsockopt(socket.IPPROTO_TCP, known[0], value)
            except _OS_ERRORS:
                pass  # the protocol's own keepalive notices it, too


def _close(connection):
    try:
        connection.close()
    except _OS_ERRORS:
        pass  # a daemon closed all files that it found open


# ---- the sender ------------------------------------------------------------------------------

_NAP = 0.02  # seconds, while records keep coming: they are gathered
_LONGEST_SLEEP = 5.0
_LOOK_SECONDS = 5.0  # between two looks for spools whose process has ended
_ORPHAN_TRIES = 3  # connections for such a spool that come to nothing, until the next is tried
_GRACE = 0.5  # seconds before the deadline at exit, at most, to declare what cannot be sent
_PATIENCE = 1.0  # seconds without an acknowledgement that close() waits in a process that goes on
_START_SECONDS = 1.0  # between two attempts to start a thread; and for one that started, to begin
_LONG_START_SECONDS = 60.0  # for one that does not: until another is started
_TURN_SECONDS, _TURN_RECORDS = 0.05, 1000  # without a thread: emit takes a turn after that much
_HANDLERS = weakref.WeakSet()


_left_by_fork = {}
"""The frames in which threads of the parent were when it forked, by their id(). Python 2 only."""


class _Hold(object):
    """One attempt to take a `_Guard`: the frame that is inside until it ends."""

    __slots__ = ("frame", "heir", "thread")

    def __init__(self, frame):
        self.thread = _thread_id()
        self.frame = frame
        self.heir = {}  # at 0: the hold that took over after this frame had ended

    if _PYTHON_2:

        def is_over(self):
            """Whether the frame has ended.

            After a fork, Python 2 goes on listing threads of the parent, and a new thread may get
            the identifier of one of these, which then hides it. Only the main thread can be kept
            from leaving a block, so what is not known of another counts as running.
            """
            if self.thread == _thread_id():
                frame = sys._getframe()
            else:
                frame = sys._current_frames().get(self.thread)
                if id(frame) in _left_by_fork:
                    return False
            while frame is not None and frame is not self.frame:
                frame = frame.f_back
            return frame is None
    else:

        def is_over(self):
            """Whether the frame has ended: only one that runs cannot be cleared."""
            try:
                self.frame.clear()
            except RuntimeError:
                return False
            return True


class _Guard(object):
    """A lock that knows its owner: the thread, and the frame whose `with` statement took it.

    A signal handler or a finalizer may log at any bytecode of this code. So whoever takes it asks
    `is_mine` first, and never waits for itself. A signal handler may raise there as well, also
    between the last statement of a `with` block and `__exit__`; then the lock counts as free when
    that frame has ended. Hence a frame with such a block must not go on after an exception.

    The owner is in `_owner[0]`. Neither threads nor signal handlers can interrupt
    `dict.setdefault` and `dict.pop`; with the owner in a variable beside a lock they could.
    """

    def __init__(self):
        self._owner = {}
        self.unfinished = None  # completes what an owner was kept from completing; or None

    def is_mine(self):
        """Whether this thread is inside."""
        hold = self._holder()
        return hold is not None and hold.thread == _thread_id() and not hold.is_over()

    def attempt(self, depth=1):
        """Take it for the calling frame if it is free. Returns whether it was."""
        return self._take(_Hold(sys._getframe(depth)))

    def release(self):
        self._owner.pop(0, None)

    def __enter__(self):
        hold = _Hold(sys._getframe(1))
        seconds = 0.0
        while not self._take(hold):
            time.sleep(seconds)
            seconds = min(0.002, 2 * seconds or 0.00005)
        if self.unfinished is not None:
            self.unfinished()

    def __exit__(self, *_):
        self.release()

    def forget_others(self):
        """Free it in the child of a fork, where a thread that was inside does not exist. What the
        fork has interrupted may still be about to take it.
        """
        hold = self._holder()
        if hold is not None and hold.thread != _thread_id():
            self._owner.clear()
        self.unfinished = None

    def _holder(self):
        hold = self._owner.get(0)
        while hold is not None and hold.heir:
            hold = hold.heir[0]
        return hold

    def _take(self, hold):
        first = last = self._owner.setdefault(0, hold)
        while last is not hold:
            if not last.heir and not last.is_over():
                return False
            last = last.heir.setdefault(0, hold)
        return self._owner.get(0) is first  # else it was released meanwhile


class _Waker(object):
    """Ends the sleep of a thread in `_wait`."""

    def __init__(self):
        self._ours = self._theirs = None
        self._make()

    def _make(self):
        if hasattr(socket, "socketpair"):
            self._ours, self._theirs = socket.socketpair()
        else:  # Python 2 on Windows
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            self._theirs = socket.create_connection(listener.getsockname())
            self._ours = listener.accept()[0]
            listener.close()
        for end in (self._ours, self._theirs):
            end.setblocking(False)
            if fcntl is not None:
                fcntl.fcntl(end.fileno(), fcntl.F_SETFD, fcntl.FD_CLOEXEC)

    def fileno(self):
        return self._ours.fileno()

    def set(self):
        try:
            self._theirs.send(b"!")
        except _OS_ERRORS:
            pass  # it is full: set already; or closed: the sleep is bounded

    def clear(self):
        try:
            self._ours.recv(4096)
        except _OS_ERRORS as error:
            if error.errno not in _TRY_AGAIN:
                self.close()
                self._make()

    def close(self):
        _close(self._ours)
        _close(self._theirs)


def _wait(descriptors, seconds):
    """Wait until one of these is ready: (descriptor, whether to wait for room to send too)."""
    try:
        if hasattr(select, "poll"):  # select() takes no descriptor over 1023
            poll = select.poll()
            for descriptor, for_room in descriptors:
                poll.register(descriptor, select.POLLIN | (select.POLLOUT if for_room else 0))
            poll.poll(int(seconds * 1000) + 1)
        else:
            readers = [descriptor for descriptor, _ in descriptors]
            writers = [descriptor for descriptor, for_room in descriptors if for_room]
            select.select(readers, writers, writers, seconds)
    except _OS_ERRORS + (ValueError,):
        pass  # a signal, or a descriptor that was closed: the next step finds out


class _Sender(object):
    """Moves records from the inbox to the store, and from there to the server, turn by turn.

    Whoever has `turns` may use the links: its thread, for as long as that runs. Where no thread can
    be started (the interpreter ends, or is an isolated subinterpreter, or has too many), the
    application's threads take turns in `emit`, `flush` and `close`.
    """

    def __init__(self, handler, store, options, directory):
        self.handler, self.options, self.directory = handler, options, directory
        self.link = _Link(store, handler._guard, options.address, options, handler._report)
        self.waker = _Waker()
        self.turns = _Guard()
        self.pid = _getpid()
        self.has_thread = False
        self.has_ended = False
        self.is_finishing = False  # the handler was closed: end when all is sent
        self.progress_at = _monotonic()  # when the server last acknowledged something
        self.turn_at = 0.0  # when the application's threads may take a turn, if need be
        self._start_at = 0.0  # when to try again to start a thread
        self._is_interrupted = False  # an exception ended the last turn
        self._first = self._seen = 1  # the store's `first` and `next` when this turn began
        self._adopted = None  # a link of its own
        self._look_at = 0.0
        self._passed = ""  # the folder that was looked at last
        self._named = {}  # folders that were left out and reported: whether they are another user's
        self._vanishing = set()  # folders in which something was missing at the last look
        self._deadline = self._give_up_at = None
        self._has_given_up = False

    def start(self):
        """Start the thread, if that is possible now."""
        now = _monotonic()
        if self.has_thread or _process.is_ending or now < self._start_at or _starts_a_thread():
            return
        self._start_at = now + _START_SECONDS
        try:
            thread = threading.Thread(target=self._run, name="fastlog-sender")
            thread.daemon = True
            thread.start()
            self.turn_at, self._start_at = now + _START_SECONDS, now + _LONG_START_SECONDS
        except Exception:
            pass  # not a RuntimeError in Python 2

    def resume(self):
        """Go on after `is_finishing`: there are new records."""
        self.is_finishing = False

    def finish(self):
        """End when all is sent."""
        self.is_finishing = True
        self.waker.set()

    def finish_within(self, seconds):
        """Send all that can be sent in that time; then end."""
        deadline = _monotonic() + seconds
        self._give_up_at = deadline - min(_GRACE, seconds / 4)
        self._deadline = deadline
        self.finish()

    def abandon(self, is_interrupted):
        """Close what a fork has copied; the parent goes on with it.

        Args:
            is_interrupted: the fork has interrupted a change of the store, in this thread.
        """
        self.has_ended = True
        for link in self._links():
            link.close()
            link.store.abandon(is_interrupted)
        self.waker.close()

    def wants_turn(self):
        """Whether a thread of the application that waits should take a turn."""
        is_starting = self._start_at - _monotonic() > _LONG_START_SECONDS - _START_SECONDS
        return not self.has_thread and not is_starting

    def is_getting_on(self, seconds):
        """Whether the server is there, or may be, and has acknowledged something in that time."""
        link = self.link
        is_hopeful = link._socket is not None or link._seen != link.store.next
        return is_hopeful and _monotonic() - self.progress_at < seconds

    def _run(self):
        for _ in range(100):
            if self.turns.attempt():
                break
            time.sleep(0.01)  # a thread of the application has its turn
        else:
            self._start_at = 0.0
            return
        self._is_interrupted = False
        self.has_thread = True
        self.handler._is_asleep = False
        while not self.has_ended:
            try:
                self.turn()
            except Exception as error:
                self.handler._report("internal", "the sender failed, and begins again", error)
                for link in self._links():
                    link.close()
                _wait([], 1.0)
                if self._deadline is not None and _monotonic() >= self._deadline:
                    self._end()

    def turn_here(self, seconds):
        """Take a turn in a thread of the application, with a rest of that length at most.

        Returns:
            Whether it had its turn: another thread may have it.
        """
        if not self.turns.attempt():
            return False
        try:
            if self._is_interrupted:
                for link in self._links():
                    link.close()
                self.handler._recover_store()
            self._is_interrupted = True
            self.turn(seconds)
            self._is_interrupted = False
            self.turn_at = _monotonic() + (_TURN_SECONDS if not seconds else 0.0)
        except Exception:
            if self.handler._sender is self:  # else a fork interrupted it, and this is the child
                raise
        finally:
            self.turns.release()
        return True

    def turn(self, rest=None):
        """Do what there is to do; then wait for more, unless there is.

        Args:
            rest: seconds that it waits at most; by default as long as there is nothing to do.
        """
        handler, now = self.handler, _monotonic()
        stamp = handler._stamp()
        handler._settle()
        seen, self._seen = self._seen, self.link.store.next
        self.link.finishing = self.is_finishing
        if self._deadline is not None and now >= self._give_up_at:
            self._give_up(stamp)
        self.link.step(now, stamp)
        if self.link.store.first != self._first:
            self._first, self.progress_at = self.link.store.first, now
        self._tend_orphans(now, stamp)
        handler._after_turn()
        is_late = self._deadline is not None and now >= self._deadline
        if is_late or (self.is_finishing and self._is_done()):
            self._end()
        if not self.has_ended:
            self._rest(now, self._seen != seen, rest)

    def _rest(self, now, is_busy, longest):
        handler, links = self.handler, self._links()
        until = [link.due for link in links if link.due is not None] + [now + _LONGEST_SLEEP]
        if self.directory is not None and self._adopted is None:
            until.append(self._look_at)
        if self._deadline is not None:
            until.append(self._deadline if now >= self._give_up_at else self._give_up_at)
        can_nap = longest is None and not self.is_finishing
        descriptors = [(self.waker.fileno(), False)]
        if is_busy and can_nap and not any(link.has_backlog for link in links):
            # Records keep coming. To be woken by each of them would cost more than sending it.
            _wait(descriptors, _NAP)
        else:
            descriptors += [link.polled() for link in links if link.polled() is not None]
            seconds = min(until) - now
            if longest is not None:
                seconds = min(seconds, longest)
            elif self.link.wants_records(now):
                handler._is_asleep = True
                if handler._inbox or self.link.store.next != self._seen:
                    seconds = 0.0  # it came before it could know that it must wake us
            elif is_busy or handler._inbox:
                seconds = min(seconds, _NAP)
            _wait(descriptors, max(0.0, seconds))
            handler._is_asleep = not self.has_thread
        self.waker.clear()

    def _links(self):
        return [self.link] if self._adopted is None else [self.link, self._adopted]

    # -- the spools of others --

    def _tend_orphans(self, now, stamp):
        """Send what processes that have ended left in the spool directory, one after the other."""
        if self.directory is None:
            return
        if self._adopted is None and now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            store = self._find_orphan()
            if store is not None:
                self._adopted = _Link(
                    store, _Guard(), self.options.address, self.options, self.handler._report
                )
                self._adopted.finishing = True
        if self._adopted is not None:
            self._tend_adopted(now, stamp)

    def _tend_adopted(self, now, stamp):
        link = self._adopted
        try:
            link.step(now, stamp)
        except Exception as error:  # whatever is in those files: our own records go on
            self._leave_out(link.store.folder, error)
            self._leave(now)
            return
        if link.is_done:
            link.store.close()
            self._adopted = None
            if not os.path.isdir(link.store.folder):  # else it would be found again, and again
                self._look_at = now
        elif link.failures >= _ORPHAN_TRIES:
            self._leave(now)  # the others have their turn; it is tried again after them

    def _leave(self, now):
        self._adopted.close()
        self._adopted.store.abandon()
        self._adopted = None
        self._look_at = now + _LOOK_SECONDS

    def _find_orphan(self):
        folders = _spools_in(self.directory)
        here = set(folders)
        self._named = {folder: why for folder, why in self._named.items() if folder in here}
        self._vanishing &= here
        behind = [folder for folder in folders if folder > self._passed]
        for folder in behind + folders[: len(folders) - len(behind)]:
            if self._named.get(folder):
                continue
            self._passed = folder
            try:
                store = _Spool.adopt(folder)
            except Exception as error:
                if getattr(error, "errno", None) == errno.ENOENT and folder not in self._vanishing:
                    self._vanishing.add(folder)  # it is being removed, or the next look reports it
                else:
                    self._leave_out(folder, error)
                continue
            if store is not None:
                return store
        return None

    def _leave_out(self, folder, error):
        if folder not in self._named:
            self.handler._report("spool", "the spool folder %s is left out" % folder, error)
        self._named[folder] = isinstance(error, _NotOurs)

    # -- the end --

    def _is_done(self):
        waits_for_orphan = self._adopted is not None and self._adopted.is_hopeful
        return self.link.is_done and not waits_for_orphan

    def _give_up(self, stamp):
        """Tell the server what it will not get; what is on disk the next start will send."""
        store = self.link.store
        if self.link.is_ready and not self._has_given_up and not store.persistent:
            self._has_given_up = True
            with self.handler._guard:
                store.give_up(stamp)

    def _end(self):
        """Let go of everything, unless there is something to send that may still be sent."""
        is_late = self._deadline is not None and _monotonic() >= self._deadline
        if not self.handler._let_go(self, is_late):
            return
        for link in self._links():
            link.close()
        if self._adopted is not None:
            self._adopted.store.abandon()
        self.waker.close()
        self.handler._notify()


class _Process(object):
    """What all handlers of this process have in common."""

    def __init__(self):
        self.begin()

    def begin(self):
        self.is_ending = False  # its exit handlers run, or have run
        self.waited = 0.0  # seconds that it has waited for servers since
        self.sending = set()  # handlers that may have something to send; nobody else may know them
        self.worker_hook = None


_process = _Process()


def _end_of_process():
    """Send what is left, of all handlers at the same time."""
    _process.is_ending = True
    handlers = list(_process.sending)
    for handler in handlers:
        handler._check_process()
        handler._finish_soon()
    for handler in handlers:
        handler._finish()


# Exit handlers run in reverse order: this one before logging.shutdown(), which closes only the
# handlers that logging knows. dictConfig() makes it forget those that were there before.
atexit.register(_end_of_process)


def _end_with_worker():
    """Have it called at the end of a child of multiprocessing too: that ends without atexit."""
    process = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    if process and util and type(process.current_process()).__name__ != "_MainProcess":
        hook = _process.worker_hook
        if hook is None or not hook.still_active():
            _process.worker_hook = util.Finalize(None, _end_of_process, exitpriority=-100)


def _starts_a_thread():
    """Whether the lock of threading is taken that a start needs, perhaps by what we interrupt."""
    lock = getattr(threading, "_active_limbo_lock", None)
    return hasattr(lock, "locked") and not hasattr(lock, "_is_owned") and lock.locked()


# ---- the handlers ----------------------------------------------------------------------------

_POLICIES = ("drop_newest", "drop_oldest", "block", "spool")
_REPORT_SECONDS = 60.0
_MOMENT = 0.001  # `retryTime` is never in the past

_NOT_CALLED = ("createSocket", "makeSocket", "send")  # methods of the standard handler

_Options = collections.namedtuple("_Options", "address key connect_timeout retry_interval back_off")


def _back_off_attribute(name):
    def write(handler, seconds):
        setattr(handler._options.back_off, name, float(seconds))

    return property(lambda handler: getattr(handler._options.back_off, name), write)


class SocketHandler(logging.Handler):
    """Sends records to a fastlog-server, and keeps each until it is durable there.

    `emit` never waits for the network, and never raises. Each process that logs through the handler
    sends for itself: after a fork, the child begins with nothing to send, as a client of its own.

    Without a spool, what the server has not acknowledged is lost when the process is killed or ends
    by `os._exit`. With one it is not: `emit` returns when the record is in a file, and what is left
    there is sent by the next process with the same spool directory, or by one that runs. The file
    survives the process, and with `spool_fsync` a loss of power too.

    Args:
        host: of the server; or the path of its Unix socket, with no port.
        port: of the server.
        key: `id:secret`, as the server has it in its configuration.
        max_bytes: bound of what waits in memory, with 64 bytes added for each record.
        when_full: what to do with a record beyond that: `drop_newest`, `drop_oldest` (of those that
            are not on their way), or `block` for up to `block_timeout` seconds, but never in a
            thread with a running asyncio loop. With a spool it has no meaning; it may be `spool`
            then. What is dropped the server is told: how many, why, and from when to when.
        block_timeout: seconds.
        spool: a directory for what waits; all processes of this user may share it. It must be this
            user's, or root's, and should be writable for this user only. POSIX systems only.
        spool_max_bytes: bound of each process's files. Beyond it the newest records are dropped.
        spool_fsync: wait for the disk at each record.
        connect_timeout: seconds.
        close_timeout: seconds that `close` may take, and `flush` unless told otherwise; at the end
            of the program all handlers together.
        retry_interval: seconds until the next attempt when the server rejects the configuration.
        on_error: called with (text, exception or None), from any thread, when something is dropped
            or an outage begins. By default a line goes to stderr, at most one a minute of each
            kind, unless `logging.raiseExceptions` is false.
        wall_clock: seconds since the epoch; dates what is dropped, and nothing else.

    A subclass may override `makePickle`; what it returns is sent. `retryStart`, `retryFactor` and
    `retryMax` (0.01, 2 and 1 second) are the delays between attempts to connect.

    Raises:
        ValueError: an argument makes no sense.
        TypeError: this is a subclass with a method of the standard handler that nothing calls.
        EnvironmentError: the spool directory cannot be made.
    """

    def __init__(
        self,
        host,
        port=None,
        key=None,
        max_bytes=64 * 1024 * 1024,
        when_full="drop_newest",
        block_timeout=1.0,
        spool=None,
        spool_max_bytes=1024 * 1024 * 1024,
        spool_fsync=False,
        connect_timeout=5.0,
        close_timeout=5.0,
        retry_interval=30.0,
        on_error=None,
        wall_clock=time.time,
    ):
        if not isinstance(self, SocketHandler):
            _StandardHandler.__init__(self, host, port)  # of a DatagramHandler: ours replaces its
            return  # base class in logging.handlers
        _check_methods(type(self))
        self.host, self.port = host, port
        self.address = host if port is None else (host, port)
        self.closeOnError = False  # has no meaning here: nothing is closed by an error of `emit`
        self._has_own_pickles = type(self).makePickle != SocketHandler.makePickle
        self.close_timeout = close_timeout
        if when_full not in _POLICIES:
            raise ValueError("when_full must be one of %s" % ", ".join(_POLICIES))
        if when_full == "spool" and spool is None:
            raise ValueError("when_full='spool' needs a directory: spool='/path'")
        self._options = _Options(
            _address(host, port), _parse_key(key), connect_timeout, retry_interval, _BackOff()
        )
        self._max_bytes = max_bytes
        self._policy, self._block_timeout = when_full, block_timeout
        self._spool = None if spool is None else os.path.abspath(spool)  # also after a chdir()
        self._spool_options = (spool_max_bytes, spool_fsync, max_bytes)
        self._on_error, self._wall_clock = on_error, wall_clock
        self._last_error = None
        self._told_at = {}  # monotonic seconds by kind of report
        self._reporting = set()  # threads
        if spool is not None:
            self._make_spool_directory()
        self._begin()
        logging.Handler.__init__(self)  # logging closes it at exit: nothing may be missing then
        _HANDLERS.add(self)
        if spool is not None and _spools_in(self._spool):
            self._open()  # somebody may have left something

    def _begin(self):
        """Begin with nothing, in this process."""
        self._pid = os.getpid()
        self._guard = _Guard()
        self._inbox = collections.deque()  # of records; of gaps too, if `_has_gaps`
        self._has_gaps = False
        self._moving = None  # what is on its way from the inbox to the store: see `_move`
        self._put = self._inbox.append
        self._room = -1  # bytes that the inbox may take; below 0: look closer
        self._is_asleep = True  # there is no sender that would find a record by itself
        self._store = self._sender = None
        self._waiters = collections.deque()  # locked locks, released after a turn
        self._past = _no_totals()  # of the senders that have ended
        self._told_left = [0, 0]  # records that were not sent when the process ended: kept, lost

    def _make_spool_directory(self):
        if fcntl is None:
            raise ValueError("there is no spool on this system: it needs fcntl")
        _make_directory(self._spool)

    # -- a record --

    def handle(self, record):
        """As the base class, without its lock: `emit` needs none, and may have to wait."""
        passed = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return passed

    def emit(self, record):
        """Take a record, to be sent soon. Never raises an Exception."""
        if not _HAS_FORK_HOOKS and self._pid != _getpid():
            self._after_fork()
        try:
            if self._has_own_pickles:
                data = self._own_pickle(record)
            else:
                data = _encode(record, self.formatter)
        except Exception as error:
            self._emit_carefully(self._rescue(record, error))
            return
        room = self._room - len(data) - _OVERHEAD
        if room < 0:
            self._emit_carefully(data)
        else:
            self._room = room  # where threads race, it is wrong until the inbox is emptied
            self._put(data)
            if self._is_asleep:
                self._wake()

    def _rescue(self, record, error):
        try:
            data, odd = _dumps_anyhow(record, self.formatter, _PICKLE_PROTOCOL)
        except Exception:
            return _Gap(_LOST, self._stamp())
        name = getattr(record, "name", None)
        text = "a record of %s was sent with this as text: %s" % (name, ", ".join(odd))
        if not odd:
            text = "a record of %s was sent without makePickle(), which failed" % name
        self._report("text", text, error)
        return data

    def makePickle(self, record):
        """Make the frame of a record: the length of the rest in four bytes, and a pickled dict.

        A subclass may override it, and return a pickle or a JSON object of its own in such a frame.
        It is called with the lock of the handler held.
        """
        data = _encode(record, self.formatter)
        return _LENGTH.pack(len(data)) + data

    def _own_pickle(self, record):
        self.acquire()
        try:
            frame = self.makePickle(record)
        finally:
            self.release()
        head = _LENGTH.size
        if len(frame) <= head or _LENGTH.unpack(frame[:head])[0] != len(frame) - head:
            raise ValueError("makePickle() did not return a length and as many bytes")
        return bytes(frame[head:])

    # -- what programs look for in a handler of sockets --

    retryStart = _back_off_attribute("start")
    retryFactor = _back_off_attribute("factor")
    retryMax = _back_off_attribute("longest")

    @property
    def retryTime(self):
        """When the next attempt to connect is due, in seconds since the epoch. None while there is
        a connection, or nothing to send. Set to None, it is due at once.
        """
        store, sender = self._store, self._sender
        has_records = self._inbox or (store is not None and store.first != store.next)
        if not has_records or (sender is not None and sender.link.is_ready):
            return None
        wait = 0.0 if sender is None else sender.link.wait(_monotonic())
        return time.time() + max(_MOMENT, wait)

    @retryTime.setter
    def retryTime(self, moment):
        sender = self._sender
        if moment is None and sender is not None:
            sender.link.hurry()
            sender.waker.set()

    def _emit_carefully(self, data):
        pid, arrival = self._pid, collections.deque((data, None))
        try:
            self._open()
            if data.__class__ is _Gap or self._store is None or self._store.persistent:
                self._keep(arrival)
                self._settle()
            else:
                self._place(arrival, len(data) + _OVERHEAD)
            if self._is_asleep:
                self._wake()
            self._tell()
        except Exception as error:
            if self._pid == pid:  # else it is the parent's record: this is a child
                self._report("internal", "emit() was interrupted", error)
                self._keep_if_left(arrival)

    def _keep(self, arrival):
        """Move a record to the inbox; either it is in there afterwards or not, whatever happens."""
        self._has_gaps = self._has_gaps or arrival[0].__class__ is _Gap
        _process.sending.add(self)
        self._inbox.extend(iter(arrival.popleft, None))

    def _keep_if_left(self, arrival):
        if not self._guard.is_mine():
            self._complete_once()  # it may be half in the store
        if arrival and arrival[0] is not None:
            self._keep(arrival)

    def _complete_once(self):
        with self._guard:
            pass

    def _place(self, arrival, size):
        """Put a record into the memory, or drop what has to be dropped."""
        give_up_at = None
        while not self._guard.is_mine():
            if give_up_at is None:
                seconds = self._block_timeout if self._may_block() else 0
                give_up_at = _monotonic() + seconds
            is_last = _process.is_ending or _monotonic() >= give_up_at
            if self._found_room(arrival, size, is_last):
                self._settle()  # what came in between
                return
            self._wake()
            self._wait_for(lambda: self._room >= size or _process.is_ending, give_up_at)
        self._keep(arrival)  # this thread is inside already, and will find it

    def _found_room(self, arrival, size, is_last):
        """Put it into the memory, if it has a place there; else drop it, if this is its last try.

        Returns:
            Whether that is done.
        """
        with self._guard:
            store = self._store
            if store is None or store.persistent:  # the sender has ended
                self._keep(arrival)
                return True
            self._empty_inbox()
            excess = store.bytes + size - self._max_bytes
            if excess > 0 and size <= self._max_bytes and self._policy == "drop_oldest":
                self._begin_change()
                store.drop_oldest(excess, self._stamp())
                self._end_change()
                excess = store.bytes + size - self._max_bytes
            if excess > 0 and not is_last:
                return False
            if excess > 0:
                self._has_gaps = True
                arrival[0] = _Gap(_FULL, self._stamp())
            self._move_all(arrival, [arrival[0]])
            self._measure_room()
            return True

    def _may_block(self):
        is_inside = self._is_inside(self._sender)
        return self._policy == "block" and not is_inside and not _in_event_loop()

    def _settle(self):
        """Move what is in the inbox to the store."""
        pid = self._pid
        while self._inbox and self._store is not None and not self._guard.is_mine():
            try:
                self._settle_once()
            except Exception:
                if self._pid == pid:  # else a fork interrupted it, and this is the child
                    raise
                return

    def _settle_once(self):
        with self._guard:
            if self._store is not None:
                self._empty_inbox()
                self._measure_room()

    # The caller of these has the guard. An exception may end it between any two bytecodes; then
    # whoever has the guard next completes the change.

    def _begin_change(self, source=(), records=()):
        change = (self._store, self._store.next, source, records, self._stamp())
        self._moving = change
        self._guard.unfinished = self._complete_change
        return change

    def _end_change(self):
        self._guard.unfinished = self._moving = None

    def _empty_inbox(self):
        if self._inbox:
            self._move_all(self._inbox, list(self._inbox))

    def _move_all(self, source, records):
        """Move these records, which are at the beginning of that queue, to the store."""
        self._move(*self._begin_change(source, records))
        for _ in records:  # afterwards: a record in neither place would be lost
            source.popleft()
        self._end_change()

    def _complete_change(self):
        change = self._moving
        if change is not None:
            store, _, source, records, _ = change
            try:
                store.recover()
            except EnvironmentError as error:
                store.error = error
            self._move(*change)
            done = set(map(id, records))
            while source and id(source[0]) in done:
                source.popleft()
        self._end_change()

    def _move(self, store, number, source, records, stamp):
        """Put these records into the store, but those that have their number there already."""
        if store.next != number:
            records = records[store.next - number :]
        if not self._has_gaps:
            store.extend(records, stamp)
            return
        for record in records:
            if record.__class__ is _Gap:
                store.add_gap(record.reason, stamp)
            else:
                store.extend([record], stamp)

    def _recover_store(self):
        with self._guard:
            if self._store is not None:
                self._store.recover()

    def _measure_room(self):
        store = self._store
        if store is not None and not store.persistent and not _process.is_ending:
            self._room = self._max_bytes - store.bytes

    def _wake(self):
        """Have the sender look at the inbox."""
        sender = self._sender
        if _process.is_ending:
            self._finish()
        elif sender is None:
            if self._open():
                self._settle()
        elif sender.has_thread:
            self._is_asleep = False
            sender.waker.set()
        else:
            self._send_here(sender)

    def _send_here(self, sender):
        """Send in this thread now and then, until there is a thread for it."""
        sender.start()
        if sender.has_thread:
            return
        self._is_asleep = True
        is_due = _monotonic() >= sender.turn_at or len(self._inbox) >= _TURN_RECORDS
        if is_due and not self._is_inside(sender):
            sender.turn_here(0.0)

    def _stamp(self):
        return int(self._wall_clock() * 1e6)

    # -- the sender --

    def _open(self):
        """Have a sender that does not end. Returns whether there is one."""
        sender = self._sender
        if sender is not None and not sender.is_finishing:
            return True
        if self._guard.is_mine():
            return False
        try:
            self._open_sender()
        except EnvironmentError as error:
            self._report("internal", "the records wait: nothing can be sent", error)
        return self._sender is not None

    def _open_sender(self):
        pid = self._pid
        with self._guard:
            sender = self._sender
            if sender is None:
                _process.sending.add(self)
                store = self._open_store()
                sender = _Sender(self, store, self._options, self._spool)
                self._store = store
                self._sender = sender
                if self._pid != pid:  # a fork interrupted this: they are the parent's
                    self._store = self._sender = None
                    return
                self._measure_room()
            elif not _process.is_ending:
                sender.resume()
        sender.start()
        _end_with_worker()

    def _open_store(self):
        if self._spool is not None:
            try:
                return _Spool.create(self._spool, *self._spool_options)
            except EnvironmentError as error:
                self._report("spool", "no spool: the records are kept in memory", error)
        return _Memory()

    def _let_go(self, sender, is_late):
        """Forget a sender that is about to end.

        Returns:
            Whether it may: all is sent, or it is late.
        """
        with self._guard:
            if self._sender is not sender:
                sender.has_ended = True
                return True
            self._empty_inbox()
            store = self._store
            if not is_late and (store.first != store.next or not sender.is_finishing):
                return False
            self._room, self._is_asleep = -1, True
            store.save()
            totals, lost = _totals(store, sender.link), store.count_unsaved()
            totals["dropped"][_REASONS[_LEFT]] += lost
            totals["pending"] -= lost
            totals["pending_bytes"] = 0
            self._past = _sum_totals(self._past, totals)
            self._store = self._sender = None
            _process.sending.discard(self)
            store.close()
            sender.has_ended = True  # close() waits for that: the spool's folder is gone then
        return True

    def _after_turn(self):
        self._settle_room()
        self._tell()
        self._notify()

    def _settle_room(self):
        with self._guard:
            self._measure_room()

    def _notify(self):
        waiters = self._waiters
        while waiters:
            try:
                waiters.popleft().release()
            except (IndexError, RuntimeError, threading.ThreadError):
                pass  # another thread does it; or an exception left it unlocked

    def _wait_for(self, condition, until, patience=None):
        """Wait until it holds, or until that time. Where the sender has no thread, take its turns.

        Args:
            patience: wait only while the server is there, and no longer than so many seconds
                without an acknowledgement.

        Returns:
            Whether it holds.
        """
        while not condition():
            sender, left = self._sender, until - _monotonic()
            if left <= 0 or self._is_inside(sender):
                return False
            if sender is not None:
                if patience is not None and not sender.is_getting_on(patience):
                    return False
                if sender.wants_turn() and sender.turn_here(min(left, _NAP)):
                    continue
            self._pause(min(left, 0.1))
        return True

    def _is_inside(self, sender):
        """Whether this thread has interrupted what it would have to wait for, or is the sender."""
        return self._guard.is_mine() or (sender is not None and sender.turns.is_mine())

    def _pause(self, seconds):
        if _PYTHON_2:
            time.sleep(min(seconds, 0.01))
            return
        waiter = _allocate_lock()
        waiter.acquire()
        self._waiters.append(waiter)
        waiter.acquire(True, seconds)

    # -- for the application --

    def flush(self, timeout=None):
        """Wait until the server has acknowledged all that was emitted.

        Called by `logging.shutdown()` in a process that goes on, as `dictConfig()` does, it waits
        only while the server is there and acknowledges.

        Args:
            timeout: seconds; `close_timeout` unless given, or what is left of it at exit.

        Returns:
            Whether it has.
        """
        self._check_process()
        begin, patience = _monotonic(), None
        seconds = self.close_timeout if timeout is None else timeout
        if timeout is None and _process.is_ending:
            seconds = self._seconds_left()
        elif timeout is None and self._is_shut_down():
            patience = _PATIENCE
        if not self._is_empty():
            if self._sender is None:
                self._open()
            sender = self._sender
            if sender is not None:
                sender.progress_at = max(sender.progress_at, begin)
                sender.waker.set()
            self._wait_for(self._is_empty, begin + seconds, patience)
            if timeout is None and _process.is_ending:
                _process.waited += _monotonic() - begin
        return self._is_empty()

    def _is_shut_down(self):
        """Whether logging.shutdown() calls: it has the lock of the handler, and nobody else has."""
        is_owned = getattr(self.lock, "_is_owned", None)
        return is_owned is not None and is_owned()

    def _is_empty(self):
        if not self._guard.is_mine():
            self._settle()
            return self._is_empty_inside()
        store = self._store
        return not self._inbox and (store is None or store.first == store.next)

    def _is_empty_inside(self):
        with self._guard:
            store = self._store
            return not self._inbox and (store is None or store.first == store.next)

    def close(self):
        """End when all is sent; the next record opens it again.

        It waits only while the server is there and acknowledges, and drops nothing: what is left
        goes on being sent. At the end of the process it waits for up to `close_timeout` seconds.
        What could not be sent then is counted in `stats()` and reported; in a spool it is kept for
        the next process.
        """
        self._check_process()
        sender = self._sender
        if _process.is_ending:
            self._finish()
        elif sender is not None:
            until = _monotonic() + self.close_timeout
            sender.progress_at = max(sender.progress_at, _monotonic())
            sender.finish()
            self._settle()
            # A record that comes now opens it again: then there is nothing to wait for.
            self._wait_for(
                lambda: not sender.is_finishing or self._has_ended(sender), until, _PATIENCE
            )
        logging.Handler.close(self)

    @staticmethod
    def _has_ended(sender):
        """Whether that is over, or only the parent of this process has it: it may have been ending
        when a fork interrupted the call that waits for it.
        """
        return sender.has_ended or sender.pid != _getpid()

    # -- the end of the process --

    def _seconds_left(self):
        return max(0.0, self.close_timeout - _process.waited)

    def _finish_soon(self):
        """Have the sender end within the time that is left."""
        if self._inbox:
            self._open()
        if self._sender is not None:
            self._sender.finish_within(self._seconds_left())

    def _finish(self):
        """Send what is left within the time for it; report what could not be sent."""
        begin, seconds = _monotonic(), self._seconds_left()
        self._finish_soon()
        sender = self._sender
        if self._is_inside(sender):
            return
        if sender is not None:
            self._wait_for(lambda: self._has_ended(sender), begin + seconds + _GRACE)
            if _process.is_ending:
                _process.waited += _monotonic() - begin
        fates = ("stay in the spool for the next start", "are lost")
        for at, (count, fate) in enumerate(zip(self._count_left(), fates)):
            if count > self._told_left[at]:
                count, self._told_left[at] = count - self._told_left[at], count
                text = "%d records were left at exit: they %s" % (count, fate)
                self._report("left, %s" % fate, text, None)

    def _count_left(self):
        """Records that were not sent: those that are kept, and those that are lost."""
        kept, lost = self._past["pending"], self._past["dropped"][_REASONS[_LEFT]]
        store = self._store
        if store is not None:  # the sender waits for the name of the host, or this is its thread
            unsaved = store.count_unsaved()
            kept += store.pending - unsaved
            lost += unsaved + store.dropped[_LEFT]
        return kept, lost + len(self._inbox)

    def stats(self):
        """What became of the records that this process emitted.

        Returns:
            A dict: `emitted`, `acked`; `pending`: not acknowledged, with `pending_bytes` in memory;
            `dropped`: a dict of counts by reason; `gaps`: spans of dropped records; `sent_batches`,
            `resent_records`, `reconnects`, `new_ids`: how often another client id had to be taken;
            `connected`, `server` (the id of the node, in hex), `last_error`, `spool_bytes`, and
            `left`: what was not sent when the process ended.
        """
        self._check_process()
        stats = self._add_up() if self._guard.is_mine() else self._add_up_inside()
        self._settle()  # what came in between
        return stats

    def _add_up_inside(self):
        with self._guard:
            return self._add_up()

    def _add_up(self):
        sender, stats, waiting = self._sender, self._past, list(self._inbox)
        node = None
        if sender is not None:
            stats = _sum_totals(stats, _totals(sender.link.store, sender.link))
            node = sender.link.node
        else:
            stats = _sum_totals(stats, _no_totals())
        stats["emitted"] += len(waiting)
        stats["pending"] += len(waiting)
        stats["pending_bytes"] += sum(map(len, waiting)) + len(waiting) * _OVERHEAD
        stats["reconnects"] = max(0, stats.pop("connections") - 1)
        stats["connected"] = sender is not None and sender.link.is_ready
        stats["server"] = binascii.hexlify(node).decode("ascii") if node else None
        stats["last_error"] = self._last_error
        stats["left"] = self._past["pending"] + self._past["dropped"][_REASONS[_LEFT]]
        return stats

    # -- reports --

    def _tell(self):
        """Report drops that began, outside of the guard: the hook may do anything."""
        store = self._store
        while store is not None and store.news:
            try:
                text, error = store.news.popleft()
            except IndexError:
                break  # another thread does it
            self._report("spool", text, error)
        while store is not None and store.fresh_gaps:
            try:
                reason = store.fresh_gaps.popleft()
            except IndexError:
                return  # another thread does it
            error = store.error if reason == _SPOOL_FULL else None
            self._report("drop %d" % reason, "records are dropped: %s" % _REASONS[reason], error)

    def _report(self, kind, text, error):
        me = _thread_id()
        if me in self._reporting:
            return  # the hook logs something that must be reported
        try:
            self._reporting.add(me)
            address = self.host if self.port is None else "%s:%s" % (self.host, self.port)
            text = "%s: %s" % (address, text)
            self._last_error = text if error is None else "%s (%r)" % (text, error)
            if self._on_error is not None:
                self._on_error(text, error)
            else:
                self._print(kind)
        except Exception:
            pass  # there is nobody left to tell
        finally:
            self._reporting.discard(me)

    def _print(self, kind):
        now = _monotonic()
        told_at = self._told_at.get(kind)
        if logging.raiseExceptions and (told_at is None or now - told_at >= _REPORT_SECONDS):
            self._told_at[kind] = now
            sys.stderr.write("fastlog_client: %s\n" % self._last_error)

    # -- forks --

    def _check_process(self):
        if self._pid != os.getpid():
            self._after_fork()

    def _after_fork(self):
        """This is a child: what the parent has is the parent's."""
        if _PYTHON_2:
            here = _thread_id()
            frames = sys._current_frames().items()
            _left_by_fork.update((id(frame), frame) for thread, frame in frames if thread != here)
        sender, guard = self._sender, self._guard
        is_interrupted = guard.is_mine()
        _process.sending.discard(self)
        self._reporting = set()
        self._begin()
        guard.forget_others()
        if sender is not None:
            sender.abandon(is_interrupted)


def _after_fork_in_child():
    is_ending = _process.is_ending
    _process.begin()
    _process.is_ending = is_ending
    for handler in list(_HANDLERS):
        handler._after_fork()


if _HAS_FORK_HOOKS:
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _no_totals():
    names = ("emitted", "acked", "pending", "pending_bytes", "spool_bytes", "gaps")
    totals = dict.fromkeys(names + ("sent_batches", "resent_records", "connections", "new_ids"), 0)
    totals["dropped"] = dict.fromkeys(_REASONS.values(), 0)
    return totals


def _totals(store, link):
    totals = _no_totals()
    pending = store.pending
    totals["dropped"] = {_REASONS[reason]: n for reason, n in store.dropped.items()}
    totals["emitted"] = store.next - 1
    totals["pending"] = pending
    totals["acked"] = store.next - 1 - pending - sum(store.dropped.values())
    totals["spool_bytes" if store.outlives_process else "pending_bytes"] = store.bytes
    totals["gaps"] = store.gaps
    totals["sent_batches"] = link.batches
    totals["resent_records"] = link.resent
    totals["connections"] = link.connections
    totals["new_ids"] = link.new_ids
    return totals


def _sum_totals(some, others):
    total = {name: some[name] + others[name] for name in some if name != "dropped"}
    dropped, more = some["dropped"], others["dropped"]
    total["dropped"] = {reason: dropped[reason] + more[reason] for reason in dropped}
    return total


def _check_methods(handler):
    """Reject a subclass whose connections, or bytes, would silently be others than it makes."""
    for name in _NOT_CALLED:
        if hasattr(handler, name):
            raise TypeError(
                "%s.%s() would never be called: derive from ReconnectingSocketHandler"
                % (handler.__name__, name)
            )


def _address(host, port):
    if port is None:
        if not host:
            raise ValueError("host must be a name or a path")
        if not hasattr(socket, "AF_UNIX"):
            raise ValueError("there are no Unix sockets on this system: port must be given")
        return host
    if "/" in host:
        raise ValueError("a Unix path takes no port: %s" % host)
    # As bytes already: else the sender would import a codec for it. That stalls while Python 2
    # imports something else, and a fork at this moment would leave the child without the codec.
    return (host.encode("idna"), int(port))


def _parse_key(key):
    if key is None:
        return None
    name, colon, secret = key.partition(":")
    if not (name and colon and secret):
        raise ValueError("key must be id:secret")
    return tuple(
        part if isinstance(part, bytes) else part.encode("utf-8") for part in (name, secret)
    )


def _in_event_loop():
    """Whether asyncio runs in this thread."""
    asyncio = sys.modules.get("asyncio.events")
    return asyncio is not None and asyncio._get_running_loop() is not None


_StandardHandler = logging.handlers.SocketHandler  # a program may put ours in its place
_TRIES = 3
_ESTABLISHED = 1  # TCP_ESTABLISHED of Linux


class ReconnectingSocketHandler(_StandardHandler):
    """The standard handler for receivers that speak only its protocol, without its back-off.

    Before each record it looks whether the receiver is still there, and connects again if not; each
    record gets three tries. What fails then reaches `handleError`. As with the standard handler,
    what the kernel has taken may still be lost.

    Args:
        host: of the receiver; or the path of its Unix socket, with no port.
        port: of the receiver.
        timeout: seconds that one attempt to connect or to send may block.
    """

    def __init__(self, host, port=None, timeout=1.0):
        self._is_away = False
        _StandardHandler.__init__(self, host, port)
        self.timeout = timeout

    @property
    def retryTime(self):
        """When the next attempt to connect may be: at once, since there is no back-off. None while
        the last one was of use.
        """
        return time.time() + _MOMENT if self._is_away else None

    @retryTime.setter
    def retryTime(self, moment):
        self._is_away = moment is not None

    def makePickle(self, record):
        """As the standard one, but the record is left as it is for the handlers that follow, and
        what cannot be pickled becomes text.
        """
        data, _ = _dumps_anyhow(record, self.formatter, _STOCK_PROTOCOL)
        return _LENGTH.pack(len(data)) + data

    def makeSocket(self, timeout=None):
        timeout = self.timeout if timeout is None else timeout
        if self.port is not None:
            connection = socket.create_connection((self.host, self.port), timeout)
            _probe_peer(connection, 30, 10, 3)
            return connection
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(self.host)
        except _OS_ERRORS:
            connection.close()
            raise
        return connection

    def createSocket(self):
        """Connect, without the back-off of the standard handler.

        Raises:
            EnvironmentError: there is no connection.
        """
        self._is_away = True
        self.sock = self.makeSocket()
        self._is_away = False

    def send(self, s):
        """Send the bytes of a record.

        Raises:
            EnvironmentError: the last of the three tries failed with this.
        """
        for left in reversed(range(_TRIES)):
            try:
                if self.sock is not None and not _is_alive(self.sock):
                    self._drop()
                if self.sock is None:
                    self.createSocket()
                self.sock.sendall(s)
                return
            except _OS_ERRORS:
                self._drop()
                if not left:
                    raise

    def _drop(self):
        connection, self.sock = self.sock, None
        if connection is not None:
            _close(connection)


def _is_alive(connection):
    """Whether the peer has neither ended the connection nor lost it, as far as the kernel knows."""
    if connection.family != getattr(socket, "AF_UNIX", None) and hasattr(socket, "TCP_INFO"):
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        if bytearray(state)[0] != _ESTABLISHED:
            return False
    timeout = connection.gettimeout()
    connection.setblocking(False)  # else it would wait for something to arrive
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except _OS_ERRORS as error:
        return error.errno in _TRY_AGAIN
    finally:
        connection.settimeout(timeout)
