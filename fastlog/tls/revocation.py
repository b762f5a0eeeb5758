"""Which open connections have a certificate that was revoked after their handshakes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from fastlog.tls.connection import Connection
from fastlog.x509 import RevocationList, revocation_lists_of

log = logging.getLogger(__name__)


def revoked(connections: Iterable[Connection], files: Mapping[str, str]) -> Iterator[Connection]:
    """Yield the connections whose certificates are in the revocation lists of their listeners.

    Args:
        files: The file of the lists, by the URL of the listener.
    """
    lists = {url: _read(file) for url, file in files.items() if file}
    serials = {(url, each.issuer): each.serials for url, found in lists.items() for each in found}
    for connection in connections:
        if (own := connection.client_certificate) is not None:
            key = (connection.listener_url, own.issuer)
            if own.serial in serials.get(key, frozenset()):
                yield connection


def _read(file: str) -> list[RevocationList]:
    try:
        return revocation_lists_of(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        log.error("crl %s: %s; connections with revoked certificates stay open", file, error)
        return []
