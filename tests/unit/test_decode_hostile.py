"""Any bytes, mutations and attacks give a record or a rejection, at a bounded cost."""

from __future__ import annotations

import copyreg
import json
import os
import pickle
import random
import time
import tracemalloc

import pytest
import shapes
from attacks import attacks
from decoding import DECODERS, GOOD, PEER, block_of, decode, record_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from interpreters import interpreters

from fastlog.block import Block
from fastlog.core import FALLBACK
from fastlog.decode import ENGINES
from fastlog.decode.c_engine import CEngine
from fastlog.decode.copy_rows import NO_NODE
from fastlog.record import Rejection

BOUND = 5.0
"""CPU-seconds. The slowest attack takes half a second, three times that in a sanitized build. An
attack that works takes minutes, or never ends."""

ATTACKS = attacks(1 << 20)
SMALL_ATTACKS = attacks(1 << 18)
REASONS = ("malformed pickle: ", "forbidden opcode ", "not a record: ", "malformed JSON: ")


def engines_that_read(block: Block) -> tuple[str, ...]:
    """Return the engines that read the first frame of a block. C may leave it to Python's reader,
    which then does the same for both."""
    verdicts = CEngine("records", NO_NODE).translate(block).verdicts
    return ENGINES[1:] if verdicts and verdicts[0] == FALLBACK else ENGINES


def check_any(frame: bytes) -> None:
    """Check that a frame gives a record or a documented rejection, and the next is read."""
    decoded = decode(frame, GOOD)
    assert decoded.records[-1].message == "unharmed"
    assert len(decoded.records) + len(decoded.notices) == 2
    for located in decoded.notices:
        note = located.notice
        assert isinstance(note, Rejection)
        assert note.reason.startswith(REASONS)
        assert (PEER, len(frame), frame[:4096]) == (note.peer, note.length, note.raw)
    for record in decoded.records:
        json.loads(record.extra)
        for text in record:
            if isinstance(text, str):
                assert "\0" not in text
                text.encode()


@settings(deadline=None)
@given(st.binary(max_size=300))
@example(b"")
@example(b"{")
@example(b"{}")
@example(b"\x80")
def test_any_bytes_give_a_record_or_a_rejection(frame: bytes) -> None:
    check_any(frame)


OPCODES = (
    b"(.01NKMJGXUTCB}])tlde\x85\x86\x87asu\x8fpqrghjILFSVcoibR\x81\x92\x93\x94\x8a\x8c\x80\n\0\1\2"
)


@settings(deadline=None)
@given(st.lists(st.sampled_from([OPCODES[i : i + 1] for i in range(len(OPCODES))]), max_size=60))
def test_any_opcodes_give_a_record_or_a_rejection(opcodes: list[bytes]) -> None:
    check_any(b"".join(opcodes))
    check_any(b"}X\x01\0\0\0x" + b"".join(opcodes) + b"s.")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**9))
def test_any_mutation_of_a_real_frame_gives_a_record_or_a_rejection(seed: int) -> None:
    chance = random.Random(seed)
    frames = [f for f in shapes.frames(max(interpreters())) if len(f.data) < 3000]
    frame = bytearray(chance.choice(frames).data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(frame))
        match chance.randrange(4):
            case 0:
                frame[at] = chance.randrange(256)
            case 1:
                frame[at] = chance.choice(OPCODES)
            case 2:
                del frame[at : at + chance.randrange(1, 5)]
                frame = frame or bytearray(b"N")
            case _:
                frame[at:at] = chance.choice(frames).data[: chance.randrange(1, 80)]
    check_any(bytes(frame))


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_takes_little_time_and_harms_no_other_frame(attack: str) -> None:
    frame, reason = ATTACKS[attack]
    block = block_of(frame, GOOD)
    for engine in engines_that_read(block):
        started = time.process_time()
        decoded = DECODERS[engine].decode(block)
        assert time.process_time() - started < BOUND, engine
        assert decoded.records[-1].message == "unharmed", engine
        found = "".join(located.notice.reason for located in decoded.notices)
        assert found.startswith(reason) and bool(found) == bool(reason), engine
        if not reason:
            assert decoded.records[0].message == ("" if frame.startswith(b"{") else "hi"), engine
            assert len(decoded.records[0].extra) < 8 << 20, engine


@pytest.mark.parametrize("attack", SMALL_ATTACKS)
def test_both_engines_give_the_same_for_an_attack(attack: str) -> None:
    decode(SMALL_ATTACKS[attack][0], GOOD)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_block_of_attacks_harms_none_of_the_records_between_them(engine: str) -> None:
    frames = [frame for frame, _ in attacks(1 << 14).values()]
    block = block_of(GOOD, *(each for frame in frames for each in (frame, GOOD)))
    decoded = DECODERS[engine].decode(block)
    unharmed = [record.idx for record in decoded.records if record.message == "unharmed"]
    assert unharmed == list(range(0, 2 * len(frames) + 1, 2))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("opcode", [b"\x82\x01", b"\x83\x01\0", b"\x84\x01\0\0\0"])
def test_an_extension_that_copyreg_has_cached_is_rejected(
    opcode: bytes, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unpickler does not call `find_class` for it: it takes the object from the cache."""
    monkeypatch.setitem(copyreg._inverted_registry, 1, ("os", "system"))  # type: ignore[attr-defined]
    monkeypatch.setitem(copyreg._extension_cache, 1, os.system)  # type: ignore[attr-defined]
    assert pickle.loads(opcode + b".") is os.system
    frame = b"}(X\3\0\0\0msgX\2\0\0\0hiX\1\0\0\0x" + opcode + b"u."
    decoded = DECODERS[engine].decode(block_of(frame, GOOD))
    assert [record.message for record in decoded.records] == ["unharmed"]
    (rejected,) = decoded.notices
    assert rejected.notice.reason.startswith("forbidden opcode EXT")


@pytest.mark.parametrize("attack", SMALL_ATTACKS)
def test_an_attack_takes_memory_in_proportion_to_its_length(attack: str) -> None:
    """This is the memory of Python; `test_translator_bounds.py` measures that of C."""
    frame, _ = SMALL_ATTACKS[attack]
    block = block_of(frame)
    for engine in engines_that_read(block):
        tracemalloc.start()
        try:
            DECODERS[engine].decode(block)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < (10 << 20) + 40 * len(frame), engine


@pytest.mark.parametrize("name", ["msg", "x"])
def test_the_record_of_a_short_frame_is_short_whatever_its_aliases_and_escapes(name: str) -> None:
    """2.9 KB that would become 12 MB: a list of 724 times the same 1,448 control characters."""
    key = b"X" + len(name).to_bytes(4, "little") + name.encode()
    text = b"X" + (1448).to_bytes(4, "little") + b"\1" * 1448 + b"q\0"
    frame = b"}" + key + b"](" + text + b"h\0" * 723 + b"es."
    record = record_of(frame)
    assert len(frame) < 3000
    assert len(json.dumps(record.message)) + len(record.extra) < 32 * len(frame)


def test_work_for_shared_containers_is_bounded_by_the_length_of_the_frame() -> None:
    """305 bytes that mean a thousand million lists; 20,000 of them would be 20 ms of work."""
    for name in ("billion laughs", "hash bomb through the memo"):
        frame, _ = ATTACKS[name]
        record = record_of(frame)
        assert len(frame) < 700
        assert "!cut" in record.extra or "… [cut: " in record.extra
        assert record.extra.count("[") < len(frame) + 64


def test_reading_takes_time_in_proportion_to_the_frame() -> None:
    def seconds(frame: bytes) -> float:
        def once() -> float:
            started = time.process_time()
            decode(frame)
            return time.process_time() - started

        return min(once() for _ in range(3))

    def frame(count: int) -> bytes:
        return b"}X\x01\0\0\0x(" + b"\x8f" * count + b"X\x02\0\0\0abM\xff\xff" * count + b"ls."

    assert seconds(frame(160_000)) < 16 * seconds(frame(20_000)) + 0.05
