"""Certificates and revocation lists: what the standard library's `ssl` does not show of them.

It shows a certificate only when it is that of a peer, and no revocation list. This reads the few
fields that are needed, from DER that OpenSSL has checked.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

CERTIFICATE: Final = "CERTIFICATE"
REVOCATION_LIST: Final = "X509 CRL"
"""Labels of PEM blocks."""

_INTEGER, _SEQUENCE, _VERSION = 0x02, 0x30, 0xA0
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_CENTURY: Final = 50
"""A year of two digits from here on is of the 20th century (RFC 5280)."""
_FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)


class Certificate(NamedTuple):
    """Some fields of a certificate."""

    serial: bytes
    issuer: bytes
    """Its distinguished name, in DER."""
    begin: datetime
    end: datetime


class RevocationList(NamedTuple):
    """A revocation list."""

    issuer: bytes
    end: datetime
    """When the next one was to be there at the latest."""
    entries: bytes
    """The revoked certificates, in DER: there may be a million."""

    def serials(self) -> Iterator[bytes]:
        """Yield the serials of the revoked certificates."""
        for entry in _values(memoryview(self.entries)):
            yield bytes(_first(entry.content).content)


def certificates_of(pem: bytes) -> list[Certificate]:
    """Return the certificates of a PEM file, in their order.

    Raises:
        ValueError: One of them is no certificate.
    """
    return [certificate(der) for der in _blocks(pem, rf"(?:TRUSTED )?{CERTIFICATE}")]


def revocation_lists_of(pem: bytes) -> list[RevocationList]:
    """Return the revocation lists of a PEM file.

    Raises:
        ValueError: One of them is no revocation list.
    """
    return [_revocation_list(der) for der in _blocks(pem, REVOCATION_LIST)]


def certificate(der: bytes) -> Certificate:
    """Return a certificate.

    Raises:
        ValueError: It is none.
    """
    fields = _fields_of_signed(der)
    if fields[0].tag == _VERSION:
        del fields[0]
    if len(fields) < 4:
        raise ValueError("a field is missing")
    serial, _, issuer, validity = fields[:4]
    begin, end = _values(validity.content)
    return Certificate(bytes(serial.content), bytes(issuer.content), _time(begin), _time(end))


def _revocation_list(der: bytes) -> RevocationList:
    fields = _fields_of_signed(der)
    if fields[0].tag == _INTEGER:  # the version
        del fields[0]
    if len(fields) < 3:
        raise ValueError("a field is missing")
    _, issuer, _, *others = fields
    end = _FOR_EVER
    if others and others[0].tag in (_UTC_TIME, _GENERALIZED_TIME):
        end = _time(others.pop(0))
    entries = others[0].content if others and others[0].tag == _SEQUENCE else b""
    return RevocationList(bytes(issuer.content), end, bytes(entries))


# ---- PEM and DER ----------------------------------------------------------------------------


class _Value(NamedTuple):
    """A value of DER."""

    tag: int
    content: memoryview


def _blocks(pem: bytes, label: str) -> Iterator[bytes]:
    found = re.finditer(rf"-----BEGIN {label}-----(.*?)-----END ".encode(), pem, re.DOTALL)
    return (binascii.a2b_base64(block[1]) for block in found)


def _fields_of_signed(der: bytes) -> list[_Value]:
    """Return the fields of what is signed: the first part of a certificate or a list."""
    fields = list(_values(_first(_first(memoryview(der)).content).content))
    if not fields:
        raise ValueError("there are no fields")
    return fields


def _first(data: memoryview) -> _Value:
    for value in _values(data):
        return value
    raise ValueError("a value is missing")


def _values(data: memoryview) -> Iterator[_Value]:
    """Yield the values that follow each other.

    Raises:
        ValueError: They are cut off, or not of definite length.
    """
    while data:
        if len(data) < 2:
            raise ValueError("a value is cut off")
        tag, size, at = data[0], data[1], 2
        if size & 0x80:
            at += size & 0x7F
            if not 2 < at <= min(len(data), 6):
                raise ValueError("a length is wrong")
            size = int.from_bytes(data[2:at])
        if len(data) - at < size:
            raise ValueError("a value is cut off")
        yield _Value(tag, data[at : at + size])
        data = data[at + size :]


def _time(value: _Value) -> datetime:
    text = bytes(value.content).decode("ascii")
    if value.tag == _UTC_TIME:
        text = f"{19 if int(text[:2]) >= _CENTURY else 20}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
