"""The `tls://` listeners of one TLS process: accepts connections for them."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fastlog.certificates import server_context
from fastlog.config import ListenConfig

PROBES = 4
"""Unanswered probes after which the kernel closes a connection, as for other listeners."""
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NOTHING = (errno.EAGAIN, errno.EWOULDBLOCK)


class FullError(Exception):
    """No descriptor is left. One connection was closed for that; `peer` has its name."""

    def __init__(self, peer: str) -> None:
        self.peer = peer


@dataclass(frozen=True)
class Listener:
    """A listening socket with its settings."""

    socket: socket.socket
    config: ListenConfig
    context: ssl.SSLContext


def make(fds: Sequence[tuple[int, ListenConfig]]) -> list[Listener]:
    """Return the listeners of these descriptors, and own these.

    Raises:
        ConfigError: A certificate cannot be used.
    """
    listeners = []
    for fd, listen in fds:
        files = listen.certificate, listen.key, listen.client_ca, listen.crl
        context = server_context(*files)
        listener = socket.socket(fileno=fd)
        listener.setblocking(False)
        listeners.append(Listener(listener, listen, context))
    return listeners


class Acceptor:
    """Accepts connections, also while no descriptor is left.

    Args:
        tcp_keepalive: `limits.tcp_keepalive`.
    """

    def __init__(self, tcp_keepalive: float) -> None:
        self._options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        if tcp_keepalive:
            self._options += [
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, round(tcp_keepalive))),
                (
                    socket.IPPROTO_TCP,
                    socket.TCP_KEEPINTVL,
                    max(1, round(tcp_keepalive / 2 / PROBES)),
                ),
                (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES),
            ]
        self._spare = _open_spare()

    def accept(self, listener: Listener, limit: int) -> Iterator[tuple[socket.socket, str]]:
        """Yield new connections, `limit` at most, each with the name of its peer.

        Raises:
            FullError: No descriptor is left.
        """
        for _ in range(limit):
            try:
                tcp, address = listener.socket.accept()
            except OSError as error:
                if error.errno in _NOTHING:
                    return
                if error.errno in _NO_DESCRIPTOR:
                    raise FullError(self._shed(listener)) from None
                continue  # of a connection that failed in the backlog (accept(2))
            tcp.setblocking(False)
            for level, option, value in self._options:
                tcp.setsockopt(level, option, value)
            yield tcp, peer_name(address)

    def _shed(self, listener: Listener) -> str:
        """Accept and close a connection, which would otherwise wait and not notice."""
        if self._spare >= 0:
            os.close(self._spare)
        peer = ""
        try:
            tcp, address = listener.socket.accept()
            peer = peer_name(address)
            tcp.close()
        except OSError:
            pass
        self._spare = _open_spare()
        return peer


def _open_spare() -> int:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def network_of(host: str) -> str:
    """Return what counts as one host: an IPv4 address, or the /64 network of an IPv6 address.

    A machine that has one address of such a network can usually have all.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def peer_name(address: tuple[object, ...]) -> str:
    """Return the name of a peer as the loop has it: `10.0.0.7:5`, `[fd00::7]:5`."""
    host, port = str(address[0]).partition("%")[0], address[1]
    if ":" not in host:
        return f"{host}:{port}"
    mapped = host.lower().removeprefix("::ffff:")
    return f"{mapped}:{port}" if "." in mapped and ":" not in mapped else f"[{host}]:{port}"
