"""The loop rejects frames over the limit, other protocols, and options out of range."""

from __future__ import annotations

import re
import socket
import struct
import threading

import pytest
from loop_receiver import KIB, encode, receiving, was_closed
from places import ROOT

from fastlog import FRAME_LIMIT
from fastlog.core import Loop


@pytest.mark.parametrize("limit", [100, 40 * KIB, FRAME_LIMIT])
def test_the_frame_limit_is_exact_and_closes_only_that_connection(limit: int) -> None:
    with receiving(max_frame=limit) as receiver:
        fine = receiver.connect()
        too_long = receiver.connect(struct.pack(">I", limit + 1) + b"head")
        threads = [
            threading.Thread(target=fine.sendall, args=[encode(bytes(limit - 1), bytes(limit))])
        ]
        threads[0].start()
        receiver.until(lambda: receiver.loop.stats().frames == 2 and receiver.loop.stats().rejected)
        threads[0].join()
        assert [len(frame) for frame in receiver.frames()] == [limit - 1, limit]
        (rejection,) = receiver.loop.rejections()
        label = "frame over the limit" if limit < FRAME_LIMIT else "unknown protocol"
        host, port = too_long.getsockname()
        assert rejection.reason == label
        assert (rejection.peer, rejection.length) == (f"{host}:{port}", limit + 1)
        assert rejection.head == struct.pack(">I", limit + 1) + b"head"
        assert was_closed(too_long)


OTHER_PROTOCOLS = {
    "http": [
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /x HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    "tls": [b"\x16\x03\x01\x02\x00\x01\x00"],
    "syslog": [b"<34>1 2026-11-23T00:00:00Z host app - - - hello\n"],
    "fluentd": [b"\x93\xa3tag\x00\x81\xa1k\xa1v", b"\x94\xa3tag"],
    "lumberjack": [b"2W\x00\x00\x00\x01", b"1W\x00\x00\x00\x01"],
    "unknown protocol": [b"\xff\xfe\xfd\xfc", b"SSH-2.0-OpenSSH", b"G"],
}


@pytest.mark.parametrize(
    ("label", "first"),
    [(label, first) for label, firsts in OTHER_PROTOCOLS.items() for first in firsts],
)
def test_another_protocol_is_recognised_and_closed_without_a_reply(
    label: str, first: bytes
) -> None:
    with receiving() as receiver:
        client = receiver.connect(first)
        client.shutdown(socket.SHUT_WR)
        receiver.until(lambda: receiver.loop.stats().rejected)
        assert receiver.loop.stats().rejected == {label: 1}
        assert was_closed(client)
        assert receiver.blocks == []


def test_a_client_that_sent_a_frame_is_never_counted_as_another_protocol() -> None:
    with receiving() as receiver:
        receiver.connect(encode(b"valid") + b"GET / HTTP/1.1")
        receiver.until(lambda: receiver.loop.stats().rejected)
        assert receiver.loop.stats().rejected == {"frame over the limit": 1}
        assert receiver.frames() == [b"valid"]


def test_rejections_beyond_the_queue_are_counted() -> None:
    with receiving() as receiver:
        for _ in range(300):
            receiver.connect(b"\0\0\0\1").close()
        receiver.until(lambda: receiver.loop.stats().rejected.get("truncated") == 300)
        assert receiver.loop.stats().unreported == 44
        assert len(receiver.loop.rejections()) == 256
        assert receiver.loop.rejections() == []


@pytest.mark.parametrize(
    "options",
    [
        {"max_frame": 0},
        {"max_frame": FRAME_LIMIT + 1},
        {"max_connections": 0},
        {"connections_per_host": 0},
        {"arena": 100},
    ],
)
def test_options_out_of_range_are_rejected(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Loop(lambda block, count: None, **options)  # type: ignore[arg-type]


def test_the_page_about_closed_connections_has_each_reason() -> None:
    source = (ROOT / "csrc" / "loop" / "rejection.c").read_text()
    reasons = re.findall(r'case FL_REASON_\w+: return "(.+)";', source)
    assert len(reasons) == 18
    page = (ROOT / "docs" / "debugging.md").read_text()
    for reason in reasons:
        assert f"`{reason}`" in page
