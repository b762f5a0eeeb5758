# -*- coding: utf-8 -*-
"""The arguments of a handler, checked."""

from __future__ import absolute_import, division, print_function

import os

from fastlog_client.arguments import (
    check_callable,
    check_flag,
    check_number,
    parse_address,
    parse_key,
)
from fastlog_client.connection import BackOff
from fastlog_client.tls import Tls

_POLICIES = ("drop_newest", "drop_oldest", "block", "spool")
_NUMBERS = (  # and their least values
    ("max_bytes", 1),
    ("block_timeout", 0),
    ("spool_max_bytes", 1),
    ("connect_timeout", 0.001),
    ("close_timeout", 0),
    ("retry_interval", 0),
)
_NOT_CALLED = ("createSocket", "makeSocket", "send")  # methods of the standard handler


class Options(object):
    """The arguments of `SocketHandler`, which describes them.

    Raises:
        ValueError: an argument makes no sense.
    """

    def __init__(self, host, port, key, when_full, spool, **others):
        self.address, self.key = parse_address(host, port), parse_key(key)
        if when_full not in _POLICIES:
            policies = ", ".join(_POLICIES)
            raise ValueError("when_full must be one of %s, got %r" % (policies, when_full))
        if when_full == "spool" and spool is None:
            raise ValueError("when_full='spool' needs a directory: spool='/path'")
        for name, least in _NUMBERS:
            check_number(name, others[name], least)
        check_callable("wall_clock", others["wall_clock"])
        if others["on_error"] is not None:
            check_callable("on_error", others["on_error"])
        self.tls = _parse_tls(others["ssl"], host, port)
        self.when_full = when_full
        self.spool = _parse_spool(spool)
        self.max_bytes = others["max_bytes"]
        self.block_timeout = others["block_timeout"]
        self.spool_max_bytes = others["spool_max_bytes"]
        self.spool_fsync = check_flag("spool_fsync", others["spool_fsync"])
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


def _parse_tls(given, host, port):
    if given is None or given is False:
        return None
    if port is None:
        raise ValueError("ssl is for a host and a port, not for a Unix socket")
    return Tls(given, host)


def _parse_spool(spool):
    if spool is None:
        return None
    path = None
    if spool and not isinstance(spool, (bool, int)):  # numbers are descriptors to some functions
        try:
            path = os.path.abspath(spool)  # absolute: it stays the same after a chdir()
        except (TypeError, AttributeError):
            pass  # raised below: here, Python 3 would print two errors
    if path is None:
        raise ValueError("spool must be the path of a directory, got %r" % (spool,))
    return path
