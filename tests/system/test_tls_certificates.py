"""Certificates of a running server: revocation lists, expiry, and new files at a reload."""

from __future__ import annotations

import contextlib
import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Certificates
from conditions import wait_for
from faults import numbers
from senders import stock_frame
from servers import FASTLOG, REJECTED, Server
from tls_places import Place, refused
from web_sites import serving

from fastlog.drill.ports import ReservedPort

REVOCABLE = """
[[listen]]
url = "tls://127.0.0.1:0"
certificate = "server.pem"
client_ca = "ca.pem"
crl = "crl.pem"
"""


@pytest.fixture
def revocable(tmp_path: Path) -> Iterator[Place]:
    certificates = Certificates(tmp_path)
    certificates.issue("localhost", file="server.pem", days=30)
    certificates.revoke()
    with Server(tmp_path, listen=(), config=REVOCABLE) as server:
        yield Place(server, certificates)


def send(place: Place, certificate: Path, client: str) -> ssl.SSLSocket:
    connection = place.certificates.connect(place.port, certificate)
    connection.sendall(stock_frame(client=client, number=0))
    return connection


def test_a_revoked_certificate_is_refused_and_its_connections_end_at_a_reload(
    revocable: Place,
) -> None:
    server, certificates = revocable.server, revocable.certificates
    stolen, other = (certificates.issue(name) for name in ("stolen", "other"))
    with send(revocable, stolen, "stolen") as first, send(revocable, other, "other") as kept:
        server.wait_stored(2)
        server.reload()  # its connections are in a retired process by then
        certificates.revoke(stolen)
        server.reload()
        first.settimeout(30)
        with contextlib.suppress(OSError):
            assert first.recv(1) == b"", "it is closed, or reset"
        with pytest.raises(ssl.SSLError, match="REVOKED"), send(revocable, stolen, "no") as again:
            again.recv(1)
        refused(revocable, "the client's certificate: certificate revoked", 2)
        kept.sendall(stock_frame(client="other", number=1))
        send(revocable, other, "third").close()
    server.wait_stored(4)
    assert sorted(numbers(server.records())) == ["other", "stolen", "third"]


def last_reload(server: Server) -> str:
    """Return the log since the last reload has begun."""
    return server.messages().rpartition("reload: checking the installed code")[2]


def test_an_expired_revocation_list_is_one_clear_line_and_refuses(revocable: Place) -> None:
    server, certificates = revocable.server, revocable.certificates
    certificates.revoke(days=-2)
    server.reload()
    lines = [line for line in last_reload(server).splitlines() if "crl" in line]
    assert len(lines) == 1
    assert "WARNING supervisor: reload: listen tls://127.0.0.1:0: crl " in lines[0]
    assert "all clients of its authority are rejected until there is a new one" in lines[0]
    client = certificates.issue("client")
    with pytest.raises(ssl.SSLError), send(revocable, client, "no") as again:
        again.recv(1)
    refused(revocable, "the client's certificate: CRL has expired")
    certificates.revoke()
    server.reload()
    send(revocable, client, "yes").close()
    server.wait_stored(1)


def test_a_reload_with_a_key_that_does_not_fit_keeps_the_old_one(revocable: Place) -> None:
    server, certificates = revocable.server, revocable.certificates
    own = server.home / "server.pem"
    text, other = own.read_text(), certificates.issue("other").read_text()
    mixed = other.partition("-----BEGIN CERTIFICATE")[0] + "-----BEGIN CERTIFICATE"
    own.write_text(mixed + text.partition("-----BEGIN CERTIFICATE")[2])
    server.reload(REJECTED)
    assert f"the key {own} does not belong to the certificate {own}" in server.messages()
    send(revocable, certificates.issue("client"), "still").close()
    server.wait_stored(1)


def test_the_ends_of_the_certificates_in_use_are_metrics(revocable: Place) -> None:
    server, certificates = revocable.server, revocable.certificates

    def metrics() -> dict[str, float]:
        with serving(server.data) as site:
            page = site.request("/metrics").body.decode()
        found = re.findall(r'^fastlog_(\w+)_expiry_\w+{url="tls:[^"]+"} (\S+)$', page, re.M)
        return {name: float(value) for name, value in found}

    before, day, now = metrics(), 86400, time.time()
    assert before.keys() == {"certificate", "client_ca", "crl"}
    assert 29 * day < before["certificate"] - now < 31 * day
    assert 0 < before["crl"] - now < 2 * day
    certificates.issue("localhost", file="server.pem", days=5)
    assert metrics() == before, "the server does not use the new one yet"
    command = [FASTLOG, "check", "--config", "fastlog.toml", "--data-dir", "data"]
    checked = subprocess.run(command, cwd=server.home, capture_output=True, text=True).stdout
    assert (
        "warning listen tls://127.0.0.1:0: the server still uses a certificate that ex" in checked
    )
    server.reload()
    assert 4 * day < metrics()["certificate"] - now < 6 * day
    assert "server.pem expires at" in server.messages()


def test_a_reload_gives_the_page_its_new_certificate(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificates.issue("localhost", file="server.pem", days=30)
    port = ReservedPort()
    config = f'[web]\nurl = "https://127.0.0.1:{port.number}"\ncertificate = "server.pem"\n'

    def end_of_certificate() -> float:
        try:
            with certificates.connect(port.number) as client:
                return ssl.cert_time_to_seconds(str((client.getpeercert() or {})["notAfter"]))
        except OSError:
            return 0.0  # the web server starts again

    with port, Server(tmp_path, config=config) as server:
        before = end_of_certificate()
        certificates.issue("localhost", file="server.pem", days=60)
        assert end_of_certificate() == before
        server.reload()
        wait_for(lambda: end_of_certificate() > before)
