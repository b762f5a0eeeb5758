"""Certificates: the settings of a TLS server, what is wrong with its files, and who a peer is."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NoReturn

from fastlog.errors import ConfigError

EXPIRES_SOON = timedelta(days=14)
"""Time before the end of a certificate from which `remark` warns of it."""
MAX_IDENTITY = 128
"""Bytes of an identity. Of a longer name, the beginning and a digest are used."""
_DIGEST = 16
"""Characters of that digest."""
_ALTERNATIVES: Final = ("URI", "DNS", "email", "IP Address")
"""The kinds of alternative names that can be an identity, the preferred one first."""
_EXPIRED, _NOT_YET_VALID = 10, 9
"""OpenSSL's numbers of these faults (X509_V_ERR_CERT_HAS_EXPIRED …)."""


def server_context(certificate: str, key: str = "", client_ca: str = "") -> ssl.SSLContext:
    """Return the settings of a TLS server, TLS 1.2 and later.

    Args:
        certificate: A PEM file with the server's certificate, and those between it and the root.
        key: A PEM file with its private key; "": it is in the file of the certificate.
        client_ca: A PEM file with the certificates that may sign those of clients; "": clients
            need none.

    Raises:
        ConfigError: A file is missing, or wrong.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client that only sends would have unread tickets in its socket when it closes. Its kernel
    # would then reset the connection, which drops what the server has not read yet.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_RENEGOTIATION
    _require(certificate, "certificate", "CERTIFICATE")
    _require(key or certificate, "key", "PRIVATE KEY")
    try:
        context.load_cert_chain(certificate, key or None, password=_refuse_password)
    except ssl.SSLError as error:
        raise ConfigError(_chain_fault(error, certificate, key or certificate)) from None
    if client_ca:
        _require(client_ca, "client_ca", "CERTIFICATE")
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as error:
            raise ConfigError(f"client_ca {client_ca}: {_words(error)}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _refuse_password() -> NoReturn:
    """Called for an encrypted key, where OpenSSL would ask for the password on the terminal."""
    raise ConfigError("the key is encrypted; store it without a password, in a file of mode 0600")


def _require(path: str, what: str, label: str) -> None:
    """Check that a file can be read and has a PEM block with this label."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{what} {path}: {error.strerror}") from None
    if f"{label}-----".encode() not in text:
        raise ConfigError(f"{what} {path}: it has no PEM block '-----BEGIN {label}-----'")


def _chain_fault(error: ssl.SSLError, certificate: str, key: str) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key {key} does not belong to the certificate {certificate}"
    return f"certificate {certificate} or key {key}: {_words(error)}"


def _words(error: ssl.SSLError) -> str:
    """Return OpenSSL's name of an error in words."""
    return (error.reason or str(error)).replace("_", " ").lower()


# ---- how long a certificate is valid --------------------------------------------------------


def remark(certificate: str, key: str = "", *, now: datetime | None = None) -> str:
    """Return what is wrong with the time of a server's certificate; "" if nothing.

    Args:
        now: The time to compare with; the present by default.

    Raises:
        ConfigError: As `server_context`.
    """
    server = server_context(certificate, key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(certificate)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself is trusted
    try:
        found = _handshake(server, client)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _EXPIRED:
            return f"certificate {certificate} has expired: clients that verify it reject it"
        if error.verify_code == _NOT_YET_VALID:
            return f"certificate {certificate} is not valid yet: clients that verify it reject it"
        return ""  # clients may have other rules
    except ssl.SSLError:
        return ""
    end = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found["notAfter"])), UTC)
    if end - (now or datetime.now(UTC)) > EXPIRES_SOON:
        return ""
    return f"certificate {certificate} expires at {end:%Y-%m-%d %H:%M} UTC"


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> Mapping[str, Any]:
    """Connect the two in memory, and return the certificate that the client got."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(sides)
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    return sides[0].getpeercert() or {}


# ---- who a peer is --------------------------------------------------------------------------


def identity(certificate: Mapping[str, Any]) -> str:
    """Return the name of a peer by its verified certificate, as `SSLObject.getpeercert` has it.

    It is the common name of the subject, or the first alternative name, of the first kind of
    `_ALTERNATIVES` that the certificate has. It has no control characters, and at most
    `MAX_IDENTITY` bytes; "" if the certificate has no name.
    """
    names = [
        value
        for part in certificate.get("subject", ())
        for field, value in part
        if field == "commonName"
    ]
    others = certificate.get("subjectAltName", ())
    names += [value for kind in _ALTERNATIVES for found, value in others if found == kind]
    name = next((name for name in names if name.strip()), "")
    text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in name.strip())
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= MAX_IDENTITY:
        return data.decode()
    digest = hashlib.sha256(data).hexdigest()[:_DIGEST]
    head = data[: MAX_IDENTITY - _DIGEST - 1].decode("utf-8", "ignore")
    return f"{head}#{digest}"
