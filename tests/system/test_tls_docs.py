"""The configurations and programs of docs/tls.md work, and so does HTTPS."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from certificates import Certificates
from conditions import wait_for
from places import ROOT
from servers import FASTLOG, Server

TEXT = (ROOT / "docs/tls.md").read_text("utf-8")
PASSWORD = "correct horse battery"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


class Place:
    """A server with all configurations of the page."""

    def __init__(self, home: Path) -> None:
        self.certificates = Certificates(home)
        self.certificates.issue("localhost", file="server.pem")
        self.certificates.issue("payments")
        made = subprocess.run(
            [FASTLOG, "web", "--make-password"],
            input=f"{PASSWORD}\n{PASSWORD}\n",
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        password = home / "page.password"
        password.touch(mode=0o600)
        password.write_text(made.stdout)
        self.certificates.revoke(file="ca.crl")
        config = re.sub(r"0\.0\.0\.0:\d+", "127.0.0.1:0", "".join(blocks("toml")))
        self.server = Server(home, listen=(), config=config)

    @property
    def ports(self) -> list[int]:
        return [urlsplit(url).port or 0 for url in self.server.urls()]

    @property
    def page(self) -> str:
        url = self.server.ready_line.rpartition("page at ")[2].strip()
        return url.replace("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("docs"))
    with place.server:
        yield place


def test_the_programs_of_the_page_log_to_its_listeners(place: Place) -> None:
    stored = place.server.stored()
    programs = blocks("python")
    for program, port in zip(programs, reversed(place.ports[:2]), strict=True):
        text = program.replace("logs.example.org", "localhost")
        text = re.sub(r"\b902[12]\b", str(port), text)
        text += "import logging\nlogging.getLogger().addHandler(handler)\nlogging.error('hello')\n"
        subprocess.run([sys.executable, "-c", text], cwd=place.server.home, check=True, timeout=60)
    place.server.wait_stored(stored + len(programs))
    assert place.server.rejected() == []


def test_check_and_send_know_tls(place: Place) -> None:
    home = place.server.home

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [FASTLOG, *words]
        return subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=60)

    out = run("check", "--config", "fastlog.toml", "--data-dir", "data").stdout
    assert "ok      listen tls://127.0.0.1:0: certificate server.pem is valid" in out
    url = f"tls://localhost:{place.ports[0]}"
    assert run("send", "--url", url, "--ca", "ca.pem", "hello").returncode == 0
    untrusted = run("send", "--url", url, "hello")
    assert untrusted.returncode == 1
    assert "its certificate is not trusted" in untrusted.stderr
    other = home / "other.pem"
    other.write_text((home / "payments.pem").read_text())
    config = home / "broken.toml"
    config.write_text(
        '[[listen]]\nurl = "tls://127.0.0.1:0"\ncertificate = "server.pem"\nkey = "other.pem"\n'
        '[[listen]]\nurl = "tls://127.0.0.1:1"\ncertificate = "none.pem"\n'
        '[[listen]]\nurl = "tls://127.0.0.1:2"\ncertificate = "expired.pem"\n'
    )
    place.certificates.issue("expired", expired=True)
    found = run("check", "--config", "broken.toml").stdout
    assert "the key other.pem does not belong to the certificate server.pem" in found
    assert "certificate none.pem: No such file or directory" in found
    assert "warning listen tls://127.0.0.1:2: certificate expired.pem has expired" in found
    config.write_text(
        '[[listen]]\nurl = "tls://127.0.0.1:0"\ncertificate = "server.pem"\nkey = "other.pem"\n'
    )
    started = subprocess.run(
        [FASTLOG.parent / "fastlog-server", "--config", "broken.toml", "--data-dir", "new"],
        cwd=home, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert started.returncode == 2
    fault = "the key other.pem does not belong to the certificate server.pem"
    last = started.stderr.strip().splitlines()[-1]
    assert last.endswith(f"listen tls://127.0.0.1:0: {fault}")


def test_the_page_is_served_by_https_with_a_secure_cookie(place: Place) -> None:
    assert place.page.startswith("https://")
    parts = urlsplit(place.page)
    connection = HTTPSConnection(
        "localhost", parts.port, context=place.certificates.context(), timeout=30
    )
    headers = {"Content-Type": "application/json", "X-Fastlog": "1"}
    connection.request("POST", "/api/v1/login", json.dumps({"password": PASSWORD}), headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    assert "; secure" in str(answer.getheader("Set-Cookie")).lower()
    connection.close()
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://localhost:{parts.port}/", timeout=30)


def test_a_command_reads_from_https(place: Place) -> None:
    config = place.server.home / "tokens.toml"
    config.write_text(
        '[web]\nurl = "https://127.0.0.1:0"\ncertificate = "server.pem"\n'
        'tokens = ["test:0123456789abcdef"]\n'
    )
    web = subprocess.Popen(
        [FASTLOG, "web", "--config", config, "--data-dir", place.server.data],
        cwd=place.server.home, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert web.stdout is not None
        url = web.stdout.readline().split()[-1].replace("127.0.0.1", "localhost").rstrip("/")
        environment = {
            **os.environ,
            "SSL_CERT_FILE": str(place.certificates.ca),
            "FASTLOG_TOKEN": "0123456789abcdef",
        }
        command = [FASTLOG, "tail", "-n", "1", "--url", url]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert out.returncode in (0, 1), out.stderr
        assert "certificate" not in out.stderr
        del environment["SSL_CERT_FILE"]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert out.returncode == 2
        assert out.stderr == (
            f"fastlog tail: --url: cannot read {url}: its certificate is not trusted:"
            " unable to get local issuer certificate; name the authority by SSL_CERT_FILE=ca.pem\n"
        )
    finally:
        web.terminate()
        web.communicate(timeout=30)
    wait_for(lambda: web.returncode is not None)
