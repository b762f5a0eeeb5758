# -*- coding: utf-8 -*-
"""TLS for the connection to the server, by the `ssl` of the standard library.

Python 2 has all that is needed since 2.7.9. The module `ssl` is imported only if TLS is used.
"""

from __future__ import absolute_import, division, print_function

import errno
import os
import socket

from fastlog_client.compat import OS_ERRORS, TEXT_TYPES
from fastlog_client.errors import ConnectionRejected
from fastlog_client.session import FIX_CONFIG

_FILES = ("cafile", "certfile", "keyfile")
_KEYS = _FILES + ("server_hostname", "ciphers")
_CHUNK = 16384  # bytes of one write: one record of TLS
_BROKEN = ("eof", "broken pipe", "reset by peer")  # in errors that are of the network


class Tls(object):
    """The `ssl` argument of a handler.

    Args:
        given: True, a dictionary with some of `_KEYS`, or an `SSLContext`.
        host: of the server.

    Raises:
        ValueError: it makes no sense.
        EnvironmentError: a file cannot be read, or is wrong.
    """

    def __init__(self, given, host):
        import ssl

        self._ssl = ssl
        if not hasattr(ssl, "create_default_context"):
            raise ValueError("ssl needs Python 2.7.9 or newer")
        self._options = _parse(given, ssl)
        self._hostname = self._options.get("server_hostname") or host
        self._context = given if isinstance(given, ssl.SSLContext) else None
        self._is_made_here = self._context is None
        self._seen = None  # the state of the files that `_context` was made of
        if self._is_made_here:
            self._seen = self._look()
            self._context = self._make()

    def wrap(self, connection):
        """Return a `TlsSocket` over a connected socket, which it owns then."""
        self._refresh()
        wrapped = self._context.wrap_socket(
            connection, do_handshake_on_connect=False, server_hostname=self._hostname
        )
        return TlsSocket(wrapped, self._ssl)

    def _make(self):
        ssl, options = self._ssl, self._options
        context = ssl.create_default_context(cafile=options.get("cafile"))
        if hasattr(ssl, "TLSVersion"):
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        else:
            context.options |= ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1
        if "certfile" in options:
            context.load_cert_chain(options["certfile"], options.get("keyfile"), _refuse_password)
        if "ciphers" in options:
            context.set_ciphers(options["ciphers"])
        return context

    def _look(self):
        states = [os.stat(self._options[name]) for name in _FILES if name in self._options]
        return [(state.st_mtime, state.st_ino, state.st_size) for state in states]

    def _refresh(self):
        """Read certificates again that were replaced. Wrong ones leave the old ones in use."""
        if not self._is_made_here:
            return
        try:
            seen = self._look()
            if seen != self._seen:
                self._context = self._make()
                self._seen = seen
        except OS_ERRORS + (ValueError,):
            pass  # they are being replaced, or cannot be read any more


class TlsSocket(object):
    """A connected, non-blocking socket with TLS, used like a plain one.

    Where it would block, it raises an error with EAGAIN.
    """

    def __init__(self, wrapped, ssl):
        self._socket, self._ssl = wrapped, ssl
        self._unfinished = b""  # a write has to be repeated with the same bytes
        self.wants_room = False  # whether the handshake waits until it can send

    def fileno(self):
        """Return the descriptor."""
        return self._socket.fileno()

    def close(self):
        """Close the socket without a word to the peer: the process may be the child of a fork."""
        self._socket.close()

    def step_handshake(self):
        """Go on with the handshake; return whether it is done.

        Raises:
            ConnectionRejected: the two cannot agree, or one does not trust the other.
            EnvironmentError: the connection broke.
        """
        ssl = self._ssl
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            self.wants_room = False
            return False
        except ssl.SSLWantWriteError:
            self.wants_room = True
            return False
        except ssl.SSLError as error:
            raise self._translate(error)
        except ValueError as error:  # the name does not match, in old versions
            raise ConnectionRejected(FIX_CONFIG, "TLS: %s" % error)
        self.wants_room = False
        return True

    def recv(self, size):
        """Receive up to `size` bytes; none at the end."""
        ssl = self._ssl
        try:
            return self._socket.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise socket.error(errno.EAGAIN, os.strerror(errno.EAGAIN))
        except ssl.SSLError as error:
            raise self._translate(error)

    def send(self, data, _flags=0):
        """Send some of these bytes, and return how many."""
        ssl = self._ssl
        chunk = self._unfinished or bytes(data[:_CHUNK])
        sent = 0
        try:
            sent = self._socket.send(chunk)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except ssl.SSLError as error:
            raise self._translate(error)
        if not sent:
            self._unfinished = chunk
            raise socket.error(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self._unfinished = b""
        return sent

    def _translate(self, error):
        """Return the exception for an error of TLS: most are of the configuration."""
        ssl, text = self._ssl, str(error)
        broken = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
        # Old interpreters with a new OpenSSL have other classes for the end of the connection.
        if isinstance(error, broken) or any(words in text.lower() for words in _BROKEN):
            return socket.error(errno.ECONNRESET, text)
        return ConnectionRejected(FIX_CONFIG, "TLS: %s" % text)


def _parse(given, ssl):
    """Return the options of a dictionary; none for anything else that is valid."""
    if given is True or isinstance(given, ssl.SSLContext):
        return {}
    if not isinstance(given, dict):
        raise ValueError("ssl must be True, a dictionary or an SSLContext, got %r" % (given,))
    for name, value in given.items():
        if name not in _KEYS:
            keys = ", ".join(_KEYS)
            raise ValueError("ssl has no key %r; it may have %s" % (name, keys))
        if not isinstance(value, TEXT_TYPES) or not value:
            raise ValueError("ssl[%r] must be text, got %r" % (name, value))
    if "keyfile" in given and "certfile" not in given:
        raise ValueError("ssl['keyfile'] needs a certfile")
    # absolute: they stay the same after a chdir()
    return {
        name: os.path.abspath(value) if name in _FILES else value for name, value in given.items()
    }


def _refuse_password():
    """Called for an encrypted key, where OpenSSL would ask for the password on the terminal."""
    raise ValueError("the key is encrypted: store it without a password, in a file of mode 0600")
