"""A receiver's answer decides what is sent again, what is rejected, and where the cursor is."""

from __future__ import annotations

from collections.abc import Iterator
from math import log2
from pathlib import Path

import pytest
from builders import NODE, Clock, decoded_of, make_block, make_decoded, make_record, numbered
from otlp_receivers import Received, Receiver, Reply, partial_success, status_message
from otlp_sinks import failure_of, open_sink, uids_of

from fastlog.errors import SinkConflictError
from fastlog.sinks import Rejected
from fastlog.sinks.otlp.delivery import FIRST_PAUSE, LAST_PAUSE

TRACEBACK = 'Traceback (most recent call last):\n  File "x"\nValueError: no'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def rejecting(*messages: str, status: int = 400) -> object:
    """Return what rejects requests that have one of these messages."""

    def reply(records: list[Received]) -> Reply:
        if any(record.message in messages for record in records):
            return Reply(status, status_message("it is bad"))
        return Reply()

    return reply


def test_blocks_are_delivered_in_one_request_and_the_cursor_moves(
    tmp_path: Path, receiver: Receiver
) -> None:
    blocks = numbered(5)
    sink = open_sink(tmp_path, receiver.url())
    sink.apply(blocks[:3])

    assert receiver.uids() == uids_of(blocks[:3])
    assert len(receiver.requests) == 1
    assert receiver.paths == ["/v1/logs"]
    assert receiver.headers[0]["content-type"] == "application/x-protobuf"
    assert receiver.headers[0]["content-encoding"] == "gzip"
    assert sink.cursor() == blocks[2].block.end
    assert open_sink(tmp_path, receiver.url()).cursor() == 0, "it is not saved yet"
    assert sink.sync() == blocks[2].block.end
    sink.close()

    again = open_sink(tmp_path, receiver.url("compression=none", path="/other"))
    assert again.cursor() == blocks[2].block.end
    with pytest.raises(SinkConflictError):
        again.apply(blocks[:1])
    again.apply(blocks[3:])
    assert receiver.uids() == uids_of(blocks)
    assert receiver.paths[1] == "/other"
    assert "content-encoding" not in receiver.headers[1]
    again.close()


def test_a_block_without_records_moves_the_cursor_without_a_request(
    tmp_path: Path, receiver: Receiver
) -> None:
    sink = open_sink(tmp_path, receiver.url())
    empty = make_decoded([])
    sink.apply([empty])
    assert sink.cursor() == empty.block.end
    assert receiver.requests == []


@pytest.mark.parametrize("status", [302, 401, 403, 404, 408, 429, 500, 501, 502, 503, 504])
def test_an_error_that_may_pass_moves_nothing_and_all_is_sent_again(
    tmp_path: Path, receiver: Receiver, status: int
) -> None:
    clock, blocks = Clock(), numbered(2)
    sink = open_sink(tmp_path, receiver.url(), steady=clock)
    receiver.replies = [Reply(status, status_message("not now"))]
    failure = failure_of(sink, blocks)

    assert failure.startswith(f"otlp+http://127.0.0.1:{receiver.port}: HTTP {status}")
    assert sink.cursor() == 0
    assert failure_of(sink, blocks) == failure, "the pause is not over"
    assert len(receiver.requests) == 1
    clock.now += FIRST_PAUSE
    sink.apply(blocks)
    assert receiver.uids() == uids_of(blocks)
    assert sink.rejections() == []


def test_pauses_grow_and_end_with_the_first_success(tmp_path: Path, receiver: Receiver) -> None:
    clock, blocks = Clock(), numbered(2)
    sink = open_sink(tmp_path, receiver.url(), steady=clock)
    receiver.reply = lambda _: Reply(503)
    pauses = []
    for count in range(1, 10):
        began = clock.now
        while len(receiver.requests) < count:
            clock.now += FIRST_PAUSE / 20
            failure_of(sink, blocks)
        pauses.append(clock.now - began)
    del pauses[0]  # before the first attempt
    for pause, longest in zip(pauses, [FIRST_PAUSE * 2**n for n in range(8)], strict=True):
        longest = min(longest, LAST_PAUSE)
        assert longest / 2 <= pause <= longest * 1.1
    receiver.reply = lambda _: Reply()
    clock.now += LAST_PAUSE
    sink.apply(blocks[:1])
    receiver.replies = [Reply(503)]
    failure_of(sink, blocks[1:])
    clock.now += FIRST_PAUSE
    sink.apply(blocks[1:])
    assert receiver.uids() == uids_of(blocks)


def test_a_receiver_says_how_long_to_wait(tmp_path: Path, receiver: Receiver) -> None:
    clock, blocks = Clock(), numbered(1)
    sink = open_sink(tmp_path, receiver.url(), steady=clock)
    receiver.replies = [Reply(429, headers={"Retry-After": "60"})]
    assert failure_of(sink, blocks)
    clock.now += 59.9
    assert failure_of(sink, blocks)
    assert len(receiver.requests) == 1
    clock.now += 6.1
    assert failure_of(sink, blocks) == ""


@pytest.mark.parametrize("status", [400, 413])
@pytest.mark.parametrize("bad", [{"0"}, {"29"}, {"11", "12"}, {str(n) for n in range(30)}])
def test_the_bad_records_are_found_and_all_others_delivered_once(
    tmp_path: Path, receiver: Receiver, status: int, bad: set[str]
) -> None:
    blocks = numbered(10)
    sink = open_sink(tmp_path, receiver.url())
    receiver.reply = rejecting(*bad, status=status)
    sink.apply(blocks)

    assert sink.cursor() == blocks[-1].block.end
    good = [str(n) for n in range(30) if str(n) not in bad]
    assert receiver.messages() == good
    reason = f"HTTP {status}: it is bad"
    expected = [
        Rejected(record.offset, record.idx, reason)
        for each in blocks
        for record in each.records
        if record.message in bad
    ]
    assert sink.rejections() == expected
    assert sink.rejections() == [], "they are taken"
    assert len(receiver.requests) <= 2 * len(bad) * (log2(30) + 1) + 2


def test_a_receiver_that_rejects_everything_is_waited_for(
    tmp_path: Path, receiver: Receiver
) -> None:
    clock, blocks = Clock(), numbered(2)
    sink = open_sink(tmp_path, receiver.url(), steady=clock)
    receiver.reply = lambda _: Reply(400, b"tenant is missing", content_type="text/plain")
    failure = failure_of(sink, blocks)

    assert failure.endswith(
        "it does not take a request without records: HTTP 400: tenant is missing"
    )
    assert (sink.rejections(), sink.cursor()) == ([], 0)
    clock.now += LAST_PAUSE
    receiver.reply = lambda _: Reply()
    sink.apply(blocks)
    assert [uid for uid in receiver.uids() if uid] == uids_of(blocks)


def test_after_a_failure_within_a_block_only_the_rest_is_sent(
    tmp_path: Path, receiver: Receiver
) -> None:
    clock = Clock()
    blocks = [make_decoded([f"{n} " + "x" * 2000 for n in range(20)])]
    sink = open_sink(tmp_path, receiver.url("batch_size=8KiB"), steady=clock)
    receiver.replies = [Reply(), Reply(), Reply(503)]
    assert "HTTP 503" in failure_of(sink, blocks)
    assert sink.cursor() == 0, "a block is applied whole or not at all"
    clock.now += LAST_PAUSE
    sink.apply(blocks)
    assert receiver.uids() == uids_of(blocks)
    assert sink.cursor() == blocks[0].block.end


def test_requests_are_as_large_as_configured(tmp_path: Path, receiver: Receiver) -> None:
    block = make_block([])
    lengths = [10, 3000, 5000, 20_000, 1, 2, 7000, 4000]
    records = [make_record("x" * length, idx=idx) for idx, length in enumerate(lengths)]
    sink = open_sink(tmp_path, receiver.url("batch_size=10KiB"))
    sink.apply([decoded_of(block, records)])

    assert len(receiver.accepted) == len(lengths)
    assert [len(request) for request in receiver.requests] == [3, 1, 3, 1]
    assert all(
        size <= 10 << 10 or len(request) == 1
        for size, request in zip(receiver.sizes, receiver.requests, strict=True)
    )


def test_a_request_that_is_too_large_makes_the_next_ones_smaller(
    tmp_path: Path, receiver: Receiver
) -> None:
    blocks = [
        make_decoded(["x" * 2000] * 20, offset=0),
        make_decoded(["y" * 2000] * 20, offset=100_000),
    ]
    sink = open_sink(tmp_path, receiver.url())
    receiver.reply = lambda _: Reply(413 if receiver.sizes[-1] > 20_000 else 200)
    sink.apply(blocks[:1])
    before = len(receiver.requests)
    assert receiver.uids() == uids_of(blocks[:1])
    sink.apply(blocks[1:])
    assert receiver.uids() == uids_of(blocks)
    later = receiver.sizes[before:]
    assert all(size <= 20_000 for size in later), "none of them is too large"
    assert sink.rejections() == []


def test_a_traceback_that_a_receiver_refuses_as_attribute_goes_to_the_body(
    tmp_path: Path, receiver: Receiver
) -> None:
    records = [make_record("a"), make_record("b", idx=1, exc_text=TRACEBACK)]
    sink = open_sink(tmp_path, receiver.url())
    receiver.reply = lambda found: Reply(
        400 if any("exception.stacktrace" in each.attributes for each in found) else 200
    )
    sink.apply([decoded_of(make_block([]), records)])
    assert receiver.messages() == ["a", f"b\n{TRACEBACK}"]
    assert sink.rejections() == []


def test_partial_success_counts_and_sends_nothing_again(tmp_path: Path, receiver: Receiver) -> None:
    blocks = numbered(2)
    sink = open_sink(tmp_path, receiver.url())
    receiver.replies = [Reply(body=partial_success(2, "too old"))]
    sink.apply(blocks)
    last = blocks[-1].records[-1]
    assert sink.rejections() == [Rejected(last.offset, last.idx, "partial success: too old", 2)]
    assert len(receiver.requests) == 1
    assert sink.cursor() == blocks[-1].block.end


def test_more_rejected_records_than_were_sent_are_not_counted(
    tmp_path: Path, receiver: Receiver
) -> None:
    blocks = numbered(1)
    sink = open_sink(tmp_path, receiver.url())
    receiver.replies = [Reply(body=partial_success(2**62, ""))]
    sink.apply(blocks)
    (found,) = sink.rejections()
    assert (found.number, found.reason) == (3, "partial success: no reason given")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html>Welcome to the network", content_type="text/html"),
        Reply(body=b"\xff\xff\xff"),
        Reply(body=b"ok", content_type="text/plain"),
        Reply(cut=True),
    ],
)
def test_an_answer_that_is_none_of_otlp_is_no_success(
    tmp_path: Path, receiver: Receiver, reply: Reply
) -> None:
    clock, blocks = Clock(), numbered(2)
    sink = open_sink(tmp_path, receiver.url(), steady=clock)
    receiver.replies = [reply]
    assert failure_of(sink, blocks)
    assert sink.cursor() == 0
    clock.now += LAST_PAUSE
    receiver.accepted.clear()
    sink.apply(blocks)
    assert receiver.uids() == uids_of(blocks)


def test_a_record_that_cannot_be_encoded_is_named(tmp_path: Path, receiver: Receiver) -> None:
    records = [make_record("a"), make_record("b", idx=1, created="no number")]
    block = decoded_of(make_block([]), [records[0]])._replace(records=records)
    sink = open_sink(tmp_path, receiver.url())
    with pytest.raises(TypeError):
        sink.apply([block])
    assert sink.offending(block).keys() == {1}
    sink.apply([block.without([1])])
    assert receiver.uids() == [f"{NODE}/0/0"]


def test_a_node_that_changed_begins_at_the_start(tmp_path: Path, receiver: Receiver) -> None:
    blocks = numbered(1)
    sink = open_sink(tmp_path, receiver.url())
    sink.apply(blocks)
    sink.sync()
    assert sink.open("ff" * 16) == 0
    sink.apply(blocks)
    assert len(receiver.accepted) == 2 * len(blocks[0].records)
