"""Which open connections have a certificate that was revoked after their handshakes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from fastlog.tls.connection import Connection
from fastlog.x509 import RevocationList, revocation_lists_of

log = logging.getLogger(__name__)

_OfSerial = dict[bytes, list[Connection]]


def revoked(connections: Iterable[Connection], files: Mapping[str, str]) -> Iterator[Connection]:
    """Yield the connections whose certificates are in the revocation lists of their listeners.

    Args:
        files: The file of the lists, by the URL of the listener; "": it has none.
    """
    certified: dict[str, dict[bytes, _OfSerial]] = {}
    """By listener and issuer."""
    for connection in connections:
        if (own := connection.client_certificate) is not None:
            of_issuer = certified.setdefault(connection.listener_url, {})
            of_issuer.setdefault(own.issuer, {}).setdefault(own.serial, []).append(connection)
    for url, of_issuer in certified.items():
        for each in _read(files.get(url, "")):
            if (of_serial := of_issuer.get(each.issuer)) is not None:
                for serial in each.serials():
                    yield from of_serial.get(serial, ())


def _read(file: str) -> list[RevocationList]:
    if not file:
        return []
    try:
        return revocation_lists_of(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        log.error("crl %s: %s; connections with revoked certificates stay open", file, error)
        return []
