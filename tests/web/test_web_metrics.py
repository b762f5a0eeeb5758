"""Metrics and probes, scraped from real servers that meet real faults."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conditions import wait_for
from faults import SMALL_JOURNAL, small_disk, stopped
from senders import stock_frame
from servers import FASTLOG, Server
from web_sites import ANY_PORT, Site, serving, site_of

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")
parser = pytest.importorskip(
    "prometheus_client.openmetrics.parser", reason="metrics need the extra 'web'"
)

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def scrape(site: Site) -> dict[str, float]:
    """Return the samples by name and labels, as a scraper of OpenMetrics reads them."""
    answer = site.request("/metrics", headers=OPENMETRICS)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    found = {}
    for family in parser.text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            labels = ",".join(sample.labels.values())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return {name.removeprefix("fastlog_"): value for name, value in found.items()}


def becomes(site: Site, name: str, test: Callable[[float], bool]) -> None:
    wait_for(lambda: test(scrape(site).get(name, float("nan"))), f"{name} is as expected")


def send(server: Server, *messages: str) -> None:
    with server.connect(b"".join(map(stock_frame, messages))):
        pass


def test_what_is_received_and_stored_is_counted(tmp_path: Path) -> None:
    frames = b"".join(map(stock_frame, ("one", "two", "three")))
    with Server(tmp_path, web=ANY_PORT) as server:
        site = site_of(server)
        with server.connect(frames):
            becomes(site, "sink_commit_seconds_count{sqlite}", lambda value: value >= 1)
            becomes(site, "received_frames_total", lambda value: value == 3)  # the status is older
            found = scrape(site)
        assert found["receiver_up"] == 1
        assert found["received_frames_total"] == 3
        assert found["received_bytes_total"] == len(frames)
        assert found["accepted_connections_total"] == found["connections"] == 1
        assert found["journal_blocks_total"] >= 1
        assert 0 < found["journal_bytes"] < found["journal_limit_bytes"]
        assert found["sink_lag_records{sqlite}"] == found["sink_lag_seconds{sqlite}"] == 0
        assert found["sink_failing{sqlite}"] == found["journal_failing"] == 0
        assert 0 < found["sink_commit_seconds_sum{sqlite}"] < 60
        commits = found["sink_commit_seconds_count{sqlite}"]
        assert found["sink_commit_seconds_bucket{+Inf,sqlite}"] == commits
        assert site.request("/healthz").body == site.request("/readyz").body == b"ok\n"


def test_counters_go_on_after_a_reload(tmp_path: Path) -> None:
    with Server(tmp_path, web=ANY_PORT) as server:
        send(server, "one")
        server.wait_stored(1)
        commits = scrape(site_of(server))["sink_commit_seconds_count{sqlite}"]
        server.reload()
        send(server, "two")
        server.wait_stored(2)
        with serving(server.data) as site:
            becomes(site, "received_frames_total", lambda value: value == 2)
            becomes(site, "sink_commit_seconds_count{sqlite}", lambda value: value > commits)
            assert scrape(site)["reloads_total"] == 1


def test_a_sink_that_does_not_store_is_seen(tmp_path: Path) -> None:
    with Server(tmp_path, web=ANY_PORT) as server:
        site = site_of(server)
        send(server, "one")
        server.wait_stored(1)
        with stopped(server.children()["worker sqlite"]):
            send(server, "two", "three")
            becomes(site, "sink_lag_records{sqlite}", lambda value: value == 2)
            becomes(site, "sink_lag_seconds{sqlite}", lambda value: value > 0.5)
        becomes(site, "sink_lag_records{sqlite}", lambda value: value == 0)


def test_a_sink_that_could_never_be_opened_is_seen(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="a database needs the extra 'postgres'")
    with Server(tmp_path, web=ANY_PORT, sinks=["postgresql://nobody@127.0.0.1:1/logs"]) as server:
        becomes(site_of(server), "sink_failing{postgresql}", lambda value: value == 1)


def test_losses_and_rejections_are_counted_by_reason(tmp_path: Path) -> None:
    with Server(tmp_path, web=ANY_PORT, config=SMALL_JOURNAL) as server:
        site = site_of(server)
        with server.connect(b"GET / HTTP/1.1\r\n\r\n"):
            becomes(site, "rejected_by_reason_total{http}", lambda value: value == 1)
        with stopped(server.children()["worker sqlite"]):
            while not scrape(site)["dropped_records_total"]:
                send(server, *["x" * 4000] * 200)
            assert scrape(site)["journal_bytes"] > 0.5 * scrape(site)["journal_limit_bytes"]
        wait_for(lambda: bool(server.losses()), "the losses are in the ledger")
        dropped = scrape(site)["dropped_records_total"]
        becomes(site, "lost_records_total", lambda value: value == dropped)


def test_a_journal_that_cannot_be_written_makes_the_server_unready(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", "8m") as disk, Server(tmp_path, web=ANY_PORT) as server:
        site = site_of(server)
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        send(server, *["x" * 4000] * 200)
        becomes(site, "journal_failing", lambda value: value == 1)
        answer = site.request("/readyz")
        assert (answer.status, answer.body) == (503, b"journal: cannot write: disk full\n")
        assert site.request("/healthz").status == 200
        ballast.unlink()
        wait_for(lambda: site.request("/readyz").status == 200, "the journal is written again")


def test_without_a_server_probes_fail_and_metrics_say_so(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        send(server, "one")
        server.wait_stored(1)
    with serving(tmp_path / "data") as site:
        becomes(site, "receiver_up", lambda value: value == 0)
        answer = site.request("/healthz")
        assert answer.status == 503
        assert answer.body.startswith(b"the receiver has written no status for ")
        assert site.request("/readyz").status == 503


def test_metrics_need_the_token_and_probes_do_not(tmp_path: Path) -> None:
    config = '[web]\ntokens = ["prometheus:secret-of-prometheus"]\n'
    with Server(tmp_path, web=ANY_PORT, config=config) as server:
        site = site_of(server)
        assert site.request("/metrics").status == 401
        token = {"Authorization": "Bearer secret-of-prometheus"}
        assert site.request("/metrics", headers=token).status == 200
        assert site.request("/healthz").status == 200


def test_what_is_filtered_and_redacted_is_counted_and_the_counts_outlive_a_restart(
    tmp_path: Path,
) -> None:
    config = (
        '[[sink]]\nurl = "sqlite:"\nfilter = "level>=WARNING"\n'
        '[[redact]]\npattern = "secret"\nname = "words"\n'
    )
    frames = [stock_frame(f"{n} secret", level) for n, level in enumerate((20, 30, 10, 40))]
    with Server(tmp_path, web=ANY_PORT, config=config) as server:
        server.connect(b"".join(frames)).close()
        for _ in range(2):
            site = site_of(server)
            becomes(site, "sink_filtered_records_total{sqlite}", lambda value: value == 2)
            becomes(site, "sink_redacted_records_total{words,sqlite}", lambda value: value == 2)
            assert [row["message"] for row in server.records()] == ["1 ***", "3 ***"]
            server.stop()
            server.start()
        printed = subprocess.run(
            [FASTLOG, "stats", "--data-dir", server.data],
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout  # fmt: skip
    assert "sink sqlite: its filter has left out 2 records\n" in printed
    assert "sink sqlite: redacted by words: 2 records\n" in printed
