"""Messages of a stream: blocks packed, cut, put together again, and damaged."""

from __future__ import annotations

import os
import struct
import tracemalloc

import pytest
from builders import NODE
from hypothesis import given
from hypothesis import strategies as st
from nats_attacks import BOMB, damaged, message
from worker_bench import chain_of

from fastlog import zstd
from fastlog.jetstream.packet import Assembler, Packet, Part, encode, packets, part_size, read_part

CHAIN = chain_of(["a"], ["b" * 300, "c"], ["d"], [os.urandom(1500).hex()], ["f"])


def sent(size: int, follows: int = 0) -> list[bytes]:
    return [
        message
        for packet in packets(CHAIN, follows, size)
        for message in encode(packet, NODE, size)
    ]


def received(messages: list[bytes]) -> list[Packet]:
    assembler, found = Assembler(), []
    for each in messages:
        part = read_part(each)
        if part is not None and (packet := assembler.add(part)) is not None:
            found.append(packet)
    return found


@given(st.integers(min_value=1, max_value=5000))
def test_any_size_of_parts_gives_the_same_blocks(size: int) -> None:
    messages = sent(size)
    found = received(messages)
    assert [block for packet in found for block in packet.blocks] == CHAIN
    assert [packet.follows for packet in found] == [0, *(packet.end for packet in found[:-1])]
    assert all(len(message) <= size + 100 for message in messages)


def test_a_packet_names_its_node_and_its_place() -> None:
    [message] = [*encode(Packet(7, CHAIN[1:3]), NODE, 1 << 20)]
    part = read_part(message)
    assert part is not None
    place = part.node, part.follows, part.offset, part.end, part.part, part.parts
    assert place == (NODE, 7, CHAIN[1].offset, CHAIN[2].end, 0, 1)


@given(st.data())
def test_no_damaged_message_is_taken(data: st.DataObject) -> None:
    [message] = sent(1 << 20)
    at = data.draw(st.integers(0, len(message) - 1))
    bit = data.draw(st.integers(0, 7))
    damaged = bytearray(message)
    damaged[at] ^= 1 << bit
    assert read_part(bytes(damaged)) is None
    assert read_part(message[:at]) is None


def test_a_packet_that_was_begun_again_is_whole() -> None:
    messages = sent(500)
    large = next(at for at, each in enumerate(messages) if read_part(each).parts > 2)  # type: ignore[union-attr]
    again = [*messages[: large + 2], *messages[large:]]
    assert [block for packet in received(again) for block in packet.blocks] == CHAIN


def test_a_packet_without_its_first_part_is_left_out() -> None:
    messages = sent(500)
    large = next(at for at, each in enumerate(messages) if read_part(each).parts > 2)  # type: ignore[union-attr]
    found = received([*messages[:large], *messages[large + 1 :]])
    assert [block for packet in found for block in packet.blocks] == [*CHAIN[:3], CHAIN[4]]


def test_parts_leave_room_below_the_limit_of_the_server() -> None:
    assert part_size(1 << 20) < 1 << 20
    assert part_size(64 << 20) < 1 << 20
    size = part_size(65_536)
    blocks = chain_of([os.urandom(150_000).hex()])
    messages = [each for packet in packets(blocks, 0, size) for each in encode(packet, NODE, size)]
    assert len(messages) > 2
    assert max(map(len, messages)) < 65_536 - 4000


def crafted(content: bytes, size: int, end: int = CHAIN[0].end) -> Part:
    return Part(NODE, 0, 0, end, size, 0, 1, memoryview(content))


@pytest.mark.parametrize(
    "part",
    [
        crafted(b"garbage", 7),
        crafted(zstd.compress(bytes(1 << 20)), 100),
        crafted(zstd.compress(b"short"), 5),
        crafted(zstd.compress(b"short"), 1 << 31),
        crafted(zstd.compress(struct.pack(">QQQQII", 0, 99, 0, 0, 1 << 31, 1) + b"x"), 41),
        crafted(zstd.compress(struct.pack(">QQQQII", 0, 99, 0, 0, 1, 1 << 31) + b"x"), 41),
        crafted(zstd.compress(struct.pack(">QQQQII", 5, 99, 0, 0, 1, 1) + b"x"), 41),
        crafted(zstd.compress(struct.pack(">QQQQII", 0, 99, 0, 0, 1, 1) + b"x"), 41, 98),
    ],
)
def test_no_crafted_packet_is_taken(part: Part) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Assembler().add(part)


def test_numbers_that_no_journal_has_are_damage() -> None:
    assert [read_part(data) for data in damaged(NODE)[6:12]] == [None] * 6


def test_what_an_incomplete_packet_takes_is_bounded() -> None:
    """By its announced size: compressed, it is never much larger."""
    assembler = Assembler()
    part = read_part(message(NODE, (0, 0, 1000), 10_000, (0, 4096), bytes(900)))
    assert part is not None
    with pytest.raises(ValueError, match="larger than the packet"):
        for number in range(20):
            assembler.add(part._replace(part=number))
    assert not assembler._parts


@pytest.mark.parametrize("size", [1000, 1 << 25])
def test_a_bomb_is_not_decompressed_beyond_its_announced_size(size: int) -> None:
    part = read_part(message(NODE, (0, 0, 1000), size, (0, 1), BOMB))
    assert part is not None
    tracemalloc.start()
    with pytest.raises(ValueError):
        Assembler().add(part)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * size + (1 << 20)
