"""Credentials and TLS of a cluster: each way works, a wrong one is named, and no secret is shown.

A server has a wrong file first. It must say so once, try again, and work when the file is right.
"""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from certificates import Certificates
from conditions import wait_for
from installed_server import Installed
from nats_credentials import Operator, user_key
from nats_servers import NatsCluster, nats_cluster
from nats_stores import CONFIG, Fleet, connect, node_id, position_of, shared_cluster
from places import ROOT
from postgres_stores import Database, database, postgres_servers
from senders import stock_frame
from servers import FASTLOG, Server, processes_of

from fastlog.errors import SinkUnavailableError
from fastlog.jetstream.node_state import NodeState, write_state

__all__ = ["database", "postgres_servers", "shared_cluster"]

pytestmark = pytest.mark.long

REFUSED = "authentication error"
HANDSHAKE = "TLS handshake error"


@contextmanager
def collector(home: Path, url: str) -> Iterator[Server]:
    """Run a collector whose URL is in its configuration only; check what it shows of it."""
    sinks = f'[[sink]]\nurl = "{url}"\n[[sink]]\nurl = "sqlite:"\n'  # the page needs a store
    server = Installed(home, config=f"{CONFIG}\n{sinks}", web="http://127.0.0.1:0")
    server.set("fastlog.worker.sink_status", LAST_DELAY=0.5)  # between attempts; usually five
    server.set("fastlog.jetstream.connection", CONNECT_TIMEOUT=2.5)  # an attempt; usually five
    with server:
        yield server
        assert "Traceback" not in server.messages()


def shown(server: Server) -> str:
    """Return all that a server shows of its configuration, and all that it writes."""
    config = server.home / "fastlog.toml"
    texts = [server.messages()]
    for words in (
        ("stats", "--data-dir", server.data),
        ("stats", "--json", "--data-dir", server.data),
        ("check", "--config", config, "--data-dir", server.data),
    ):
        command = [str(word) for word in (FASTLOG, *words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        texts += done.stdout, done.stderr
    page = server.ready_line.strip().rpartition("; page at ")[2].rstrip("/")
    for path in ("/api/v1/status", "/metrics"):
        with urllib.request.urlopen(f"{page}{path}") as answer:
            texts.append(answer.read().decode())
    texts += [Path(f"/proc/{pid}/cmdline").read_text() for pid, _ in processes_of(server.data)]
    for path in server.data.rglob("*"):
        with suppress(FileNotFoundError, IsADirectoryError):  # a file may be replaced meanwhile
            texts.append(path.read_bytes().decode("utf-8", "replace"))
    return "\n".join(texts)


def assert_publishes(server: Server, secret: str = "") -> None:
    server.connect(stock_frame("hello")).close()
    wait_for(lambda: position_of(server).get("index") == 1, "published")
    assert not secret or secret not in shown(server)


def assert_refused(server: Server, cluster: NatsCluster, sign: str, why: str) -> None:
    """Wait until a server was refused some times; check that one line says so."""
    before = cluster.servers[0].messages().count(sign)
    wait_for(lambda: cluster.servers[0].messages().count(sign) >= before + 2, "refused again")
    lines = [line for line in server.messages().splitlines() if "trying again" in line]
    assert len(lines) == 1
    assert re.search(why, lines[0])


def test_user_and_password(tmp_path: Path) -> None:
    more = 'authorization { user: app, password: "s3cr3t/of:app" }'
    with nats_cluster(size=1, more=more) as cluster:
        with collector(made(tmp_path / "a"), cluster.url(user="app:s3cr3t%2Fof%3Aapp")) as server:
            assert_publishes(server, "s3cr3t")
        with collector(made(tmp_path / "b"), cluster.url(user="app:other-s3cr3t")) as server:
            assert_refused(server, cluster, REFUSED, "Authorization Violation")
            assert "s3cr3t" not in shown(server)


def made(home: Path) -> Path:
    home.mkdir()
    return home


def test_an_nkey(tmp_path: Path) -> None:
    right, wrong, file = user_key(), user_key(), tmp_path / "seed"
    more = f"authorization {{ users: [ {{ nkey: {right.public} }} ] }}"
    with nats_cluster(size=1, more=more) as cluster:
        file.write_text(wrong.seed)
        with collector(tmp_path, cluster.url(nkey=file)) as server:
            assert_refused(server, cluster, REFUSED, "Authorization Violation")
            assert wrong.seed not in shown(server)
            file.write_text(right.seed + "\n")
            assert_publishes(server, right.seed)


def test_a_file_of_credentials(tmp_path: Path) -> None:
    operator, file = Operator(), tmp_path / "fastlog.creds"
    with nats_cluster(size=1, more=operator.config()) as cluster:
        wrong = Operator().write_user(file)
        with collector(tmp_path, cluster.url(creds=file)) as server:
            assert_refused(server, cluster, REFUSED, "Authorization Violation")
            assert wrong not in shown(server)
            right = operator.write_user(file)
            assert_publishes(server, right)


@pytest.mark.parametrize(
    "damage", [lambda file: file.unlink(), lambda file: file.write_text("SUAnonsense")]
)
@pytest.mark.parametrize("kind", ["creds", "nkey"])
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, shared_cluster: NatsCluster, kind: str, damage: Callable[[Path], object]
) -> None:
    file = tmp_path / "file"
    file.touch()
    damage(file)
    with collector(tmp_path, shared_cluster.url(**{kind: file})) as server:
        wait_for(lambda: "trying again" in server.messages())
        [line] = [line for line in server.messages().splitlines() if "trying again" in line]
        assert str(file) in line
        assert "nonsense" not in line


def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    right, other = Certificates(made(tmp_path / "right")), Certificates(made(tmp_path / "other"))
    certificate = right.issue("server", dns="127.0.0.1")
    more = f'tls {{ cert_file: "{certificate}", key_file: "{certificate}" }}'
    with nats_cluster(size=1, more=more) as cluster:
        file = tmp_path / "ca.pem"
        file.write_bytes(other.ca.read_bytes())
        with collector(tmp_path, cluster.url(tls_ca=file)) as server:
            assert_refused(server, cluster, HANDSHAKE, "CERTIFICATE_VERIFY_FAILED")
            file.write_bytes(right.ca.read_bytes())
            assert_publishes(server)


def test_client_certificates(tmp_path: Path) -> None:
    right, other = Certificates(made(tmp_path / "right")), Certificates(made(tmp_path / "other"))
    certificate = right.issue("server", dns="127.0.0.1")
    more = f"""tls {{
        cert_file: "{certificate}", key_file: "{certificate}", ca_file: "{right.ca}", verify: true
    }}"""
    with nats_cluster(size=1, more=more) as cluster:
        file = tmp_path / "client.pem"
        file.write_bytes(other.issue("host").read_bytes())
        url = cluster.url(tls_ca=right.ca, tls_cert=file)
        with collector(made(tmp_path / "a"), url) as server:
            assert_refused(server, cluster, HANDSHAKE, "unknown ca|the client's certificate")
            file.write_bytes(right.issue("host").read_bytes())
            assert_publishes(server)
        with collector(made(tmp_path / "b"), cluster.url(tls_ca=right.ca)) as server:
            assert_refused(server, cluster, HANDSHAKE, "certificate")


def rights() -> str:
    """Return the configuration of a server that docs/jetstream.md shows."""
    text = (ROOT / "docs/jetstream.md").read_text("utf-8")
    [config] = re.findall(r"```\n(authorization .*?)```", text, re.DOTALL)
    return str(config)


def test_collectors_need_few_rights(tmp_path: Path, database: Database) -> None:
    """They cannot say what is stored, and a right that is missing is named."""
    with nats_cluster(size=1, more=rights()) as cluster:
        url = cluster.url(user="collector:change%20this")
        with Fleet(tmp_path, url, database) as fleet:
            first = fleet.collector()
            wait_for(lambda: "trying again" in first.messages())
            missing = 'permissions violation for publish to "$js.api.stream.create'
            assert missing in first.messages().lower()
            fleet.central(cluster.url(user="central:change%20this"))
            fleet.send(20)
            fleet.assert_stored()
            fleet.assert_released()
            connection = connect(url)
            try:
                with pytest.raises(SinkUnavailableError, match=r"(?i)permissions violation"):
                    write_state(connection, node_id(first), NodeState(stored=1 << 40), 0)
            finally:
                connection.close()
