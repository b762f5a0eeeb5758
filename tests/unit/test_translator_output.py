"""The translation holds data only, and each recurring or shared value once."""

from __future__ import annotations

import pickle
import pickletools
import struct
import subprocess
import sys

import grammar
import pytest
import shapes
from attacks import attacks
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreters import VERSIONS, interpreters
from translations import frame_with, is_read, opcodes_with, rows_of, translate

from fastlog.core import EXTRA, PLAIN, TREE
from fastlog.record import Record

DATA_OPCODES = frozenset(
    {
        *("PROTO", "EMPTY_LIST", "EMPTY_DICT", "MARK", "STOP", "POP_MARK", "APPENDS", "SETITEM"),
        *("SETITEMS", "TUPLE", "TUPLE3", "MEMOIZE", "BINGET", "LONG_BINGET", "NONE", "NEWTRUE"),
        *("NEWFALSE", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "BINFLOAT"),
        *("SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES"),
    }
)


def only_data(translation: bytes) -> bool:
    found = {opcode.name for opcode, _, _ in pickletools.genops(translation)}
    return found <= DATA_OPCODES


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
def test_the_translation_holds_nothing_but_data(seeds: list[int]) -> None:
    verdicts, translation = translate(*map(grammar.frame, seeds))
    assert only_data(translation)
    assert len(pickle.loads(translation)) == sum(map(verdicts.count, (PLAIN, EXTRA, TREE)))


def test_the_translation_of_attacks_and_of_every_shape_holds_nothing_but_data() -> None:
    frames = [frame for frame, _ in attacks(1 << 14).values()]
    frames += [f.data for f in shapes.frames(max(interpreters(), key=VERSIONS.index))]
    assert only_data(translate(*frames)[1])


def test_loading_a_translation_imports_and_calls_nothing() -> None:
    code = (
        "import sys\n"
        "from fastlog.block import Block, Kind, make_run\n"
        "from fastlog.decode import Decoder\n"
        "decoder = Decoder('c')\n"
        "data = b'}(X\\x03\\0\\0\\0msgX\\x02\\0\\0\\0hiX\\x01\\0\\0\\0a' \\\n"
        " b'c_codecs\\nencode\\n(X\\x02\\0\\0\\0lsX\\x06\\0\\0\\0latin1tRu.'\n"
        "evil = data.replace(b'c_codecs\\nencode', b'cposix\\nsystem')\n"
        "run = make_run(Kind.STOCK, [data, evil, data], peer='h:1')\n"
        "block = Block(0, len(run), 0, 3, 0, memoryview(run))\n"
        "before, events = set(sys.modules), []\n"
        "sys.addaudithook(lambda name, args: events.append(name) if name != 'builtins.id' else 0)\n"
        "records = decoder.decode(block).records\n"
        "print([r.extra for r in records], sorted(set(sys.modules) - before), events)\n"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = ['{"a":"ls"}', '{"a":{"!":"posix.system","args":["ls","latin1"]}}', '{"a":"ls"}']
    assert f"{expected} [] []" == result.stdout.strip()


def test_a_recurring_value_is_written_once_and_shared() -> None:
    fields = {"levelno": 20, "levelname": "INFO", "name": "app.db", "thread": 1 << 46}
    frames = [frame_with(None, pathname=f"/srv/{n % 2}.py", **fields) for n in range(600)]
    verdicts, translation = translate(*frames)
    assert set(verdicts) == {PLAIN}
    assert translation.count(b"app.db") == translation.count(b"/srv/1.py") == 1
    rows = [Record._make(row) for row in pickle.loads(translation)]
    for name in ("levelname", "name", "thread", "host", "received", "offset"):
        assert len({id(getattr(row, name)) for row in rows}) == 1
    assert [row.pathname for row in rows] == ["/srv/0.py", "/srv/1.py"] * 300
    assert [row.idx for row in rows] == list(range(600))


def test_rows_are_right_for_any_number_of_recurring_texts() -> None:
    """More texts than the memo takes or one byte counts, and long texts, which it does not take."""
    names = [f"logger.{n % 1000}" + "x" * (n % 300) for n in range(3000)]
    rows = rows_of(*[frame_with(None, name=name, thread=(1 << 40) + n % 900)
                     for n, name in enumerate(names)])  # fmt: skip
    assert [row.name for row in rows] == names
    assert [row.thread for row in rows] == [(1 << 40) + n % 900 for n in range(3000)]


def shared(made: bytes, use: bytes, times: int) -> bytes:
    """Return a record with a value in slot 0 of the memo, and uses of it."""
    return opcodes_with(b"(" + made + b"q\0" + use * times + b"t")


LONG = b"X" + struct.pack("<I", 200_000) + b"n" * 200_000
SHARED = {
    "text": (LONG, b"h\0", 50_000),
    "bytes": (b"B" + struct.pack("<I", 200_000) + b"\xff" * 200_000, b"h\0", 50_000),
    "names of globals": (LONG, b"h\0h\0\x93", 50_000),
    "names of globals that are dropped": (LONG, b"h\0h\0\x930", 50_000),
    "a global": (b"c" + b"m" * 300 + b"\n" + b"n" * 300 + b"\n", b"h\0", 50_000),
    "objects of a global": (b"c" + b"m" * 300 + b"\n" + b"n" * 300 + b"\n", b"h\0)R", 50_000),
    "digits": (b"L" + b"7" * 4_096 + b"L\n", b"h\0", 50_000),
    "more digits": (b"L" + b"7" * 9_000 + b"L\n", b"h\0", 50_000),
    "bytes of an integer": (b"\x8b" + struct.pack("<I", 1_700) + b"\x7f" * 1_700, b"h\0", 50_000),
    "more bytes of one": (b"\x8b" + struct.pack("<I", 1_701) + b"\x7f" * 1_701, b"h\0", 50_000),
}


@pytest.mark.parametrize("name", SHARED)
def test_a_shared_value_is_written_once(name: str) -> None:
    frame = shared(*SHARED[name])
    assert is_read(frame)
    assert len(translate(frame)[1]) < 8 * len(frame)
