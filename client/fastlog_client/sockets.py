# -*- coding: utf-8 -*-
"""Make, probe, close and poll sockets."""

from __future__ import absolute_import, division, print_function

import errno
import select
import socket
import sys

from fastlog_client.compat import OS_ERRORS, fcntl

SHORTEST_WAIT = 0.001  # seconds until the next attempt: `retryTime` is never in the past
NO_SIGNAL = 0x4000 if sys.platform.startswith("linux") else 0  # MSG_NOSIGNAL; Python 2 has no name
IN_PROGRESS = (errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS))
TRY_AGAIN = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)


def make_socket(family):
    """Make a non-blocking socket that a program which is started does not inherit."""
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    if fcntl is not None:
        fcntl.fcntl(connection.fileno(), fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    if family != getattr(socket, "AF_UNIX", None):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        enable_keepalive(connection, 60, 15, 4)
    return connection


def enable_keepalive(connection, idle, interval, count):
    """Make the kernel probe a silent server, earlier than its default of two hours.

    Args:
        idle: seconds until the first probe.
        interval: seconds between two probes.
        count: probes without an answer until the connection is closed.
    """
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
            except OS_ERRORS:
                pass  # the keepalive of the fastlog protocol finds a dead server too


def close_socket(connection):
    """Close a socket, even if its descriptor was closed already."""
    try:
        connection.close()
    except OS_ERRORS:
        pass  # the program closed all descriptors, as daemons do


def wait_for_descriptors(descriptors, seconds):
    """Wait until a descriptor is ready.

    Args:
        descriptors: pairs of a descriptor, and whether to wait for room to send too.
        seconds: to wait at most.
    """
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
    except OS_ERRORS + (ValueError,):
        pass  # a signal, or a descriptor that was closed: the next step finds out
