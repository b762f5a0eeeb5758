"""Both engines give the same records, lines and rejections, whatever a frame shares or changes."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import grammar
import pytest
import tangles
from attacks import attacks
from engines import block_of, decoder, differing, explain, least, opcodes, splice
from libraries import FILES, samples

FRAMES = 2_000
IN_BLOCK = 50


def compare(make: Callable[[int], bytes], first: int, count: int) -> None:
    """Compare the answers to the frames of so many seeds, blocks of them at a time."""
    for start in range(first, first + count, IN_BLOCK):
        frames = [make(seed) for seed in range(start, start + IN_BLOCK)]
        if found := differing(frames):
            pytest.fail(f"{len(found)} from seed {start} on differ; one is\n{explain(found[0])}")


@pytest.mark.parametrize("part", range(4))
def test_what_is_shared_changed_and_cyclic_is_answered_alike(part: int) -> None:
    compare(tangles.frame, part * FRAMES, FRAMES)


SMALL = [each.frame for file in FILES for each in samples(file) if len(each.frame) < 2_000]


def mutant(seed: int) -> bytes:
    """A real pickle of some library, and its opcodes in disorder; the same for the same seed."""
    chance = random.Random(seed)
    return splice(chance.choice(SMALL), chance.choice(SMALL), chance)


def test_pickles_of_libraries_in_disorder_are_answered_alike() -> None:
    compare(mutant, 0, FRAMES)


@pytest.mark.soak
def test_the_engines_answer_alike_for_as_long_as_one_likes() -> None:
    deadline = time.monotonic() + 60 * float(os.environ.get("SOAK_MINUTES", "10"))
    seed = random.randrange(1 << 40)
    while time.monotonic() < deadline:
        print(f"seed {seed}")  # shown when the test fails
        compare(tangles.frame, seed, 1000)
        compare(mutant, seed, 500)
        compare(grammar.frame, seed, 200)
        seed += 1000


def test_most_frames_are_well_formed_and_use_all_that_can_be_used() -> None:
    frames = [tangles.frame(seed) for seed in range(1500)]
    decoded = decoder("python", "records").decode(block_of(frames))
    assert len(decoded.records) > 1100
    used = {piece[:1] for frame in frames for piece in opcodes(frame)}
    accepted = b"\x80.(01\x94pgrqhjN\x88\x89)KMJGILFSV\x8a\x8bTUCB\x8e\x96X\x8c]}\x8fltd\x91"
    accepted += b"\x85\x86\x87aesu\x90c\x93R\x81\x92oib"
    assert {bytes([opcode]) for opcode in accepted} - used == set()


CASES = {
    "a tuple that SETITEM follows": (
        b"\x80\x02}(X\3\0\0\0msgX\1\0\0\0mX\1\0\0\0xccollections\nOrderedDict\n"
        b"}(X\1\0\0\0aK\1u\x85\x94RX\1\0\0\0bK\2sX\1\0\0\0yh\0u."
    ),
    "two dicts of one dict": (
        b"\x80\x02}(X\3\0\0\0msgX\1\0\0\0mX\1\0\0\0xccollections\nOrderedDict\n"
        b"}(X\1\0\0\0aK\1u\x85\x94RX\1\0\0\0bK\2sX\1\0\0\0yccollections\nOrderedDict\n"
        b"h\0RX\1\0\0\0cK\3su."
    ),
    "many MEMOIZE, then BINPUT": (
        b"\x80\x04}(\x8c\3msg\x8c\1m\x8c\1xN" + b"\x94" * 200 + b"q\xc8u."
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_case_that_was_answered_differently_once_is_answered_alike(name: str) -> None:
    assert not differing([CASES[name]]), explain(CASES[name])


def test_attacks_are_answered_alike() -> None:
    for name, (frame, _) in attacks(1 << 12).items():
        if len(frame) < 100_000:
            assert not differing([frame]), f"{name}\n{explain(frame)}"


def test_a_frame_that_fails_is_made_as_short_as_can_be() -> None:
    frame = tangles.frame(5)[:-1] + b"N\x8c\4evilK\1."
    assert least(frame, lambda each: b"evil" in each) == b"\x8c\4evil"
