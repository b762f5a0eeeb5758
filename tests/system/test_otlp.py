"""A server with an OTLP sink: with a real collector, and a receiver that fails in all ways."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conditions import wait_for
from otlp_receivers import PROTOBUF, Received, Receiver, Reply, partial_success, status_message
from places import ROOT
from rotel_agents import agent, rotel
from senders import stock_frame
from servers import FASTLOG, Server, kill

from fastlog.journal import read_positions
from fastlog.sinks.otlp.extras import decode

TEXT = (ROOT / "docs/otlp.md").read_text("utf-8")
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: no\nmore'


def frames() -> bytes:
    """Return records of many kinds."""
    nested = {"a": [1, 2.5, None, True, {"b": 2**70}]}
    many = [
        stock_frame(f"record {n}", random.Random(n).choice([10, 20, 25, 50])) for n in range(200)
    ]
    return b"".join(
        [
            *many,
            stock_frame("nested", extra_dict=nested, nan=float("nan")),
            stock_frame("failed\nin two lines", 40, exc_text=TRACEBACK, stack_info="Stack:\n  …"),
            stock_frame("traced", otelTraceID=TRACE, otelSpanID=SPAN, otelTraceSampled=True),
            stock_frame("dd", **{"dd.trace_id": "77", "dd.span_id": "78", "dd.service": "cart"}),
            stock_frame("long", 40, exc_text=TRACEBACK + "x" * 40_000),
        ]
    )  # fmt: skip


@pytest.mark.skipif(agent() is None, reason="rotel is not installed")
def test_every_record_arrives_through_a_real_collector_as_it_is_in_the_store(
    tmp_path: Path,
) -> None:
    with (
        Receiver() as receiver,
        rotel(tmp_path, f"http://127.0.0.1:{receiver.port}") as port,
        Server(
            tmp_path, sinks=["sqlite:", f"otlp+http://127.0.0.1:{port}?service.name=shop"]
        ) as server,
    ):
        server.connect(frames()).close()
        server.wait_stored(205)
        wait_for(lambda: len(receiver.accepted) >= 205, "all records pass through rotel")
        rows = {f"{row['node']}/{row['offset']}/{row['idx']}": row for row in server.records()}
        found = {one.uid: one for one in receiver.accepted}
        assert server.stop() == 0
    assert len(receiver.accepted) == 205
    assert found.keys() == rows.keys()
    for uid, row in rows.items():
        compare(row, found[uid])


def compare(row: dict[str, Any], found: Received) -> None:
    """Check that a receiver has what the store has."""
    message, attributes = found.record, dict(found.attributes)
    extra = decode(row["extra"])
    assert abs(message.time_unix_nano / 1e9 - row["created"]) < 1e-5
    assert abs(message.observed_time_unix_nano / 1e9 - row["received"]) < 1e-5
    assert message.severity_text == row["levelname"]
    assert message.severity_number == 4 * row["levelno"] // 10 + 1
    assert found.scope == row["name"]
    assert attributes.pop("log.record.uid").endswith(f"/{row['offset']}/{row['idx']}")
    expected = {
        "code.function.name": "app.run",
        "code.file.path": row["pathname"],
        "code.line.number": row["lineno"],
        "process.pid": row["process"],
        "python.process.name": row["processName"],
        "thread.id": row["thread"],
        "thread.name": row["threadName"],
        "code.stacktrace": row["stack_info"],
    }
    body, text = row["message"], row["exc_text"]
    if text is not None:
        expected |= {"exception.type": "ValueError", "exception.message": "no\nmore"}
        if len(text) > 32 << 10:
            body += "\n" + text
            assert attributes.pop("exception.message").startswith("no\nmorexx")
            del expected["exception.message"]
        else:
            expected["exception.stacktrace"] = text
    service = extra.pop("dd.service", "shop")
    assert found.resource["service.name"] == service
    if (trace := extra.pop("otelTraceID", None)) is not None:
        assert (message.trace_id.hex(), message.span_id.hex()) == (trace, extra.pop("otelSpanID"))
        assert message.flags == extra.pop("otelTraceSampled")
    if (trace := extra.pop("dd.trace_id", None)) is not None:
        ids = (int.from_bytes(message.trace_id, "big"), int.from_bytes(message.span_id, "big"))
        assert ids == (int(trace), int(extra.pop("dd.span_id")))
    if "extra_dict" in extra:
        extra["extra_dict"]["a"][4]["b"] = str(2**70)
    assert found.body == body
    expected = {name: value for name, value in expected.items() if value is not None}
    assert attributes == expected | extra


def kill_worker(server: Server) -> None:
    before = server.children()["worker otlp-http"]
    kill(before)
    wait_for(lambda: server.children().get("worker otlp-http", before) != before)


class Whims:
    """Answers as badly as a receiver may, and rejects some records by their number."""

    def __init__(self) -> None:
        self.random = random.Random(7)
        self.partial = 0
        """Answers of partial success, each of which rejects a record."""
        self.once = [Reply(cut=True), Reply(200, b"<html>hello", content_type="text/html")]
        self.is_kind = False

    def __call__(self, found: list[Received]) -> Reply:
        numbers = [one.attributes.get("number", -1) for one in found]
        if any(number % 97 == 13 for number in numbers):
            return Reply(400, status_message("number 13"))
        if len(found) > 60:
            return Reply(413)
        whim = 9 if self.is_kind else self.random.randrange(10)
        if whim < 2:
            status = self.random.choice([429, 503, 500, 502, 504, 404])
            return Reply(status, headers={"Retry-After": "0"})
        if whim == 2 and self.once:
            return self.once.pop()
        if 50 in numbers:
            self.partial += 1
            return Reply(200, partial_success(1, "one of them"), content_type=PROTOBUF)
        return Reply()


def test_nothing_is_missing_whatever_the_receiver_answers_and_whoever_dies(
    tmp_path: Path,
) -> None:
    def disturb(server: Server, number: int) -> None:
        if number in (200, 400):
            kill_worker(server)
        if number == 300:
            server.reload()

    with Receiver() as receiver, Server(tmp_path, sinks=[receiver.url()]) as server:
        send_and_compare(server, receiver, iter(range(600)), disturb)


@pytest.mark.soak
def test_nothing_is_missing_over_a_long_time(tmp_path: Path) -> None:
    deadline = time.monotonic() + 60 * float(os.environ.get("SOAK_MINUTES", "10"))
    chance, pause = random.Random(1), threading.Event()

    def numbers() -> Iterator[int]:
        number = 0
        while time.monotonic() < deadline:
            yield number
            number += 1
            if number % 50 == 0:
                pause.wait(0.02)  # an even load

    def disturb(server: Server, number: int) -> None:
        if number % 1000 == 999:
            how = chance.choice([kill_worker, Server.reload, lambda _: None])
            how(server)

    with Receiver() as receiver, Server(tmp_path, sinks=[receiver.url()]) as server:
        send_and_compare(server, receiver, numbers(), disturb)


def send_and_compare(
    server: Server,
    receiver: Receiver,
    numbers: Iterator[int],
    disturb: Callable[[Server, int], None],
) -> None:
    """Send numbered records to a receiver with whims, and compare what was sent and received."""
    receiver.reply = whims = Whims()
    count = 0
    with server.connect() as connection:
        for number in numbers:
            connection.sendall(stock_frame(str(number), number=number))
            disturb(server, number)
            count = number + 1
    bad = {number for number in range(count) if number % 97 == 13}
    whims.is_kind = True
    good = set(map(str, range(count))) - set(map(str, bad))
    wait_for(lambda: set(receiver.messages()) >= good, "all records arrive", 120)
    assert server.stop() == 0

    assert set(receiver.messages()) == good
    rejected = [row for row in server.rejected() if row["reason"].startswith("HTTP 400")]
    assert Counter(row["count"] for row in rejected) == {1: len(bad)}
    assert all(row["sink"] == "otlp-http" for row in rejected)
    partial = [row for row in server.rejected() if row["reason"] == "partial success: one of them"]
    assert 1 <= sum(row["count"] for row in partial) <= whims.partial
    first = {message: at for at, message in reversed([*enumerate(receiver.messages())])}
    order = sorted(good, key=first.__getitem__)
    assert order == sorted(good, key=int), "in the client's order, but for what is sent again"


def test_a_receiver_that_is_away_costs_nothing_but_patience(tmp_path: Path) -> None:
    """It is shown as down, it does not delay an end or a reload, and it gets everything later."""
    with Receiver() as receiver:
        url = receiver.url("timeout=1h")
        with Server(tmp_path, config=f'[[sink]]\nurl = "{url}"\n') as server:
            at_once = {"Retry-After": "0"}
            receiver.reply = lambda _: Reply(503, status_message("full"), at_once)
            server.connect(b"".join(stock_frame(str(n)) for n in range(50))).close()
            wait_for(lambda: getattr(read_positions(server.data).get("otlp-http"), "error", None))
            label = url.partition("?")[0]
            assert read_positions(server.data)["otlp-http"].error == f"{label}: HTTP 503: full"
            stats = fastlog("stats", "--json", "--data-dir", server.data)
            (sink,) = json.loads(stats.stdout)["sinks"]
            assert (sink["name"], sink["error"]) == ("otlp-http", f"{label}: HTTP 503: full")
            check = fastlog(
                "check", "--config", tmp_path / "fastlog.toml", "--data-dir", server.data
            )
            assert check.returncode == 1
            assert f"FAILED  sink otlp-http: {label}: it does not take a request without" in (
                check.stdout
            )

            receiver.reply = lambda _: Reply(silent=True)
            asked = len(receiver.requests)
            wait_for(lambda: len(receiver.requests) > asked, "the sink waits for an answer")
            before = server.children()["worker otlp-http"]
            asked = len(receiver.requests)
            server.reload()
            wait_for(lambda: server.children().get("worker otlp-http", before) != before)
            ended = "worker[otlp-http]: stopped at offset 0"  # it was not killed
            assert server.messages().count(ended) == 1
            wait_for(lambda: len(receiver.requests) > asked, "the sink waits for an answer")
            assert server.stop() == 0
            assert server.messages().count(ended) == 2
            assert server.messages().count("HTTP 503: full; trying again") == 1

            receiver.reply = lambda _: Reply()
            server.start()
            wait_for(lambda: len(receiver.accepted) >= 50, "all records arrive")
            assert receiver.messages() == [str(n) for n in range(50)]


def fastlog(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [FASTLOG, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_configuration_of_the_documentation(tmp_path: Path) -> None:
    [config] = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    [headers] = re.findall(r"```text\n(Authorization.*?)```", TEXT, re.DOTALL)
    file = tmp_path / "otlp-headers"
    file.write_text(headers)
    with Receiver() as receiver:
        place = "otlp+http://otel.example.org:4318"
        assert place in config
        config = config.replace(place, receiver.url())
        config = config.replace("/etc/fastlog/otlp-headers", str(file))
        with Server(tmp_path, config=config) as server:
            server.connect(stock_frame("fine", 20)).close()
            wait_for(lambda: receiver.accepted)
            (found,) = receiver.accepted
            assert found.resource["service.name"] == "shop"
            assert found.resource["deployment.environment.name"] == "production"
            assert receiver.headers[0]["authorization"].startswith("Basic ")
            secret = receiver.headers[0]["authorization"].partition(" ")[2]
            assert server.stop() == 0
            assert secret not in server.messages()
            assert server.ready_line.endswith(f"{receiver.url()}\n")


def test_a_receiver_that_does_not_listen(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Server(tmp_path, sinks=[f"otlp+http://127.0.0.1:{port}"]) as server:
        server.connect(stock_frame("early")).close()
        wait_for(lambda: "Connection refused; trying again" in server.messages())
        with Receiver(port) as receiver:
            wait_for(lambda: receiver.messages() == ["early"])
            assert server.stop() == 0
