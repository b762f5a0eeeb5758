"""The configurations of docs/jetstream.md work."""

from __future__ import annotations

import re
from pathlib import Path

from conditions import wait_for
from nats_servers import NatsCluster
from nats_stores import shared_cluster
from places import ROOT
from postgres_stores import Database, database, postgres_servers
from senders import stock_frame
from servers import Server

__all__ = ["database", "postgres_servers", "shared_cluster"]

TEXT = (ROOT / "docs/jetstream.md").read_text("utf-8")
CLUSTER = (
    "nats://n1.example.org,n2.example.org,n3.example.org/LOGS?creds=/etc/fastlog/fastlog.creds"
)
DATABASE = "postgresql://fastlog@db.example.org/logs?sslmode=require"


def test_the_two_configurations(
    tmp_path: Path, shared_cluster: NatsCluster, database: Database
) -> None:
    url = shared_cluster.url("DOCS", prefix="docs")
    assert TEXT.count(CLUSTER) == 2
    assert TEXT.count(DATABASE) == 1
    text = TEXT.replace(CLUSTER, url).replace(DATABASE, database.url())
    collector, central = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    for name in ("host", "central"):
        (tmp_path / name).mkdir()
    with (
        Server(tmp_path / "host", config=collector) as host,
        Server(tmp_path / "central", config=central) as server,
    ):
        assert "; taking blocks from nats://" in server.ready_line
        host.connect(stock_frame("through the cluster")).close()
        exists = "SELECT to_regclass('fastlog.records') IS NOT NULL"
        wait_for(lambda: database.execute(exists) == [(True,)])
        wait_for(database.messages)
        assert database.messages() == ["through the cluster"]


def test_every_option_is_described() -> None:
    described = re.findall(r"^\| (`[a-z_`, ]+`) \|", TEXT, re.MULTILINE)
    names = {name for cell in described for name in re.findall(r"`([a-z_]+)`", cell)}
    source = (ROOT / "fastlog/jetstream/target.py").read_text("utf-8")
    [options] = re.findall(r"_OPTIONS: Final = \((.*?)\n\)", source, re.DOTALL)
    assert names == set(re.findall(r'"([a-z_]+)"', options))
