"""Certificates of an authority that only a test trusts, and servers that have one."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from interpreters import environment, interpreters
from places import ROOT, SUPPORT

PROGRAM = SUPPORT / "clients" / "log_over_tls.py"


class Certificates:
    """An authority in a directory, which issues certificates to files there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._authority = trustme.CA()
        self.ca = home / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))

    def issue(
        self,
        name: str,
        *,
        expired: bool = False,
        days: float | None = None,
        file: str = "",
        dns: str = "",
    ) -> Path:
        """Issue a certificate with this common name; return the file of it and its key.

        Args:
            days: How long it will be valid from now on; expired: it was until yesterday.
        """
        day = timedelta(days=1)
        now = datetime.now(UTC)
        days = -1 if expired else days
        dates = {} if days is None else {"not_before": now - 9 * day, "not_after": now + days * day}
        issued = self._authority.issue_cert(dns or "localhost", common_name=name, **dates)
        path = self.home / (file or f"{name}.pem")
        new = path.with_suffix(".new")
        issued.private_key_and_cert_chain_pem.write_to_path(str(new))
        new.replace(path)
        return path

    def issue_with(self, name: str, extension: str, value: bytes) -> Path:
        """Issue a certificate with any extension; return the file of it and its key."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        made = x509.CertificateBuilder().public_key(key.public_key()).serial_number(1)
        made = made.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        made = made.issuer_name(self._own().subject).not_valid_before(now - timedelta(days=1))
        made = made.not_valid_after(now + timedelta(days=1)).add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(extension), value), critical=False
        )
        plain = serialization.NoEncryption()
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        signed = made.sign(self._key(), hashes.SHA256())
        path = self.home / f"{name}.pem"
        path.write_bytes(key.private_bytes(pem, form, plain) + signed.public_bytes(pem))
        return path

    def _own(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self._authority.cert_pem.bytes())

    def _key(self) -> ec.EllipticCurvePrivateKey:
        key = serialization.load_pem_private_key(self._authority.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key

    def revoke(self, *files: Path, file: str = "crl.pem", days: float = 1.0) -> Path:
        """Make the revocation list of the authority, with these certificates; return its file.

        Args:
            days: How long it is valid from now on.
        """
        now = datetime.now(UTC)
        made = x509.CertificateRevocationListBuilder().issuer_name(self._own().subject)
        end = now + timedelta(days=days)
        made = made.last_update(min(now, end) - timedelta(days=1)).next_update(end)
        for each in files:
            serial = x509.load_pem_x509_certificate(each.read_bytes()).serial_number
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            made = made.add_revoked_certificate(one.build())
        path = self.home / file
        new = path.with_suffix(".new")
        signed = made.sign(self._key(), hashes.SHA256())
        new.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        new.replace(path)
        return path

    def context(self, certificate: Path | None = None) -> ssl.SSLContext:
        """Return the settings of a client that trusts this authority."""
        context = ssl.create_default_context(cafile=self.ca)
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context

    def connect(self, port: int, certificate: Path | None = None) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", port), timeout=30)
        return self.context(certificate).wrap_socket(plain, server_hostname="localhost")

    def log(
        self,
        version: str,
        kind: str,
        port: int,
        client: str,
        count: int,
        certificate: str = "",
        pause: float = 0.0,
    ) -> subprocess.Popen[str]:
        """Start a program that logs over TLS."""
        words = [interpreters()[version], PROGRAM, kind, port, self.ca, client, count]
        words += [self.home / certificate if certificate else "", pause]
        path = os.pathsep.join([str(ROOT / "client")])
        return subprocess.Popen(
            list(map(str, words)),
            stderr=subprocess.PIPE,
            text=True,
            env=environment(PYTHONPATH=path),
        )
