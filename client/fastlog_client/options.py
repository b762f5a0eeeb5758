# -*- coding: utf-8 -*-
"""The arguments of a handler, checked."""

from __future__ import absolute_import, division, print_function

import os
import socket

from fastlog_client.connection import BackOff

_POLICIES = ("drop_newest", "drop_oldest", "block", "spool")
_NOT_CALLED = ("createSocket", "makeSocket", "send")  # methods of the standard handler


class Options(object):
    """The arguments of `SocketHandler`, which describes them.

    Raises:
        ValueError: an argument makes no sense.
    """

    def __init__(self, host, port, key, when_full, spool, **others):
        if when_full not in _POLICIES:
            raise ValueError("when_full must be one of %s" % ", ".join(_POLICIES))
        if when_full == "spool" and spool is None:
            raise ValueError("when_full='spool' needs a directory: spool='/path'")
        self.address, self.key = _parse_address(host, port), _parse_key(key)
        self.when_full = when_full
        self.spool = None if spool is None else os.path.abspath(spool)  # also after a chdir()
        self.max_bytes = others["max_bytes"]
        self.block_timeout = others["block_timeout"]
        self.spool_max_bytes = others["spool_max_bytes"]
        self.spool_fsync = others["spool_fsync"]
        self.connect_timeout = others["connect_timeout"]
        self.close_timeout = others["close_timeout"]
        self.retry_interval = others["retry_interval"]
        self.wall_clock = others["wall_clock"]
        self.back_off = BackOff()


def check_methods(handler):
    """Reject a subclass with a method of the standard handler that is never called.

    Its connections, or its bytes, would silently be others than those it makes.

    Raises:
        TypeError: it has one.
    """
    for name in _NOT_CALLED:
        if hasattr(handler, name):
            raise TypeError(
                "%s.%s() would never be called: derive from ReconnectingSocketHandler"
                % (handler.__name__, name)
            )


def _parse_address(host, port):
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
