# -*- coding: utf-8 -*-
"""Checks of single arguments: each error names the argument, and says what to write instead."""

from __future__ import absolute_import, division, print_function

import numbers
import operator
import re
import socket

from fastlog_client.compat import TEXT_TYPES

_LONGEST_PATH = 107  # bytes of a Unix socket's path on Linux
_PORT = 9020  # of fastlog-server, for examples
_WITH_PORT = re.compile(r"(\[[^\]]+\]|[^:/]+):(\d+)/?\Z")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")


def parse_address(host, port):
    """Return a host, encoded, and a port; or the path of a Unix socket.

    Raises:
        ValueError: they make no sense.
    """
    if not isinstance(host, TEXT_TYPES) or (port is not None and host.split() != [host]):
        raise ValueError("host must be a name, an address or a path, got %r" % (host,))
    if _URL.match(host):
        raise ValueError("host must be no URL, got %r%s" % (host, _instead(host)))
    if port is None:
        return _parse_path(host)
    if "/" in host:
        raise ValueError("a Unix path takes no port: %s" % host)
    number = parse_port(port)
    if _WITH_PORT.match(host) or host.startswith("["):
        name = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.split(":")[0]
        raise ValueError("host must be %r, without port or brackets, got %r" % (str(name), host))
    # As bytes already: else the sender would import a codec for it. That stalls while Python 2
    # imports something else, and a fork at this moment would leave the child without the codec.
    encoded = None
    try:
        encoded = host.encode("idna")
    except UnicodeError:
        pass  # raised below: here, Python 3 would print two errors
    if encoded is None:
        raise ValueError("host must be a name or an address, got %r" % (host,))
    return (encoded, number)


def parse_port(port):
    """Return a port, which may also be its digits, as in a variable of the environment.

    Raises:
        ValueError: it is none.
    """
    number = None
    if isinstance(port, TEXT_TYPES):
        if re.match(r"[0-9]{1,5}\Z", port):
            number = int(port)
    elif not isinstance(port, bool):
        try:
            number = operator.index(port)
        except TypeError:
            pass
    if number is None or not 1 <= number <= 65535:
        raise ValueError("port must be a number from 1 to 65535, got %r" % (port,))
    return number


def check_number(name, value, least):
    """Check a size or a time.

    Raises:
        ValueError: it is no number, or under the least one.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not value >= least:  # NaN is not
        raise ValueError("%s must be a number, at least %s, got %r" % (name, least, value))


def check_flag(name, value):
    """Return True or False; text such as "false" would otherwise be True.

    Raises:
        ValueError: it is neither.
    """
    if value not in (True, False):
        raise ValueError("%s must be True or False, got %r" % (name, value))
    return bool(value)


def check_callable(name, value):
    """Check a function.

    Raises:
        ValueError: it cannot be called.
    """
    if not callable(value):
        raise ValueError("%s must be a function, got %r" % (name, value))


def parse_key(key):
    """Return key id and secret as bytes; None for None. No error contains the secret.

    Raises:
        ValueError: it is no key.
    """
    if key is None:
        return None
    name, colon, secret = key.partition(":") if isinstance(key, TEXT_TYPES) else ("", "", "")
    if not (name and colon and secret):
        raise ValueError("key must be id:secret")
    return tuple(
        part if isinstance(part, bytes) else part.encode("utf-8") for part in (name, secret)
    )


def _parse_path(path):
    if not path.strip():
        raise ValueError("host must be a name, an address or a path, got %r" % (path,))
    is_abstract = path.startswith("\0")  # a name without a file, on Linux
    if "/" not in path and not is_abstract:
        raise ValueError(
            "port is missing for host %r%s (a host without a port is the path of a Unix socket, "
            "such as '/run/fastlog.sock')" % (path, _instead(path))
        )
    if not hasattr(socket, "AF_UNIX"):
        raise ValueError("there are no Unix sockets on this system: port must be given")
    length = len(path if isinstance(path, bytes) else path.encode("utf-8", "replace"))
    if length > _LONGEST_PATH:
        raise ValueError("a Unix path has at most %d bytes: %s" % (_LONGEST_PATH, path))
    if "\0" in path and not is_abstract:
        raise ValueError("host must be a name, an address or a path, got %r" % (path,))
    return path


def _instead(host):
    """Return what to write instead of a host that has a scheme, or has or lacks a port."""
    url = _URL.match(host)
    rest = host.partition(":")[2].lstrip("/") if url else host
    if url and url.group(1).lower().startswith("uni"):
        return ": write (%r)" % str("/" + rest)
    found = _WITH_PORT.match(rest)
    more = ", ssl=True" if url and url.group(1).lower() == "tls" else ""
    if found:
        return ": write (%r, %s%s)" % (str(found.group(1).strip("[]")), found.group(2), more)
    return ": write (%r, %d%s)" % (str(rest.rstrip("/")), _PORT, more)
