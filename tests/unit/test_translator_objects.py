"""The translator reads objects of known and unknown classes, and objects in themselves."""

from __future__ import annotations

import gc
import pickle
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from translations import LINES, PYTHON, C, check, is_plain, is_read, opcodes_with, record_of

from fastlog.block import Block, Kind, make_run
from fastlog.core import EXTRA, TREE
from fastlog.decode.classes import READERS


@settings(deadline=None)
@given(st.lists(st.sampled_from(["/", "", "a", "/b", "c/", "."]), max_size=5))
def test_the_parts_of_a_path_are_joined_as_posixpath_joins_them(parts: list[str]) -> None:
    args = b"(" + b"".join(pickle.dumps(part, 1)[:-1].replace(b"q\0", b"") for part in parts)
    assert is_read(opcodes_with(b"cpathlib\nPosixPath\n" + args + b"tR"))


@settings(deadline=None)
@given(st.integers(-5, (1 << 128) + 5) | st.integers(0, 1 << 64), st.integers(1, 2))
@example((1 << 128) - 1, 1)
@example((1 << 128) - 1, 2)
@example(1 << 128, 1)
@example(1 << 128, 2)
@example(1 << 135, 2)
@example(1 << 150, 1)
@example(1 << 150, 2)
@example(-1, 1)
def test_any_uuid_gives_the_same_result(number: int, protocol: int) -> None:
    state = pickle.dumps({"int": number}, protocol).removeprefix(b"\x80\x02")[:-1]
    is_plain(opcodes_with(b"cuuid\nUUID\n)\x81" + state + b"b"))


IN_C = (
    *("_codecs.encode", "builtins.bytes", "builtins.bytearray", "builtins.set"),
    *("builtins.frozenset", "datetime.datetime", "datetime.timedelta", "datetime.timezone"),
    *("decimal.Decimal", "uuid.UUID", "builtins.getattr", "zoneinfo.ZoneInfo"),
)
"""The classes whose objects C renders. It treats all others alike, so a sample is enough."""
CLASSES = (*IN_C, *sorted(READERS.keys() - set(IN_C))[::8])
ARGUMENTS = (
    *(
        b")",
        b"N\x85",
        b"K\1\x85",
        b"X\1\0\0\0a\x85",
        b"C\1a\x85",
        b"]\x85",
        b"}\x85",
        b"(K\1K\2K\3t",
    ),
    *(b"capp\nC\nX\3\0\0\0RED\x86", b"capp\nC\n)RX\3\0\0\0RED\x86"),
    *(b"X\1\0\0\0aX\6\0\0\0latin1\x86", b"](K\1K\2e\x85", b"capp\nf\n\x85", b"capp\nf\nN\x86"),
    *(b"C\4\x07\xea\1\1\x85", b"C\6\1\1\1\1\1\1\x85", b"C\x0a\x07\xea\1\1\1\1\1\1\1\1N\x86"),
)
STATES = (b"N", b")", b"K\1\x85", b"}", b"X\1\0\0\0a", b"](K\1e")
ENDS = (b"", b"Nb", b"}b", b"](K\1e", b"(K\1K\2u", b"}X\3\0\0\0intK\1sb", b"NK\1\x86b")


@pytest.mark.parametrize("name", [*CLASSES, "app.Thing", "copyreg._reconstructor", "app.getattr"])
def test_a_known_class_gives_the_same_result_for_any_arguments_and_state(
    name: str,
) -> None:
    module, _, name = name.rpartition(".")
    for arguments in ARGUMENTS:
        for end in ENDS:
            for call in (b"R", b"\x81"):
                opcodes = f"c{module}\n{name}\n".encode() + arguments + call + end
                is_plain(opcodes_with(opcodes))
                is_plain(opcodes_with(b"]" + opcodes + b"a"))


@pytest.mark.parametrize("name", [*CLASSES, "app.Thing", "app.getattr"])
def test_a_class_in_protocol_1_gives_the_same_result(name: str) -> None:
    module, _, name = name.rpartition(".")
    for base in ("object", "tuple", "dict", "list", "unicode"):
        for state in STATES:
            names = f"c{module}\n{name}\nc__builtin__\n{base}\n".encode()
            made = b"ccopy_reg\n_reconstructor\n(" + names + state + b"tR"
            for end in ENDS:
                is_plain(opcodes_with(made + end))


def test_an_object_fetched_before_its_state_is_set_has_the_state() -> None:
    thing = b"capp\nC\n)Rq\7h\7h\7}X\1\0\0\0kK\1sb"
    frame = opcodes_with(b"(" + thing + b"t")
    assert is_read(frame)
    assert record_of(frame).extra.count('"state":{"k":1}') == 3


@pytest.mark.parametrize("made", [b"capp\nC\n)R", b"cuuid\nUUID\n)\x81"])
def test_a_second_state_of_an_object_is_seen_by_all_references(made: bytes) -> None:
    first, second = b"}X\3\0\0\0intK\1sb", b"}X\3\0\0\0intK\2sb"
    is_plain(opcodes_with(b"(" + made + b"q\7" + first + b"h\7" + second + b"t"))
    is_plain(opcodes_with(b"(" + made + b"q\7" + first + second + b"h\7t"))


@pytest.mark.parametrize("pairs", [15, 16, 40])
def test_the_integer_of_a_uuid_is_searched_in_a_small_state_only(pairs: int) -> None:
    state = pickle.dumps({**{f"k{n}": n for n in range(pairs)}, "int": 5}, 2)[2:-1]
    assert is_plain(opcodes_with(b"cuuid\nUUID\n)\x81" + state + b"b")) is (pairs == 15)


@pytest.mark.parametrize("length", [256, 257])
def test_long_names_of_classes_are_cut(length: int) -> None:
    long = b"n" * length
    assert is_read(opcodes_with(b"c" + long + b"\nC\n)R"))
    assert is_read(opcodes_with(b"capp\n" + long + b"\n)R"))
    assert is_read(opcodes_with(b"capp\n" + long + b"\n"))
    assert record_of(opcodes_with(b"capp\n" + long + b"\n")).extra == '{"x":"app.%s"}' % ("n" * 256)


@pytest.mark.parametrize(("part", "count"), [(b"a", 256), (b"a", 257), (b"a" * 40, 99), (b"", 300)])
def test_paths_are_read_up_to_their_size_limit(part: bytes, count: int) -> None:
    args = b"(" + (b"\x8c" + bytes([len(part)]) + part) * count + b"t"
    assert is_read(opcodes_with(b"cpathlib\nPosixPath\n" + args + b"R"))
    long = b"X" + struct.pack("<I", 4096) + b"a" * 4096
    assert is_read(opcodes_with(b"cpathlib\nPosixPath\n" + long + b"\x85R"))
    is_plain(opcodes_with(b"cpathlib\nPosixPath\n" + long + b"X\1\0\0\0b\x86R"))


def test_an_object_in_itself_becomes_a_tree() -> None:
    for cycle in (
        b"capp\nC\n)Rq\7}X\1\0\0\0kh\7sb",
        b"capp\nC\n)Rq\7](h\7h\7h\7eb",
        b"]q\7h\7a",
        b"}q\7Nh\7s",
    ):
        assert check(opcodes_with(cycle)) == EXTRA
    record = b"}q\7(X\3\0\0\0msgX\1\0\0\0mX\1\0\0\0xh\7u."
    assert check(record) == TREE


def test_cycles_leave_no_garbage() -> None:
    frames = [opcodes_with(b"]q\7(h\7capp\nC\n)Rq\x08h\x08h\7e"), b"}q\7(X\1\0\0\0xh\7u."] * 50
    payload = make_run(Kind.STOCK, frames, peer="h:1")
    block = Block(0, len(payload), 0, len(frames), 1_500_000, memoryview(payload))
    gc.collect()
    gc.disable()
    try:
        for decoder in (C, LINES, PYTHON):
            decoder.decode(block)
        assert gc.collect() < 20
    finally:
        gc.enable()
