# -*- coding: utf-8 -*-
"""Send the records of Python's logging to a fastlog-server, and lose none that can be kept.

    handler = fastlog_client.SocketHandler("127.0.0.1", 9020)
    logging.getLogger().addHandler(handler)

No dependencies, for CPython 2.7 and 3.6 or newer.

Theory of operation. `SocketHandler.emit` pickles a record (`record`) and appends it to the *inbox*,
a deque of the handler's `outbox`; it takes no lock and makes no system call. A daemon thread, the
`sender`, moves the records to a *store*, which numbers them: `memory`, or `spool` on disk. A
`connection` is a socket that is opened again for as long as its store holds something; a `session`
is the fastlog protocol over one connection, without I/O. A record is removed from the store when
the server has acknowledged it: it is durable there. A record that had to be dropped stays in the
store as part of a `gap`, so that the server learns of it.

One `guard` protects what several threads use: the store, and moving the inbox there. With a spool,
`emit` moves its record itself, so that it is in a file when `emit` returns.

Signal handlers and finalizers interrupt any code, and may log. Where they interrupt the thread that
holds the guard, they leave their records in the inbox, and that thread moves them before it
continues. A signal handler may also raise: the next thread that takes the guard completes the
interrupted change (`Outbox._complete_change`).

`close` stops the sender when all is sent; `emit` resumes it, or starts another. Only the end of the
process is the end of a handler (`process.end_of_process`).

Each module imports only modules above it in this list:

    compat        what differs between interpreters and systems
    arguments     checks of single arguments
    record        a LogRecord as bytes
    gap           dropped records, and the reasons
    errors        exceptions that the sender handles
    store         sequence numbers; changes that an exception may interrupt
    memory        the store in memory
    files         files and directories that belong to this user alone
    entry         the entries of a spool's files
    directory     the spool directory, and the folders of spools in it
    spool_files   the files of a spool, in a folder that other programs may remove
    spool         the store in files
    session       the fastlog protocol, without I/O
    sockets       making, probing, closing and polling sockets
    tls           TLS over such a socket
    wakeup        a socket pair that wakes the sender
    guard         the lock
    connection    the socket, opened again after each loss
    orphans       spools of processes that have ended
    process       exit and fork hooks
    sender        the thread
    totals        counts for `stats()`
    outbox        inbox, store and sender of a handler
    options       the arguments of a handler
    reports       errors and drops, reported to the application
    handler       SocketHandler
    reconnecting  ReconnectingSocketHandler
"""

from __future__ import absolute_import, division, print_function

from fastlog_client.handler import SocketHandler
from fastlog_client.reconnecting import ReconnectingSocketHandler

__version__ = "0.1.0"
__all__ = ["ReconnectingSocketHandler", "SocketHandler"]
