"""The work for the values of a frame is bounded by its bytes."""

from __future__ import annotations

import pickle
import struct
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from logged_values import record_of


def text(data: str) -> bytes:
    return b"X" + struct.pack("<I", len(data)) + data.encode()


def cls(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def frame(value: bytes, again: bytes, times: int = 19_000) -> bytes:
    return (
        b"\x80\x04}(" + text("msg") + text("m") + text("x")
        + b"(" + value + again * times + b"tu."
    )  # fmt: skip


PATH = b"(" + text("a") + b"q\x01" + b"h\x01" * 254 + text("C:\\") + b"t"
"""256 parts, of which the last is absolute."""
DTYPE = cls("numpy", "dtype") + text("f8") + b"\x89\x88\x87R(K\x03" + text("<") + b"NNNNNNtb"
ARRAY = b"(K\x01M\xd0\x07\x85" + DTYPE + b"\x89B" + struct.pack("<I", 16_000) + b"\1" * 16_000
PAIRS = b"](" + b"NN\x86" * 8000 + b"e"
NESTED_DICTS = b"](" + b"}" * 9000 + b"e"
SLOTS = b"}(" + b"".join(text(f"k{number}") + b"N" for number in range(2000)) + b"u"

WORK: dict[str, tuple[bytes, bytes]] = {
    "one path": (cls("pathlib", "WindowsPath") + PATH + b"Rq\x00", b"h\x00"),
    "paths of the same parts": (
        cls("pathlib", "WindowsPath") + b"q\x02" + PATH + b"q\x03R", b"h\x02h\x03R"),
    "one OrderedDict": (
        cls("collections", "OrderedDict") + PAIRS + b"\x85Rq\x02", b"h\x02"),
    "OrderedDicts of the same pairs": (
        cls("collections", "OrderedDict") + b"q\x02" + PAIRS + b"\x85q\x03R", b"h\x02h\x03R"),
    "OrderedDicts of bad pairs": (
        cls("collections", "OrderedDict") + b"q\x02" + PAIRS[:-1] + b"Ne\x85q\x03R",
        b"h\x02h\x03R"),
    "ChainMaps of the same maps": (
        cls("collections", "ChainMap") + b"q\x02)R}" + text("maps") + NESTED_DICTS + b"sq\x03b",
        b"h\x02)Rh\x03b"),
    "objects with the same slots": (
        cls("app", "C") + b"q\x02)R" + SLOTS + SLOTS + b"\x86q\x03b", b"h\x02)Rh\x03b"),
    "datetimes in one zone of many arguments": (
        cls("datetime", "datetime") + b"q\x02C\x0a\x07\xea\x0b\x17\x0e\x05\x06\x00\x03\x15"
        + cls("copyreg", "__newobj__") + b"(" + cls("app", "Zone") + b"N" * 9000 + b"tR"
        + b"\x86q\x03R", b"h\x02h\x03R"),
    "arrays of the same bytes": (
        cls("numpy.core.multiarray", "_reconstruct") + b"q\x02)q\x05R" + ARRAY + b"tq\x03b",
        b"h\x02h\x05Rh\x03b"),
    "arrays that lie about their shape": (
        cls("numpy.core.multiarray", "_reconstruct") + b"q\x02)q\x05R"
        + ARRAY.replace(b"M\xd0\x07", b"M\xd0\x08") + b"tq\x03b", b"h\x02h\x05Rh\x03b"),
    "ranges": (
        cls("builtins", "range") + b"q\x02\x8a\x10" + b"\x7f" * 16 + b"q\x01h\x01h\x01\x87q\x03R",
        b"h\x02h\x03R"),
    "objects with the same kwargs": (
        cls("app", "C") + b"q\x02)}(" + b"NN" * 9000 + b"uq\x03\x92", b"h\x02)h\x03\x92"),
    "objects of no known class": (cls("app", "C") + b"q\x02)R", b"h\x02)R"),
    "objects of a class with a long name": (cls("a" * 70_000, "C") + b"q\x02)R", b"h\x02)R"),
    "copyreg with many arguments": (
        cls("copyreg", "__newobj__") + b"q\x02("
        + cls("pandas._libs.tslibs.nattype", "_nat_unpickle") + b"N" * 9000 + b"tq\x03R",
        b"h\x02h\x03R"),
    "results that are called": (cls("app", "C") + b")R)R)R)R)R)Rq\x02)R", b"h\x02)R"),
    "keys that are tuples": (b"}q\x02(" + b")N" * 9000 + b"u", b""),
}  # fmt: skip


@pytest.mark.parametrize("name", WORK)
def test_the_work_for_a_frame_is_bounded_by_its_bytes(name: str) -> None:
    """Each takes a tenth of a second at most. Without the bound, the work for one long argument
    would be done 19,000 times, which takes a second to minutes."""
    sent = frame(*WORK[name])

    def seconds() -> float:
        started = time.process_time()
        assert record_of(sent).message == "m"
        return time.process_time() - started

    # The processor time of a loaded machine varies: one measurement of three is enough.
    assert any(seconds() < 0.5 for _ in range(3))


def test_long_messages_with_many_conversions_are_merged_in_linear_time() -> None:
    for msg, args in (("%s" * 9000, (None,) * 9000), ("%(" * 40_000, (1,)), ("%%" * 50_000, (1,))):
        started = time.process_time()
        record_of(pickle.dumps({"msg": msg, "args": args}, 4))
        assert time.process_time() - started < 1.0


def call_count(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return a function that returns how often the reader of UUIDs was called."""
    from fastlog.decode import classes, object_reader

    calls: list[Any] = []
    reader = classes.READERS["uuid.UUID"]

    def counted(node: Any, work: Any) -> Any:
        calls.append(node)
        return reader(node, work)

    monkeypatch.setitem(classes.READERS, "uuid.UUID", counted)
    monkeypatch.setattr(object_reader, "_READERS_BY_TEXT", {})
    return lambda: len(calls)


def test_a_shared_object_is_read_once_for_each_record(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = call_count(monkeypatch)
    value = uuid.UUID(int=7)
    record_of(pickle.dumps({"x": [value] * 1000}, 4))
    assert calls() == 1
