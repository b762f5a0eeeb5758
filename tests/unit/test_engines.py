"""Both engines give the same records, lines and rejections, whatever a frame shares or changes."""

from __future__ import annotations

import os
import random
import struct
import time
from collections.abc import Callable

import grammar
import graphs
import pytest
from attacks import attacks
from engines import block_of, decoder, difference, differing, explain, least, opcodes, splice
from libraries import FILES, samples

FRAMES = 2_000
IN_BLOCK = 50


def compare(make: Callable[[int], bytes], first: int, count: int) -> None:
    """Compare the results for the frames of `count` seeds, a block at a time."""
    for start in range(first, first + count, IN_BLOCK):
        frames = [make(seed) for seed in range(start, start + IN_BLOCK)]
        if found := differing(frames):
            pytest.fail(f"{len(found)} from seed {start} on differ; one is\n{explain(found[0])}")


@pytest.mark.parametrize("part", range(4))
def test_both_engines_give_the_same_for_shared_changed_and_cyclic_values(part: int) -> None:
    compare(graphs.frame, part * FRAMES, FRAMES)


SMALL = [each.frame for file in FILES for each in samples(file) if len(each.frame) < 2_000]


def mutant(seed: int) -> bytes:
    """Return a pickle of a library with its opcodes in disorder; the same for the same seed."""
    chance = random.Random(seed)
    return splice(chance.choice(SMALL), chance.choice(SMALL), chance)


def test_both_engines_give_the_same_for_pickles_of_libraries_in_disorder() -> None:
    compare(mutant, 0, FRAMES)


@pytest.mark.soak
def test_both_engines_give_the_same_for_soak_minutes() -> None:
    deadline = time.monotonic() + 60 * float(os.environ.get("SOAK_MINUTES", "10"))
    seed = random.randrange(1 << 40)
    while time.monotonic() < deadline:
        print(f"seed {seed}")  # pytest shows it when the test fails
        compare(graphs.frame, seed, 1000)
        compare(mutant, seed, 500)
        compare(grammar.frame, seed, 200)
        seed += 1000


def test_most_generated_frames_are_well_formed_and_use_all_accepted_opcodes() -> None:
    frames = [graphs.frame(seed) for seed in range(1500)]
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
def test_both_engines_give_the_same_for_cases_that_once_differed(name: str) -> None:
    assert not differing([CASES[name]]), explain(CASES[name])


def text(length: int) -> bytes:
    return b"X" + struct.pack("<I", length) + b"y" * length


UUID = b"cuuid\nUUID\n)\x81}("
NUMBER = b"X\3\0\0\0int\x8a\x01\x07"
EDGES: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "lists": (32, lambda n: b"]" * n + b"a" * (n - 1)),
    "tuples": (32, lambda n: b"N" + b"\x85" * n),
    "dicts": (32, lambda n: b"}K\1" * n + b"N" + b"s" * n),
    "sets": (32, lambda n: b"\x8f(" * n + b"N" + b"\x90" * n),
    "arguments": (32, lambda n: b"capp\nC\n" * n + b"N" + b"\x85R" * n),
    "states": (32, lambda n: b"capp\nC\n)R" * n + b"N" + b"b" * n),
    "ordered dicts": (32, lambda n: b"ccollections\nOrderedDict\n)RK\1" * n + b"N" + b"s" * n),
    "calls of calls": (8, lambda n: b"capp\nC\n" + b")R" * n),
    "attributes of attributes": (
        8, lambda n: b"cbuiltins\ngetattr\n" * n + b"capp\nC\n" + b"X\1\0\0\0a\x86R" * n
    ),
    "helpers in helpers": (
        8, lambda n: b"ccopyreg\n__newobj__\n" * n + b"capp\nC\n)R" + b"\x85R" * n
    ),
    "a name": (256, lambda n: b"c" + b"m" * n + b"\n" + b"n" * n + b"\n"),
    "an attribute": (256, lambda n: b"cbuiltins\ngetattr\ncapp\nC\n" + text(n) + b"\x86R"),
    "parts of a path": (
        256, lambda n: b"cpathlib\nPosixPath\n(" + b"X\1\0\0\0a" * n + b"tR"
    ),
    "a path": (4_096, lambda n: b"cpathlib\nPureWindowsPath\n" + text(n) + b"\x85R"),
    "a state of a UUID": (16, lambda n: UUID + b"NN" * (n - 1) + NUMBER + b"ub"),
    "keys": (256, lambda n: b"}(" + b"".join(b"M%bN" % k.to_bytes(2) for k in range(n)) + b"u"),
    "digits": (4_096, lambda n: b"L" + b"9" * n + b"L\n"),
    "bytes of an integer": (1_700, lambda n: b"\x8b" + struct.pack("<I", n) + b"\x7f" * n),
    "bits": (64, lambda n: b"\x8a\x0a" + (1 << n).to_bytes(10, "little")),
    "negative bits": (63, lambda n: b"\x8a\x0a" + (-(1 << n)).to_bytes(10, "little", signed=True)),
    "nodes": (20_000, lambda n: b"]" + text(20_000) + b"0(" + b"N" * (n - 3) + b"e"),
    "shared nodes": (20_000, lambda n: text(20_000) + b"0(N\x85q\0" + b"h\0" * (n // 2) + b"l"),
    "a little text, often": (60, lambda n: b"(" + text(33) + b"q\0" + b"h\0" * n + b"l"),
    "containers": (65_536, lambda n: b"(" + b"]" * (n - 3) + b"l"),
    "objects": (65_536, lambda n: b"(" + b"]" * (n - 5) + b"capp\nC\n)Rcapp\nD\n)R)RNbl"),
    "arguments beyond": (65_536, lambda n: b"(" + b"]" * (n - 4) + b"capp\nC\n(K\1t}\x92l"),
    "a slot": (300, lambda n: b"N" * 2 + b"0" + b"r" + struct.pack("<I", n - 100)),
    "marks": (10_000, lambda n: b"(" * (n - 1) + b"1" * (n - 1) + b"N"),
}  # fmt: skip
"""By what is counted: a bound, and a function that makes a value with that many. The record itself
counts in some of them."""


@pytest.mark.parametrize("name", EDGES)
def test_both_engines_give_the_same_at_a_bound(name: str) -> None:
    bound, make = EDGES[name]
    for count in range(bound - 4, bound + 5):
        frame = b"\x80\x02}(X\3\0\0\0msgX\1\0\0\0mX\1\0\0\0x" + make(count) + b"u."
        assert not differing([frame]), f"{count}\n{difference([frame])[:2000]}"


def test_both_engines_give_the_same_for_a_memo_slot_of_any_index() -> None:
    for index in range(40):
        differ = differing([b"}X\3\0\0\0msgNq%csj%b." % (index, bytes([index, 0, 0, 0]))])
        assert not differ, index


def test_both_engines_give_the_same_for_attacks() -> None:
    for name, (frame, _) in attacks(1 << 12).items():
        if len(frame) < 100_000:
            assert not differing([frame]), f"{name}\n{explain(frame)}"


def test_a_failing_frame_is_reduced_to_its_shortest_form() -> None:
    frame = CASES["two dicts of one dict"][:-1] + b"N\x8c\4evilK\1."
    assert least(frame, lambda each: b"evil" in each) == b"\x8c\4evil"
