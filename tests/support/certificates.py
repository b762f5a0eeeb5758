"""Certificates of an authority that only a test trusts, and servers that have one."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
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

    def issue(self, name: str, *, expired: bool = False, file: str = "", dns: str = "") -> Path:
        """Issue a certificate with this common name; return the file of it and its key."""
        day = timedelta(days=1)
        now = datetime.now(UTC)
        dates = {"not_before": now - 9 * day, "not_after": now - day} if expired else {}
        issued = self._authority.issue_cert(dns or "localhost", common_name=name, **dates)
        path = self.home / (file or f"{name}.pem")
        new = path.with_suffix(".new")
        issued.private_key_and_cert_chain_pem.write_to_path(str(new))
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
