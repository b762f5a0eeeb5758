"""The queue of the journal: its counts, its bounds, and waiting for it."""

from __future__ import annotations

from fastlog.block import HEADER
from fastlog.journal.queue import BlockQueue


def test_the_queue_counts_blocks_as_queued_written_and_durable() -> None:
    queue = BlockQueue(end=1000, index=7, memory_limit=1 << 20)
    for payload in (b"a", b"bb", b"ccc"):
        queue.append(payload, frames=2, received_us=5)
    sizes = [HEADER.size + n for n in (1, 2, 3)]
    assert (queue.end, queue.index, len(queue)) == (1000 + sum(sizes), 13, 3)
    assert queue.memory == queue.unwritten == sum(sizes)
    assert [block.offset for block in queue.next_group(1 << 20, 2)] == [1000, 1000 + sizes[0]]
    queue.mark_written(2)
    assert (queue.written, queue.durable) == (1000 + sum(sizes[:2]), 1000)
    assert (queue.unwritten, queue.memory) == (sizes[2], sum(sizes))
    queue.mark_durable()
    assert queue.durable == queue.written
    assert queue.memory == sizes[2]
    assert queue.remaining() == [b"ccc"]


def test_the_queue_returns_requeued_blocks_first() -> None:
    queue = BlockQueue(end=0, index=0, memory_limit=1 << 20)
    for payload in (b"a", b"b", b"c"):
        queue.append(payload, frames=1, received_us=0)
    queue.mark_written(2)
    queue.requeue_written()
    assert (queue.written, queue.unwritten, queue.has_written) == (0, queue.memory, False)
    assert [block.runs for block in queue.next_group(1 << 20, 9)] == [b"a", b"b", b"c"]


def test_the_queue_bounds_memory_and_groups_but_takes_one_block_of_any_size() -> None:
    queue = BlockQueue(end=0, index=0, memory_limit=100)
    assert queue.has_memory_for(1 << 30)
    queue.append(bytes(200), frames=1, received_us=0)
    assert not queue.has_memory_for(1)
    queue.append(b"b", frames=1, received_us=0)
    assert [len(block.runs) for block in queue.next_group(10, 9)] == [200]


def test_the_queue_is_awaited_until_the_awaited_blocks_are_durable() -> None:
    queue = BlockQueue(end=0, index=0, memory_limit=1 << 20)
    assert not queue.is_awaited
    queue.append(b"a", frames=1, received_us=0)
    queue.await_all()
    queue.append(b"b", frames=1, received_us=0)
    queue.mark_written(1)
    assert queue.is_awaited
    queue.mark_durable()
    assert not queue.is_awaited
    assert not queue.is_empty


def test_the_queue_knows_when_the_newest_durable_block_was_received() -> None:
    queue = BlockQueue(end=0, index=0, memory_limit=1 << 20, received_us=3)
    for at in (5, 6, 4):
        queue.append(b"a", frames=1, received_us=at)
    queue.mark_written(2)
    assert queue.durable_received_us == 3
    queue.mark_durable()
    assert queue.durable_received_us == 6
    queue.mark_written(1)
    queue.mark_durable()
    assert queue.durable_received_us == 4, "the clock went back: the newest is the last"
