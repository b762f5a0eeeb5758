"""The inert reader and containers over the bound, cycles, setters and names; it runs nothing."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from inert_values import PICKLERS, F, called, pairs, value_of

from fastlog.decode.inert_tree import resolve
from fastlog.decode.pickle_machine import CONTAINERS, OVERFLOW
from fastlog.decode.unpickle import unpickle
from fastlog.errors import RejectedError


def test_containers_over_the_bound_are_one_shared_overflow() -> None:
    with unpickle(b"](" + b"]" * (CONTAINERS + 5) + b"]K\x01a}K\x01K\x01se.") as value:
        assert value[: CONTAINERS - 1] == [[]] * (CONTAINERS - 1)
        assert {id(OVERFLOW)} == set(map(id, value[CONTAINERS - 1 :]))
    assert OVERFLOW == {"cut": "size"}


def test_the_overflow_node_is_not_cleared_after_a_frame() -> None:
    """It is one object for all frames: one that fetches it from the memo must not clear it."""
    data = b"](" + b"]" * CONTAINERS + b"q\x01h\x01h\x01e."
    for _ in range(2):
        with unpickle(data) as value:
            assert value[-1] == {"cut": "size"}
    assert OVERFLOW == {"cut": "size"}


CYCLES = [
    b"]q\x00h\x00a.",
    b"}q\x00h\x00h\x00s.",
    b"]q\x00h\x00\x85a.",
    b"cm\nF\n)Rq\x00h\x00b.",
    b"(]q\x00q\x01h\x00\x85q\x020h\x00h\x02at.",
    b"]q\x00h\x00ah\x01.",  # rejected after the cycle is closed
]


@pytest.mark.parametrize("data", CYCLES, ids=repr)
def test_a_cycle_leaves_no_garbage(data: bytes) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            try:
                with unpickle(data):
                    pass
            except RejectedError:
                pass
        assert gc.collect() < 50
    finally:
        gc.enable()


class Special:
    """An object with its own setter of the state."""

    def __reduce__(self) -> Any:
        return (complex, (1, 2), {"k": 1}, None, None, set_state)


def set_state(target: Any, state: Any) -> None: ...


@pytest.mark.parametrize("dumps", PICKLERS)
@pytest.mark.parametrize("protocol", range(6))
def test_an_object_with_a_setter_keeps_its_state(
    protocol: int, dumps: Callable[..., bytes]
) -> None:
    shared = Special()
    with unpickle(dumps([shared, shared], protocol)) as value:
        first, second = value
        assert first is second
        assert pairs("k", 1) == first["state"]


def test_only_a_call_with_the_object_below_it_is_a_setter() -> None:
    call = b"cm\nF\n)Rq\x00"
    assert called(F) == value_of(call + b"cm\nset\nh\x00K\x01K\x02\x87R0.")
    assert called(F) == value_of(call + b"cm\nset\nNK\x01\x86R0.")
    assert called(F, state=1) == value_of(call + b"K\x01bcm\nset\nh\x00K\x02\x86R0.")
    expected = called(F, state=2)
    assert expected == value_of(call + b"cm\nset\nh\x00K\x02\x86R0.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:__builtin__:long", "builtins.int"),
        ("1:__builtin__:xrange", "builtins.range"),
        ("2:__builtin__:unicode", "builtins.str"),
        ("2:UserDict:IterableUserDict", "collections.UserDict"),
        ("2:exceptions:ValueError", "builtins.ValueError"),
        ("2:exceptions:Unheard", "builtins.Unheard"),
        ("2:copy_reg:__newobj__", "copyreg.__newobj__"),
        ("2:Queue:Queue", "queue.Queue"),
        ("3:Queue:Queue", "Queue.Queue"),
        ("4:exceptions:ValueError", "exceptions.ValueError"),
        ("4:pathlib._local:PosixPath", "pathlib.PosixPath"),
        ("0:app:a.b", "app.a.b"),
        ("4:app:a:b", "app.a:b"),
        ("4::", "."),
        (f"4:{'m' * 300}:{'n' * 70_000}", f"{'m' * 256}.{'n' * 256}"),
        (f"4:{'m' * 300}:{'n' * 300}:{'n' * 300}", f"{'m' * 256}.{'n' * 256}"),
    ],
)
def test_names_of_python_2_are_mapped_to_those_of_python_3_in_protocols_0_to_2(
    text: str, expected: str
) -> None:
    assert expected == resolve(text)


def test_the_python_engine_imports_no_unpickler() -> None:
    code = (
        "import sys, fastlog.decode; fastlog.decode.Decoder('python');"
        "print(sorted({'pickle', '_pickle'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_reading_a_hostile_pickle_imports_and_runs_nothing() -> None:
    code = (
        "import sys\n"
        "from fastlog.decode import read_record\n"
        "before = set(sys.modules)\n"
        "events = []\n"
        "sys.addaudithook(lambda name, args: events.append(name) if name != 'builtins.id' else 0)\n"
        "data = b'}(X\\x01\\0\\0\\0acantigravity\\nfly\\n(X\\x02\\0\\0\\0lstRX\\x01\\0\\0\\0b'"
        " b'cposix\\nsystem\\n(X\\x02\\0\\0\\0lstRu.'\n"
        "record = read_record(data, host='h', received=0.0, offset=0, idx=0)\n"
        "print(record.extra, sorted(set(sys.modules) - before), events)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    expected = '{"a":{"!":"antigravity.fly","args":["ls"]},"b":{"!":"posix.system","args":["ls"]}}'
    assert f"{expected} [] []" == result.stdout.strip()
