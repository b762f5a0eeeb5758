"""The shipped alert rules fire at their faults: a real Prometheus scrapes a real server."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from certificates import Certificates
from conditions import wait_for
from faults import SMALL_JOURNAL, small_disk, stopped
from places import ROOT
from senders import stock_frame
from servers import Server, kill
from web_sites import Site, serving

from fastlog.metrics.source import source_metrics
from fastlog.source.report import SourceReport

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")
pytest.importorskip("prometheus_client", reason="metrics need the extra 'web'")

RULES = ROOT / "deploy" / "prometheus" / "fastlog-alerts.yml"
METRICS = ROOT / "docs" / "metrics.md"
DASHBOARD = ROOT / "deploy" / "grafana" / "fastlog.json"


@contextmanager
def prometheus(home: Path, site: Site) -> Iterator[Callable[[], set[str]]]:
    """Scrape a site by a real Prometheus with the shipped rules; yield what returns the alerts.

    Conditions need not last, so that an alert fires at once, and a sink is behind after a second.
    """
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed; Debian has it in the package of that name")
    rules = re.sub(r"\n +for: .*", "", RULES.read_text("utf-8"))
    rules = rules.replace("fastlog_sink_lag_seconds > 60", "fastlog_sink_lag_seconds > 1")
    (home / "rules.yml").write_text(rules, "utf-8")
    (home / "prometheus.yml").write_text(
        "global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}\n"
        "rule_files: [rules.yml]\n"
        "scrape_configs:\n"
        "  - job_name: fastlog\n"
        f"    static_configs: [targets: ['{site.url.removeprefix('http://')}']]\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [
        program,
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (home / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)

    def ask(path: str) -> list[Any]:
        try:
            answer = Site(url).request(f"/api/v1/{path}")
        except OSError:
            return []
        if answer.status != 200:
            return []  # it is starting
        data = answer.json["data"]
        return list(data["alerts"] if path == "alerts" else data["result"])

    def firing() -> set[str]:
        return {one["labels"]["alertname"] for one in ask("alerts") if one["state"] == "firing"}

    try:
        wait_for(lambda: ask("query?query=fastlog_rejected_total"), "the first samples are there")
        yield firing
    finally:
        process.terminate()
        process.wait(30)


def send(server: Server, *messages: str) -> None:
    with server.connect(b"".join(map(stock_frame, messages))):
        pass


def test_each_alert_fires_at_its_fault(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", "16m") as disk:
        server = Server(tmp_path, config=SMALL_JOURNAL)
        with server, ExitStack() as started:
            served = started.enter_context(ExitStack())
            site = served.enter_context(serving(server.data))
            firing = started.enter_context(prometheus(tmp_path, site))
            send(server, "one")
            server.wait_stored(1)
            with server.connect(b"GET / HTTP/1.1\r\n\r\n"):
                wait_for(lambda: firing() == {"FastlogRejections"}, "only a rejection")
            behind = {"FastlogRecordsLost", "FastlogJournalFilling", "FastlogSinkBehind"}
            with stopped(server.children()["worker sqlite"]):
                while not server.status()["dropped"]:
                    send(server, *["x" * 4000] * 100)
                wait_for(lambda: behind <= firing(), "losses, and a sink that is behind")
            over = {"FastlogJournalFilling", "FastlogSinkBehind"}
            wait_for(lambda: not over & firing(), "all is stored")

            ballast = disk / "ballast"
            with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(4096))
            send(server, *["x" * 4000] * 100)
            wait_for(lambda: "FastlogJournalFailing" in firing(), "a full disk")
            ballast.unlink()
            wait_for(lambda: "FastlogJournalFailing" not in firing(), "the disk has room")

            [day] = server.logs.glob("*.db")
            with closing(sqlite3.connect(day)) as other:
                other.execute("BEGIN IMMEDIATE")
                send(server, "two")
                wait_for(lambda: "FastlogSinkFailing" in firing(), "a locked file")
            wait_for(lambda: "FastlogSinkFailing" not in firing(), "the sink stores")

            assert server.stop() == 0
            wait_for(lambda: "FastlogDown" in firing(), "the server is down")
            served.close()
            wait_for(lambda: "FastlogUnreachable" in firing(), "there are no metrics")


TLS = """
[[listen]]
url = "tls://127.0.0.1:0"
certificate = "server.pem"
client_ca = "ca.pem"
crl = "crl.pem"
"""


def test_the_alerts_of_certificates_and_processes_fire_at_their_faults(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificates.issue("localhost", file="server.pem", days=20)
    certificates.revoke()
    server = Server(tmp_path, listen=(), config=TLS)

    def reload() -> None:
        before = server.messages().count("reload: done")
        os.kill(server.pid, signal.SIGHUP)
        wait_for(lambda: server.messages().count("reload: done") > before)

    with server, serving(server.data) as site, prometheus(tmp_path, site) as firing:
        wait_for(lambda: firing() == set(), "all is well")
        certificates.issue("localhost", file="server.pem", days=13)
        reload()
        wait_for(lambda: firing() == {"FastlogCertificateExpires"})
        certificates.issue("localhost", file="server.pem", days=15)
        certificates.revoke(days=0.5 / 24)
        reload()
        wait_for(lambda: firing() == {"FastlogRevocationListExpires"})
        kill(server.children()["tls"])
        wait_for(lambda: "FastlogProcessFailed" in firing())


def test_rules_dashboard_and_page_name_the_metrics_that_exist(tmp_path: Path) -> None:
    with Server(tmp_path) as server, serving(server.data) as site:
        send(server, "one")
        server.wait_stored(1)
        page = site.request("/metrics").body.decode()
    names = set(re.findall(r"^# TYPE (fastlog_\w+)", page, re.MULTILINE))
    of_a_central = SourceReport(at=0, url="nats://host/LOGS", central="one")
    names |= {family.name for family in source_metrics(of_a_central, 0)}
    for path in (RULES, DASHBOARD):
        used = set(re.findall(r"\b(fastlog_\w+)", path.read_text("utf-8")))
        assert used
        assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in used} <= names
    described = re.findall(r"^\| `(fastlog_\w+)`", METRICS.read_text("utf-8"), re.MULTILINE)
    assert sorted(described) == sorted(names)
    alerts = re.findall(r"alert: (\w+)", RULES.read_text("utf-8"))
    assert re.findall(r"^\| `(Fastlog\w+)`", METRICS.read_text("utf-8"), re.MULTILINE) == alerts
