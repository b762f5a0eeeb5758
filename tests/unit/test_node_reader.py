"""The blocks of a node in order, whatever the stream has: doubles, gaps, damage."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import cast

import pytest
from builders import NODE
from worker_bench import chain_of

from fastlog.block import Block
from fastlog.jetstream.node_state import Gap
from fastlog.jetstream.packet import Assembler, Packet, Part, encode
from fastlog.journal import SkippedError
from fastlog.source.feed import Feed, Message
from fastlog.source.node_reader import NodeReader

A, B, C, D = chain_of(["a"], ["b"], ["c"], ["d"])
SIZE = 1 << 20


class Subject:
    """A feed whose subject is in memory."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._unread: deque[Message] = deque()
        self.restarts = 0

    def publish(self, *blocks: Block, follows: int | None = None) -> None:
        start = blocks[0].offset if follows is None else follows
        for data in encode(Packet(start, blocks), NODE, SIZE):
            self.add(data)

    def add(self, data: bytes) -> None:
        message = Message(len(self.messages) + 1, data)
        self.messages.append(message)
        self._unread.append(message)

    share = 4 << 20

    def take(self) -> Message | None:
        return self._unread.popleft() if self._unread else None

    @property
    def has_messages(self) -> bool:
        return bool(self._unread)

    @property
    def is_at_end(self) -> bool:
        return not self._unread

    def restart(self) -> None:
        self.restarts += 1
        self._unread = deque(self.messages)


@pytest.fixture
def subject() -> Subject:
    return Subject()


@pytest.fixture
def reader(subject: Subject) -> NodeReader:
    return NodeReader(NODE, cast(Feed, subject))


def read_all(reader: NodeReader, offset: int = 0) -> Sequence[Block]:
    found: list[Block] = []
    for _ in range(5):
        found += reader.read(found[-1].end if found else offset)
    return found


def test_blocks_come_in_order(subject: Subject, reader: NodeReader) -> None:
    subject.publish(A, B)
    subject.publish(C)
    assert read_all(reader) == [A, B, C]
    assert reader.gap is None


def test_what_is_stored_is_skipped_also_within_a_packet(
    subject: Subject, reader: NodeReader
) -> None:
    subject.publish(A)
    subject.publish(B, C)
    subject.publish(A, B)
    subject.publish(D)
    assert read_all(reader, B.end) == [C, D]


def test_a_gap_is_waited_for(subject: Subject, reader: NodeReader) -> None:
    subject.publish(A)
    subject.publish(C)
    assert read_all(reader) == [A]
    assert reader.gap == Gap(A.end, 2)
    assert subject.restarts == 1  # it might have been overlooked
    subject.publish(D)
    assert read_all(reader, A.end) == []
    assert reader.gap == Gap(A.end, 3)  # the collector must see that it has published since
    subject.publish(B, C)
    subject.publish(D)
    assert read_all(reader, A.end) == [B, C, D]
    assert reader.gap is None


def test_a_damaged_message_is_a_gap(subject: Subject, reader: NodeReader) -> None:
    subject.publish(A)
    subject.add(b"garbage")
    subject.publish(C)
    assert read_all(reader) == [A]
    assert reader.gap == Gap(A.end, 3)
    assert reader.damaged == 2  # the subject was read twice


def test_what_the_journal_released_is_reported_as_skipped(
    subject: Subject, reader: NodeReader
) -> None:
    subject.publish(A)
    subject.publish(C, D, follows=A.end)
    assert reader.read(0) == [A]
    with pytest.raises(SkippedError) as skipped:
        reader.read(A.end)
    assert (skipped.value.oldest, skipped.value.index) == (C.offset, C.index)
    assert reader.read(C.offset) == [C, D]


def test_a_cursor_that_went_back_reads_the_subject_again(
    subject: Subject, reader: NodeReader
) -> None:
    subject.publish(A)
    subject.publish(B)
    assert read_all(reader) == [A, B]
    assert read_all(reader, A.end) == [B]
    assert subject.restarts == 1


def test_the_stream_is_freed_up_to_what_is_durable(subject: Subject, reader: NodeReader) -> None:
    for block in (A, B, C):
        subject.publish(block)
    assert read_all(reader) == [A, B, C]
    assert reader.stored(A.offset) == 0
    assert reader.stored(B.end) == 2
    assert reader.stored(B.end) == 0
    assert reader.stored(C.end) == 3


def test_a_flood_of_garbage_is_read_in_many_calls(subject: Subject, reader: NodeReader) -> None:
    """Other nodes are stored between them."""
    for _ in range(2500):
        subject.add(b"garbage")
    subject.publish(A)
    assert [reader.read(0) for _ in range(3)] == [[], [], [A]]
    assert reader.damaged == 2500


def test_what_is_stored_is_not_even_decompressed(
    subject: Subject, reader: NodeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject.publish(A, B)
    subject.publish(C)
    read: list[int] = []
    add = Assembler.add

    def count(assembler: Assembler, part: Part) -> Packet | None:
        read.append(part.end)
        return add(assembler, part)

    monkeypatch.setattr(Assembler, "add", count)
    assert read_all(reader, B.end) == [C]
    assert read == [C.end]
    assert reader.stored(B.end) == 1  # the stream is freed of it nevertheless
