"""A process of the server that hangs is replaced, counted and shown, whichever it is."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

import fastlog_client
import pytest
from certificates import Certificates
from conditions import wait_for
from faults import numbers
from installed_server import Installed
from senders import stock_frame
from servers import FASTLOG
from web_sites import ANY_PORT, serving, site_of

TLS = """
[[listen]]
url = "tls://127.0.0.1:0"
certificate = "server.pem"
"""
AWAY = """
sink = ["sqlite:"]
[source]
url = "nats://127.0.0.1:1/LOGS"
"""
HUNG, WELL = {"failures": 1, "hangs": 1}, {"failures": 0, "hangs": 0}


class Quick(Installed):
    """A server that notices within some seconds that a process hangs."""

    def __init__(self, home: Path, config: str, **options: object) -> None:
        self.certificates = Certificates(home)
        self.certificates.issue("localhost", file="server.pem")
        super().__init__(home, config=config, **options)
        self.set("fastlog.server.life_watch", SILENCE=5.0, INTERVAL=0.1)
        self.set("fastlog.child", SIGN_INTERVAL=0.1)

    def hang(self, role: str) -> int:
        """Stop a process; return the pid of the one that replaces it."""
        old = self.children()[role]
        os.kill(old, signal.SIGSTOP)
        return wait_for(lambda: {self.children().get(role, old)} - {old}, role).pop()

    def counts(self) -> dict[str, dict[str, int]]:
        return dict(json.loads(self.stats("--json"))["processes"])

    def stats(self, *words: str) -> str:
        command = [FASTLOG, "stats", *words, "--data-dir", self.data]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def lines(self, text: str) -> list[str]:
        return [line for line in self.messages().splitlines() if text in line]


class Steady:
    """Logs numbered records through our handler, in a thread, until the end of the block."""

    def __init__(self, server: Quick) -> None:
        self._handler = fastlog_client.SocketHandler(
            "localhost",
            urlsplit(server.urls()[0]).port,
            ssl={"cafile": str(server.certificates.ca)},
            close_timeout=10,
            on_error=lambda text, error: None,
        )
        self._stop, self.sent = threading.Event(), 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Steady:
        self._thread.start()
        return self

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            fields = {"msg": "", "client": "steady", "number": self.sent}
            self._handler.handle(logging.makeLogRecord(fields))
            self.sent += 1

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        self._handler.close()


@pytest.mark.long
def test_a_tls_process_that_hangs_is_replaced_and_our_client_loses_nothing(
    tmp_path: Path,
) -> None:
    with Quick(tmp_path, TLS, listen=()) as server:
        with Steady(server) as steady:
            wait_for(lambda: server.stored() > 50)
            new = server.hang("tls")
            stored = server.stored()
            wait_for(lambda: server.stored() > stored + 50)
        server.wait_stored(steady.sent)
        assert numbers(server.records()) == {"steady": list(range(steady.sent))}
        assert server.children()["tls"] == new, "it is not replaced again"

        (line,) = server.lines("sign of life")
        assert "ERROR supervisor: tls (pid " in line
        assert ", stopped by a signal) has given no sign of life for 5 s; it is killed and" in line
        expected = {"receiver": WELL, "worker[sqlite]": WELL, "tls": HUNG}
        assert server.counts() == expected
        server.reload()
        assert server.counts() == expected, "counts continue over a reload"
        with serving(server.data) as site:
            page = site.request("/metrics").body.decode()
        assert 'fastlog_process_hangs_total{process="tls"} 1.0' in page
        assert 'fastlog_process_failures_total{process="receiver"} 0.0' in page
        text = "process tls: failed once since the start of the server, 1 of them by hanging"
        assert text in server.stats()


@pytest.mark.long
def test_a_tls_process_that_hangs_while_it_retires_is_killed(tmp_path: Path) -> None:
    with Quick(tmp_path, TLS, listen=()) as server:
        port = urlsplit(server.urls()[0]).port or 0
        old = server.children()["tls"]
        with server.certificates.connect(port) as client:
            client.sendall(stock_frame("first"))
            server.wait_stored(1)
            server.reload()
            os.kill(old, signal.SIGSTOP)
            wait_for(lambda: not Path(f"/proc/{old}").exists(), "it is killed")
        with server.certificates.connect(port) as client:
            client.sendall(stock_frame("second"))
            server.wait_stored(2)
        (line,) = server.lines("sign of life")
        assert f"tls[{old}] (pid {old}, stopped by a signal)" in line
        assert line.endswith("; it is killed")
        assert server.counts()["tls"] == HUNG


def test_a_web_server_that_hangs_is_replaced(tmp_path: Path) -> None:
    with Quick(tmp_path, "", web=ANY_PORT).fixed() as server:
        site = site_of(server)
        assert site.request("/healthz").status == 200
        server.hang("web")

        def answers() -> bool:
            try:
                return site.request("/healthz").status == 200
            except OSError:
                return False

        wait_for(answers)
        assert server.counts()["web"] == HUNG


def test_a_source_that_hangs_is_replaced(tmp_path: Path) -> None:
    with Quick(tmp_path, AWAY) as server:
        wait_for(lambda: server.lines("source: nats://127.0.0.1:1/LOGS: "), "it has begun")
        server.hang("source")
        assert server.counts()["source"] == HUNG
        assert server.counts()["worker[sqlite]"] == WELL


def test_a_process_that_is_killed_is_a_failure_and_no_hang(tmp_path: Path) -> None:
    with Quick(tmp_path, "") as server:
        old = server.children()["receiver"]
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: server.children().get("receiver", old) != old)
        assert server.counts()["receiver"] == {"failures": 1, "hangs": 0}
