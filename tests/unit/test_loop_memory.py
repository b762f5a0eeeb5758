"""The loop bounds the memory of partial frames."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from connections import SANITIZED, Watch, many_descriptors
from loop_receiver import KIB, MIB, Receiver, encode, receiving, was_closed

from fastlog import FRAME_LIMIT


def test_nothing_is_allocated_for_an_announced_length() -> None:
    with receiving(max_frame=FRAME_LIMIT) as receiver:
        for _ in range(100):
            receiver.connect(FRAME_LIMIT.to_bytes(4, "big") + bytes(500))
        receiver.until(lambda: receiver.loop.stats().partials == 100)
        assert receiver.loop.stats().partial_bytes <= 100 * KIB


def test_over_the_memory_budget_the_largest_partial_frames_are_closed() -> None:
    with receiving(max_frame=FRAME_LIMIT, partial_memory=MIB) as receiver:
        small = [receiver.connect(encode(bytes(2000))[:1500]) for _ in range(50)]
        receiver.until(lambda: receiver.loop.stats().partials == 50)
        large = [receiver.connect() for _ in range(4)]
        partial = FRAME_LIMIT.to_bytes(4, "big") + bytes(700 * KIB)
        threads = [threading.Thread(target=_send_until_closed, args=[c, partial]) for c in large]
        for thread in threads:
            thread.start()
        reason = "no memory for partial frames"
        receiver.until(lambda: receiver.loop.stats().rejected.get(reason, 0) >= 3)
        assert receiver.loop.stats().partial_bytes <= MIB
        for client in small:
            client.sendall(bytes(504))
        receiver.until(lambda: receiver.loop.stats().frames == 50)
        receiver.loop.close()
        for thread in threads:
            thread.join()


def _send_until_closed(client: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        client.sendall(data)


def test_a_small_partial_frame_evicts_the_largest() -> None:
    with receiving(max_frame=FRAME_LIMIT, partial_memory=MIB + 8 * KIB) as receiver:
        bystander = receiver.connect(encode(b"unharmed")[:5])
        receiver.until(lambda: receiver.loop.stats().partials == 1)
        large = receiver.connect()
        most = MIB.to_bytes(4, "big") + bytes(MIB - 1)
        thread = threading.Thread(target=_send_until_closed, args=[large, most])
        thread.start()
        receiver.until(lambda: receiver.loop.stats().partial_bytes > MIB)
        small = receiver.connect(encode(bytes(100 * KIB))[: 90 * KIB])
        receiver.until(lambda: receiver.loop.stats().rejected)
        small.sendall(encode(bytes(100 * KIB))[90 * KIB :])
        bystander.sendall(encode(b"unharmed")[5:])
        receiver.until(lambda: receiver.loop.stats().frames == 2)
        assert was_closed(large)
        thread.join()


@contextmanager
def thousands_of_partial_frames() -> Iterator[tuple[Receiver, list[socket.socket], Watch]]:
    """Yield 5,000 connections with partial frames of 6 KiB: 30 MiB of a budget of 32."""
    count = 5000
    with many_descriptors(2 * count), receiving(partial_memory=32 * MIB) as receiver:
        clients = [receiver.pair() for _ in range(count)]
        receiver.until(lambda: not receiver.loop.stats().ready)
        ctypes.CDLL(None).malloc_trim(0)  # free memory of earlier tests would hide the growth
        memory = Watch(os.getpid())
        for client in clients:
            client.sendall(struct.pack(">I", MIB) + bytes(6 * KIB - 4))
        receiver.until(lambda: receiver.loop.stats().partials == count)
        assert receiver.loop.stats().partial_bytes == count * 6 * KIB
        yield receiver, clients, memory


@pytest.mark.skipif(SANITIZED, reason="AddressSanitizer keeps the memory that is freed")
def test_the_memory_of_closed_partial_frames_is_given_back() -> None:
    with thousands_of_partial_frames() as (receiver, clients, memory):
        assert memory.now() > 20 * MIB
        for client in clients[:-10]:  # the memory of the last ten lies above
            client.close()
        receiver.until(lambda: receiver.loop.stats().partials == 10)
        # Memory is given back in steps of 8 MiB; the rest is what this process has allocated.
        receiver.until(lambda: memory.is_below(12 * MIB))


@pytest.mark.skipif(SANITIZED, reason="AddressSanitizer keeps the memory that is freed")
def test_holes_between_partial_frames_do_not_exceed_the_memory_budget() -> None:
    with thousands_of_partial_frames() as (receiver, clients, memory):
        for first, size in enumerate((24 * KIB, 6 * KIB)):
            for client in clients[first::2]:  # closed ones leave holes that fit no other frame
                with contextlib.suppress(OSError):
                    client.sendall(bytes(size))
            received = -1
            while receiver.loop.stats().bytes > received or receiver.loop.stats().ready:
                received = receiver.loop.stats().bytes
                receiver.poll()
        assert receiver.loop.stats().rejected["no memory for partial frames"] > 3000
        assert receiver.loop.stats().partial_bytes > 28 * MIB
        assert memory.is_below(36 * MIB)
