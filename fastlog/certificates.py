"""Certificates: the settings of a TLS server, what is wrong with its files, and who a peer is."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

from fastlog.errors import ConfigError
from fastlog.x509 import CERTIFICATE, REVOCATION_LIST, certificates_of, revocation_lists_of

T = TypeVar("T")

EXPIRES_SOON = timedelta(days=14)
"""Time before the end of a certificate from which `remarks` warns of it."""
MAX_IDENTITY = 128
"""Bytes of an identity. Of a longer name, the beginning and a digest are used."""
_DIGEST = 16
"""Characters of that digest."""
_ALTERNATIVES: Final = ("URI", "DNS", "email", "IP Address")
"""The kinds of alternative names that can be an identity, the preferred one first."""


def server_context(
    certificate: str, key: str = "", client_ca: str = "", crl: str = ""
) -> ssl.SSLContext:
    """Return the settings of a TLS server, TLS 1.2 and later.

    Args:
        certificate: A PEM file with the server's certificate, and those between it and the root.
        key: A PEM file with its private key; "": it is in the file of the certificate.
        client_ca: A PEM file with the certificates that may sign those of clients; "": clients
            need none.
        crl: A PEM file with the revocation lists of those that sign certificates of clients; "":
            there are none.

    Raises:
        ConfigError: A file is missing, or wrong.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client that only sends would have unread tickets in its socket when it closes. Its kernel
    # would then reset the connection, which drops what the server has not read yet.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_RENEGOTIATION
    _require(certificate, "certificate", CERTIFICATE)
    _require(key or certificate, "key", "PRIVATE KEY")
    try:
        context.load_cert_chain(certificate, key or None, password=_refuse_password)
    except ssl.SSLError as error:
        raise ConfigError(_chain_fault(error, certificate, key or certificate)) from None
    if client_ca:
        _load(context, client_ca, "client_ca", CERTIFICATE)
        context.verify_mode = ssl.CERT_REQUIRED
    if crl:
        _load(context, crl, "crl", REVOCATION_LIST)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def _load(context: ssl.SSLContext, path: str, what: str, label: str) -> None:
    """Load what certificates of clients are verified with."""
    _require(path, what, label)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigError(f"{what} {path}: {_words(error)}") from None


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


# ---- how long certificates are valid --------------------------------------------------------


class Ends(NamedTuple):
    """When the files of a server end: each the earliest end of what its file has."""

    certificate: datetime
    client_ca: datetime | None = None
    """None: the server demands no certificate."""
    crl: datetime | None = None
    """When the next revocation lists are to be there at the latest; None: there are none."""


def read_ends(certificate: str, client_ca: str = "", crl: str = "") -> Ends:
    """Return when the files of `server_context` end.

    Raises:
        ConfigError: A file is missing, or wrong.
    """
    chain = _read("certificate", certificate, certificates_of)
    authorities = _read("client_ca", client_ca, certificates_of) if client_ca else []
    lists = _read("crl", crl, revocation_lists_of) if crl else []
    return Ends(
        min(each.end for each in chain),
        min((each.end for each in authorities), default=None),
        min((each.end for each in lists), default=None),
    )


def remarks(
    certificate: str, client_ca: str = "", crl: str = "", *, now: datetime | None = None
) -> list[str]:
    """Return what is wrong with the times of a server's files, a line each.

    Args:
        now: The time to compare with; the present by default.

    Raises:
        ConfigError: A file is missing, or wrong.
    """
    now = now or datetime.now(UTC)
    ends = read_ends(certificate, client_ca, crl)
    found = []
    if _read("certificate", certificate, certificates_of)[0].begin > now:
        found.append(
            f"certificate {certificate} is not valid yet: clients that verify it reject it"
        )
    elif ends.certificate <= now:
        found.append(f"certificate {certificate} has expired: clients that verify it reject it")
    elif _is_soon(ends.certificate, now):
        found.append(f"certificate {certificate} expires at {_shown(ends.certificate)}")
    if ends.client_ca is not None and _is_soon(ends.client_ca, now):
        has_expired = ends.client_ca <= now
        what, effect = ("expired", ": its clients are rejected") if has_expired else ("expires", "")
        found.append(
            f"client_ca {client_ca}: an authority {what} at {_shown(ends.client_ca)}{effect}"
        )
    if ends.crl is not None and ends.crl <= now:
        found.append(
            f"crl {crl} expired at {_shown(ends.crl)}: all clients of its authority are rejected "
            "until there is a new one, and a reload"
        )
    return found


def _is_soon(end: datetime, now: datetime) -> bool:
    return end - now <= EXPIRES_SOON


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _read(what: str, path: str, parse: Callable[[bytes], list[T]]) -> list[T]:
    """Read a PEM file that has one block of the kind at least."""
    try:
        found = parse(Path(path).read_bytes())
    except OSError as error:
        raise ConfigError(f"{what} {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{what} {path}: it is damaged: {error}") from None
    if not found:
        raise ConfigError(f"{what} {path}: it has no PEM block of its kind")
    return found


# ---- who a peer is --------------------------------------------------------------------------


def identity(certificate: Mapping[str, Any]) -> str:
    """Return the name of a peer by its verified certificate, as `SSLObject.getpeercert` has it.

    It is the common name of the subject, or the first alternative name, of the first kind of
    `_ALTERNATIVES` that the certificate has. It has no control characters and no spaces at its
    ends, which are escaped so that they still make another name, and at most `MAX_IDENTITY` bytes;
    "" if the certificate has no name.
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
    text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in name)
    text = re.sub(r"^ +| +$", lambda spaces: r"\x20" * len(spaces[0]), text)
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= MAX_IDENTITY:
        return data.decode()
    digest = hashlib.sha256(data).hexdigest()[:_DIGEST]
    head = data[: MAX_IDENTITY - _DIGEST - 1].decode("utf-8", "ignore")
    return f"{head}#{digest}"
