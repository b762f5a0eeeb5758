"""The shipped alert rules fire at their faults: a real Prometheus scrapes a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from certificates import Certificates
from conditions import wait_for, wait_past_midnight
from faults import SMALL_JOURNAL, replace_database, small_disk, stopped
from nats_servers import NatsCluster
from nats_stores import Fleet, cluster, connect, node_id, position_of
from places import ROOT
from senders import stock_frame
from servers import Server, kill
from web_sites import ANY_PORT, Site, reserved_url, serving, site_of

from fastlog.metrics.source import source_metrics
from fastlog.source.report import SourceReport

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")
pytest.importorskip("prometheus_client", reason="metrics need the extra 'web'")

__all__ = ["cluster"]

RULES = ROOT / "deploy" / "prometheus" / "fastlog-alerts.yml"
METRICS = ROOT / "docs" / "metrics.md"
DASHBOARD = ROOT / "deploy" / "grafana" / "fastlog.json"
RATE_INTERVAL = "10s"
"""How long a graph shows the first event: long enough for a poll on a loaded machine."""


class Prometheus:
    """A Prometheus that runs, by its URL."""

    def __init__(self, url: str) -> None:
        self._url = url

    def alerts(self) -> dict[str, str]:
        """Return the alerts that fire, and what each says; of several, one."""
        return {
            one["labels"]["alertname"]: "{summary}\n{description}".format(**one["annotations"])
            for one in self._ask("alerts").get("alerts", ())
            if one["state"] == "firing"
        }

    def text(self, alert: str) -> str:
        """Return what an alert that fires says; "" where it does not, as after a missed scrape."""
        return self.alerts().get(alert, "")

    def firing(self) -> set[str]:
        return set(self.alerts())

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression has now."""
        answer = self._ask(f"query?{urlencode({'query': expression})}")
        return list(answer.get("result", ()))

    def _ask(self, path: str) -> dict[str, Any]:
        try:
            answer = Site(self._url).request(f"/api/v1/{path}")
        except OSError:
            return {}
        return dict(answer.json["data"]) if answer.status == 200 else {}  # 503: it is starting


@contextmanager
def prometheus(home: Path, *sites: Site, job: str = "fastlog") -> Iterator[Prometheus]:
    """Scrape sites by a real Prometheus with the shipped rules.

    Conditions need not last, so that an alert fires at once, and a sink or a node is behind after a
    second.
    """
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed; Debian has it in the package of that name")
    rules = re.sub(r"\n +for: .*", "", RULES.read_text("utf-8"))
    for metric, seconds in (("fastlog_sink_lag_seconds", 60), ("fastlog_node_lag_seconds", 300)):
        assert f"{metric} > {seconds}" in rules
        rules = rules.replace(f"{metric} > {seconds}", f"{metric} > 1")
    (home / "rules.yml").write_text(rules, "utf-8")
    targets = [site.url.removeprefix("http://") for site in sites]
    (home / "prometheus.yml").write_text(
        "global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}\n"
        "rule_files: [rules.yml]\n"
        "scrape_configs:\n"
        f"  - job_name: {job}\n"
        f"    static_configs: [targets: {targets}]\n"
    )
    with reserved_url() as url:
        command = [
            program,
            f"--config.file={home / 'prometheus.yml'}",
            f"--storage.tsdb.path={home / 'tsdb'}",
            f"--web.listen-address={url.removeprefix('http://')}",
        ]
        with (home / "prometheus.log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        found = Prometheus(url)
        try:
            wait_for(lambda: found.query("fastlog_rejected_total"), "the first samples are there")
            yield found
        finally:
            process.terminate()
            process.wait(30)


def panels(instance: str = ".*") -> Iterator[tuple[str, str]]:
    """Yield title and expression of each graph of the dashboard, with values of its variables."""
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$instance", instance)
            yield panel["title"], expression.replace("$__rate_interval", RATE_INTERVAL)


def amounts(series: list[dict[str, Any]]) -> set[float]:
    return {float(one["value"][1]) for one in series}


def send(server: Server, *messages: str) -> None:
    with server.connect(b"".join(map(stock_frame, messages))):
        pass


@pytest.mark.long
def test_each_alert_fires_at_its_fault(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", "16m") as disk:
        server = Server(tmp_path, config=SMALL_JOURNAL)
        with server, ExitStack() as started:
            served = started.enter_context(ExitStack())
            site = served.enter_context(serving(server.data))
            other = started.enter_context(serving(server.data))
            found = started.enter_context(prometheus(tmp_path, site, other))
            firing = found.firing
            send(server, "one")
            server.wait_stored(1)
            before = f"fastlog_rejected_total offset {RATE_INTERVAL}"
            wait_for(lambda: len(found.query(before)) == 2, "samples of both before it")
            with server.connect(b"GET / HTTP/1.1\r\n\r\n"):
                one = site.url.removeprefix("http://")
                [_, rejected] = [each for title, each in panels(one) if "by reason" in title]
                wait_for(lambda: amounts(found.query(rejected)) == {1}, "the first of a reason")
                wait_for(lambda: firing() == {"FastlogRejections"}, "only a rejection")
            wait_for(lambda: " rejected 1 frames " in found.text("FastlogRejections"))
            behind = {"FastlogRecordsLost", "FastlogJournalFilling", "FastlogSinkBehind"}
            with stopped(server.children()["worker sqlite"]):
                while not server.status()["dropped"]:
                    send(server, *["x" * 4000] * 100)
                wait_for(lambda: behind <= firing(), "losses, and a sink that is behind")
            for title, each in panels():
                empty = "certificates" in title or "of a central" in title  # it has and is none
                wait_for(lambda each=each, empty=empty: bool(found.query(each)) != empty, title)
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

            wait_past_midnight()
            send(server, "of this day")
            day = server.logs / f"{datetime.now(UTC):%Y-%m-%d}.db"
            wait_for(day.exists, "the day file that is written now")
            with closing(sqlite3.connect(day, timeout=30)) as locking:
                locking.execute("BEGIN IMMEDIATE")
                send(server, "two")
                wait_for(lambda: "FastlogSinkFailing" in firing(), "a locked file")
            wait_for(lambda: "FastlogSinkFailing" not in firing(), "the sink stores")

            kill(server.children()["worker sqlite"])
            wait_for(lambda: "FastlogProcessFailed" in firing(), "a worker was killed")
            wait_for(lambda: "No record is lost by that." in found.text("FastlogProcessFailed"))

            assert server.stop() == 0
            wait_for(lambda: "FastlogDown" in firing(), "the server is down")
            replace_database(server.data / "ledger.db", b"no database" * 1000)
            wait_for(lambda: "FastlogLedgerUnreadable" in firing(), "a damaged ledger")
            served.close()
            wait_for(lambda: "FastlogUnreachable" in firing(), "one of two has no metrics")
            wait_for(lambda: one in found.text("FastlogUnreachable"))
            started.close()


def test_metrics_that_vanish_raise_an_alert_whatever_the_job_is_called(tmp_path: Path) -> None:
    with Server(tmp_path) as server, ExitStack() as served:
        site = served.enter_context(serving(server.data))
        with prometheus(tmp_path, site, job="logs") as found:
            wait_for(lambda: found.firing() == set(), "all is well")
            served.close()
            wait_for(lambda: found.firing() == {"FastlogUnreachable"}, "there are no metrics")


def test_a_loss_of_unknown_size_raises_an_alert(tmp_path: Path) -> None:
    wait_past_midnight()
    config = '[journal]\nsize = "2MiB"\nsegment = "64KiB"\n'
    with Server(tmp_path, config=config) as server, serving(server.data) as site:
        sent = 0
        while not server.status().get("oldest"):
            send(server, *["x" * 900] * 100)
            sent += 100
            server.wait_stored(sent)
        # The journal has released the first records.
        with prometheus(tmp_path, site) as found:
            wait_for(lambda: found.firing() == set(), "all is well")
            server.stop()
            [day] = server.logs.glob("*.db")
            replace_database(day, os.urandom(day.stat().st_size))
            server.start()
            send(server, "two")
            wait_for(lambda: "FastlogRecordsLost" in found.firing(), "stored records are gone")
            wait_for(lambda: " lost about 1 records\n" in found.text("FastlogRecordsLost"))
            assert [loss["count"] for loss in server.losses()] == [-1]


def test_the_alerts_of_a_central_fire_at_their_faults(tmp_path: Path, cluster: NatsCluster) -> None:
    with Fleet(tmp_path, cluster.url(), None) as fleet:
        collector = fleet.collector()
        connection = connect(fleet.url)
        subject = connection.target.blocks_of(node_id(collector))
        published = []
        for _ in range(3):
            fleet.send_to(collector, 50)
            fleet.await_journaled()
            sent = fleet.sent["0-0"]
            wait_for(lambda sent=sent: position_of(collector).get("index") == sent, "published")
            last = connection.last(connection.target.stream, subject)
            assert last is not None
            published.append(last.seq)
        question = {"seq": published[1], "no_erase": True}
        connection.ask(f"STREAM.MSG.DELETE.{connection.target.stream}", question)
        connection.close()
        with ExitStack() as scraped:
            # The supervisor, too: it would start another worker.
            with stopped(collector.pid), stopped(collector.children()["worker nats"]):
                central = fleet.central(web=ANY_PORT)
                found = scraped.enter_context(prometheus(tmp_path, site_of(central)))
                missing = {"FastlogNodeGap", "FastlogNodeBehind"}
                wait_for(lambda: found.firing() == missing, "blocks are missing")
                of_node = f" of node {node_id(collector)}\n"
                wait_for(lambda: of_node in found.text("FastlogNodeGap"))
            wait_for(lambda: found.firing() == set(), "they were published again")
            graphs = [each for title, each in panels() if "of a central" in title]
            wait_for(lambda: all(found.query(each) for each in graphs), "the dashboard has data")

            wait_past_midnight()
            fleet.send_to(collector, 50)
            day = central.logs / f"{datetime.now(UTC):%Y-%m-%d}.db"
            wait_for(day.exists, "the day file that is written now")
            with closing(sqlite3.connect(day, timeout=30)) as locking:
                locking.execute("BEGIN IMMEDIATE")
                fleet.send_to(collector, 50)
                wait_for(lambda: "FastlogNodeFailing" in found.firing(), "a locked file")
            wait_for(lambda: found.firing() == set(), "the node is stored")

            for server in cluster.servers:
                server.stop()
            wait_for(lambda: "FastlogSourceFailing" in found.firing(), "the cluster is away")
            for server in cluster.servers:
                server.start()
            wait_for(lambda: found.firing() == set(), "the cluster is back", 90)
            fleet.assert_stored()


TLS = """
[[listen]]
url = "tls://127.0.0.1:0"
certificate = "server.pem"
client_ca = "ca.pem"
crl = "crl.pem"
"""


@pytest.mark.long
def test_the_alerts_of_certificates_and_processes_fire_at_their_faults(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificates.issue("localhost", file="server.pem", days=20)
    certificates.revoke()
    server = Server(tmp_path, listen=(), config=TLS)
    with server, serving(server.data) as site, prometheus(tmp_path, site) as found:
        firing = found.firing
        wait_for(lambda: firing() == set(), "all is well")
        graphs = [each for title, each in panels() if "certificates" in title]
        wait_for(lambda: all(found.query(each) for each in graphs), "the dashboard has data")
        certificates.issue("localhost", file="server.pem", days=13)
        server.reload()
        wait_for(lambda: firing() == {"FastlogCertificateExpires"})
        wait_for(lambda: " expires in 12d 23h" in found.text("FastlogCertificateExpires"))
        certificates.issue("localhost", file="server.pem", expired=True)
        server.reload()
        wait_for(lambda: " has expired\n" in found.text("FastlogCertificateExpires"))
        certificates.issue("localhost", file="server.pem", days=15)
        certificates.revoke(days=0.5 / 24)
        server.reload()
        wait_for(lambda: firing() == {"FastlogRevocationListExpires"})
        kill(server.children()["tls"])
        wait_for(lambda: "FastlogProcessFailed" in firing())
        lost = "a stock client had on the way is lost"
        wait_for(lambda: lost in found.text("FastlogProcessFailed"))


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
