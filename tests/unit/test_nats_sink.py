"""The sink `nats:` against a real cluster: lost answers, lost messages, streams that are full."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import nkeys
import pytest
from builders import NODE, make_chain, make_context
from nats_attacks import packet
from nats_servers import NatsCluster, nats_cluster
from nats_stores import connect, shared_cluster

from fastlog.config import Config, SinkConfig
from fastlog.decode import Decoded
from fastlog.errors import ConfigError, SinkConflictError, SinkUnavailableError
from fastlog.jetstream import streams
from fastlog.jetstream.connection import Connection
from fastlog.jetstream.examination import examine
from fastlog.jetstream.node_state import Gap, NodeState, read_state, write_state
from fastlog.jetstream.packet import read_part
from fastlog.routing import make_decoder
from fastlog.sinks.nats import NatsSink

__all__ = ["shared_cluster"]

CHAIN = make_chain([([f"m{n}"], 20_780 * 86_400) for n in range(6)])
ENDS = [each.block.end for each in CHAIN]
_numbers = itertools.count()


class Bench:
    """A sink, and a connection of the test's own to its stream."""

    def __init__(self, tmp_path: Path, url: str) -> None:
        self.tmp_path, self.url = tmp_path, url
        self.now = 0.0
        self.sink = self.make()
        self.connection = connect(url)

    def make(self) -> NatsSink:
        return NatsSink(make_context(self.tmp_path, self.url, steady=lambda: self.now))

    def published(self) -> list[tuple[int, int]]:
        """Return where each message of the subject begins and ends."""
        target = self.connection.target
        state = streams.read_info(self.connection, target.stream).state
        found, seq = [], 0
        while len(found) < state.messages:
            question = {"next_by_subj": target.blocks_of(NODE), "seq": seq + 1}
            answer = self.connection.ask(f"STREAM.MSG.GET.{target.stream}", question)
            seq, data = read_message(answer)
            part = read_part(data)
            assert part is not None
            found.append((part.follows, part.end))
        return found

    def set_state(self, **fields: Any) -> None:
        known = read_state(self.connection, NODE)
        write_state(self.connection, NODE, NodeState(**fields), known.seq)
        self.now += 1


def read_message(answer: bytes) -> tuple[int, bytes]:
    import base64
    import json

    message = json.loads(answer)["message"]
    return message["seq"], base64.b64decode(message["data"])


@pytest.fixture
def bench(tmp_path: Path, shared_cluster: NatsCluster) -> Iterator[Bench]:
    number = next(_numbers)
    bench = Bench(tmp_path, shared_cluster.url(f"U{number}", prefix=f"u{number}"))
    yield bench
    bench.sink.close()
    bench.connection.close()


def losing_answers(publish: Callable[..., int], lost: int) -> Callable[..., int]:
    """Return a `publish` whose first answers do not arrive, though the messages do."""

    def lose(*arguments: Any) -> int:
        nonlocal lost
        seq = publish(*arguments)
        lost -= 1
        if lost >= 0:
            raise SinkUnavailableError("no answer in time")
        return seq

    return lose


def apply(sink: NatsSink, blocks: list[Decoded]) -> None:
    """Apply as a worker does: one call after another until all is applied."""
    for _ in range(20):
        blocks = [each for each in blocks if each.block.end > sink.cursor()]
        if not blocks:
            return
        try:
            sink.apply(blocks)
        except SinkUnavailableError:
            continue
    raise AssertionError("nothing helps")


def test_a_message_whose_answer_is_lost_is_not_published_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = bench.sink
    assert sink.open(NODE) == 0
    monkeypatch.setattr(Connection, "publish", losing_answers(Connection.publish, 2))
    for block in CHAIN:
        apply(sink, [block])
    assert bench.published() == list(zip([0, *ENDS], ENDS, strict=False))


def test_a_new_process_continues_behind_the_last_message(bench: Bench) -> None:
    assert bench.sink.open(NODE) == 0
    bench.sink.apply(CHAIN[:2])
    other = bench.make()
    assert other.open(NODE) == ENDS[1]
    other.apply(CHAIN[2:])
    other.close()
    assert bench.published() == [(0, ENDS[1]), (ENDS[1], ENDS[-1])]


def test_two_processes_cannot_publish_a_block_twice(bench: Bench) -> None:
    """The second one is rejected, finds the block in the stream, and goes on after it."""
    other = bench.make()
    bench.sink.open(NODE)
    other.open(NODE)
    bench.sink.apply(CHAIN[:2])
    with pytest.raises(SinkUnavailableError):
        other.apply(CHAIN[:1])
    other.apply(CHAIN[:2])
    assert other.cursor() == ENDS[1]
    other.close()
    assert bench.published() == [(0, ENDS[1])]


def test_durable_is_only_what_the_central_has_stored(bench: Bench) -> None:
    bench.sink.open(NODE)
    bench.sink.apply(CHAIN)
    assert bench.sink.sync() == 0
    bench.set_state(stored=ENDS[2], owner="central")
    assert bench.sink.sync() == ENDS[2]
    assert bench.sink.cursor() == ENDS[-1]


def test_a_stream_that_lost_its_end_is_noticed_at_the_next_block(bench: Bench) -> None:
    bench.sink.open(NODE)
    for block in CHAIN[:4]:
        bench.sink.apply([block])
    target = bench.connection.target
    for _ in range(2):
        last = bench.connection.last(target.stream, target.blocks_of(NODE))
        assert last is not None
        bench.connection.ask(f"STREAM.MSG.DELETE.{target.stream}", {"seq": last.seq})
    with pytest.raises(SinkUnavailableError, match="wrong last sequence"):
        bench.sink.apply(CHAIN[4:])
    with pytest.raises(SinkConflictError, match="has lost blocks"):
        bench.sink.apply(CHAIN[4:])
    assert bench.sink.open(NODE) == ENDS[1]
    bench.sink.apply(CHAIN[2:])
    assert bench.published()[-1] == (ENDS[1], ENDS[-1])


def test_a_gap_that_the_central_reports_is_published_again_once(bench: Bench) -> None:
    bench.sink.open(NODE)
    for block in CHAIN:
        bench.sink.apply([block])
    seq = bench.sink._seq
    bench.set_state(stored=ENDS[0], gap=Gap(ENDS[0], seq))
    with pytest.raises(SinkConflictError, match="misses blocks"):
        bench.sink.sync()
    assert bench.sink.open(NODE) == ENDS[0]
    bench.now += 1
    assert bench.sink.sync() == ENDS[0]  # the report is older than what is published now
    bench.sink.apply(CHAIN[1:])
    assert bench.published()[-1] == (ENDS[0], ENDS[-1])


@pytest.mark.parametrize(
    "foreign", [b"garbage", packet("11" * 16, b"x")], ids=["garbage", "of another node"]
)
def test_somebody_elses_message_on_the_subject_stops_nothing(
    bench: Bench, foreign: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a sink that runs nor one that begins, which publishes again what is not stored."""
    bench.sink.open(NODE)
    apply(bench.sink, CHAIN[:2])
    bench.set_state(stored=ENDS[0])
    target = bench.connection.target

    def publish_foreign() -> None:
        last = bench.connection.last(target.stream, target.blocks_of(NODE))
        assert last is not None
        bench.connection.publish(target.stream, target.blocks_of(NODE), foreign, last.seq)

    publish_foreign()
    apply(bench.sink, CHAIN[2:3])
    publish_foreign()
    with closing(bench.make()) as other:
        assert other.open(NODE) == ENDS[0]
    assert bench.sink.open(NODE) == ENDS[0]
    apply(bench.sink, CHAIN[1:])
    last = bench.connection.last(target.stream, target.blocks_of(NODE))
    assert last is not None
    part = read_part(last.data)
    assert part is not None
    assert (part.follows, part.end) == (ENDS[0], ENDS[-1])
    assert caplog.text.count("is not of this node, or damaged") == 2  # once a sink


def test_a_jump_that_the_sink_has_not_published_is_not_believed(bench: Bench) -> None:
    """It would leave out all blocks up to there."""
    bench.sink.open(NODE)
    target = bench.connection.target
    jump = packet(NODE, b"x", follows=ENDS[0], offset=1 << 60, end=1 << 61)
    bench.connection.publish(target.stream, target.blocks_of(NODE), jump, 0)
    with pytest.raises(SinkUnavailableError, match="wrong last sequence"):
        bench.sink.apply(CHAIN[:2])
    with pytest.raises(SinkConflictError, match="another process has published up to offset"):
        bench.sink.apply(CHAIN[:2])
    assert bench.sink.cursor() == 0


def test_a_full_stream_takes_nothing_and_says_so(tmp_path: Path, bench: Bench) -> None:
    url = bench.url.replace("max_bytes=1GiB", "max_bytes=1MiB")
    sink = NatsSink(make_context(tmp_path, url))
    sink.open(NODE)
    large = make_chain([([os.urandom(400_000).hex()], 20_780 * 86_400) for _ in range(4)])
    with pytest.raises(SinkUnavailableError, match="maximum bytes exceeded"):
        sink.apply(large)
    assert sink.cursor() < large[-1].block.end
    sink.close()


def test_a_cluster_that_is_away_is_named(tmp_path: Path) -> None:
    sink = NatsSink(make_context(tmp_path, "nats://127.0.0.1:1/LOGS"))
    with pytest.raises(SinkUnavailableError, match=r"127.0.0.1:1/LOGS: .*Connect call failed"):
        sink.open(NODE)
    sink.close()


ACCOUNTS = """
authorization { users: [
    { user: app, password: secret, permissions: { publish: ">", subscribe: ">" } }
] }
"""


def test_one_server_with_a_password(tmp_path: Path) -> None:
    """A stream that is less safe is reported, not refused; a wrong password is named."""
    with nats_cluster(size=1, more=ACCOUNTS) as cluster:
        server = cluster.servers[0]
        url = cluster.url(user="app:secret", max_bytes="2MiB", monitor=server.monitor)
        sink = NatsSink(make_context(tmp_path, url))
        assert sink.open(NODE) == 0
        sink.close()
        assert [text.partition(":")[0] for text in examine(url)] == [
            "the stream LOGS has one replica",
            "the stream LOGS holds 2 MiB only",
            "JetStream acknowledges before it syncs (every 10 s), so after a power failure "
            "collectors publish again what it has lost; set sync_interval",
        ]
        wrong = NatsSink(make_context(tmp_path, cluster.url(user="app:wrong")))
        with pytest.raises(SinkUnavailableError, match=r"(?i)authorization violation"):
            wrong.open(NODE)
        wrong.close()


def test_a_payload_limit_that_is_too_small_is_named(tmp_path: Path) -> None:
    with nats_cluster(size=1, more="max_payload: 32KB") as cluster:
        sink = NatsSink(make_context(tmp_path, cluster.url()))
        with pytest.raises(SinkUnavailableError, match="set max_payload to 65536 at least"):
            sink.open(NODE)
        sink.close()


def test_tls_and_an_nkey(tmp_path: Path) -> None:
    """Another key, a certificate that is not trusted, and a file that is missing are named."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        " -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    files = ["-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    seeds = [nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER) for _ in range(2)]
    for name, seed in zip(("mine", "other"), seeds, strict=True):
        (tmp_path / name).write_bytes(seed)
    public = nkeys.from_seed(bytearray(seeds[0])).public_key.decode()
    more = f"""
        authorization {{ users: [ {{ nkey: {public} }} ] }}
        tls {{ cert_file: "{certificate}", key_file: "{key}" }}
    """
    with nats_cluster(size=1, more=more) as cluster:
        mine = cluster.url(nkey=tmp_path / "mine", tls_ca=certificate)
        sink = NatsSink(make_context(tmp_path, mine))
        assert sink.open(NODE) == 0
        sink.apply(CHAIN)
        sink.close()
        for options, why in (
            ({"nkey": tmp_path / "other", "tls_ca": certificate}, "Authorization Violation"),
            ({"nkey": tmp_path / "mine", "tls": "yes"}, "CERTIFICATE_VERIFY_FAILED"),
            ({"nkey": tmp_path / "missing", "tls_ca": certificate}, "No such file"),
        ):
            refused = NatsSink(make_context(tmp_path, cluster.url(**options)))
            with pytest.raises(SinkUnavailableError, match=why):
                refused.open(NODE)
            refused.close()


@pytest.mark.parametrize("routing", [{"filter": "level:error"}, {"fields": ["message"]}])
def test_a_filter_of_what_is_passed_on_is_an_error(routing: dict[str, Any]) -> None:
    """It would have no effect: the stream would have what the user wanted to leave out."""
    settings = SinkConfig("nats://a/LOGS", "nats", "hold", **routing)
    with pytest.raises(ConfigError, match="sink nats passes blocks on as they are"):
        make_decoder(Config(), settings, "blocks", NODE)
