"""The inert reader gives exactly what a pickle holds, and rejects what is not one."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inert_values import PICKLERS, F, called, pairs, value_of

from fastlog.decode.unpickle import unpickle
from fastlog.errors import RejectedError

READ: list[tuple[bytes, Any]] = [
    (b"N.", None),
    (b"\x88.", True),
    (b"\x89.", False),
    (b"I00\n.", False),
    (b"I01\n.", True),
    (b"I1\n.", 1),
    (b"I-12\n.", -12),
    (b"I9223372036854775808\n.", 2**63),
    (b"L5L\n.", 5),
    (b"L-0L\n.", 0),
    (b"K\xff.", 255),
    (b"M\xff\xff.", 65535),
    (b"J\xff\xff\xff\xff.", -1),
    (b"\x8a\x00.", 0),
    (b"\x8a\x01\xff.", -1),
    (b"\x8b\x02\x00\x00\x00\x00\x01.", 256),
    (b"F1.5\n.", 1.5),
    (b"F-1e-07\n.", -1e-07),
    (b"G?\xf8\x00\x00\x00\x00\x00\x00.", 1.5),
    (b"S'a\\n\\x00\\'\\\\'\n.", b"a\n\x00'\\"),
    (b'S"it\'s"\n.', b"it's"),
    (b"U\x02\xff\xfe.", b"\xff\xfe"),
    (b"T\x01\x00\x00\x00a.", b"a"),
    (b"C\x01a.", b"a"),
    (b"B\x01\x00\x00\x00a.", b"a"),
    (b"\x8e\x01\0\0\0\0\0\0\0a.", b"a"),
    (b"\x96\x01\0\0\0\0\0\0\0a.", b"a"),
    (b"Vd\xe9j\\u0430\n.", "déj\u0430"),
    (b"X\x02\x00\x00\x00\xc3\xa9.", "é"),
    (b"\x8c\x03\xed\xa0\x80.", "\ud800"),
    (b"\x8d\x01\0\0\0\0\0\0\0a.", "a"),
    (b").", ()),
    (b"(K\x01K\x02t.", (1, 2)),
    (b"K\x01\x85.", (1,)),
    (b"K\x01K\x02\x86.", (1, 2)),
    (b"K\x01K\x02K\x03\x87.", (1, 2, 3)),
    (b"].", []),
    (b"(K\x01l.", [1]),
    (b"]K\x01a.", [1]),
    (b"](K\x01K\x02e.", [1, 2]),
    (b"](e.", []),
    (b"}.", pairs()),
    (b"(K\x01Nd.", pairs(1, None)),
    (b"}K\x01Ns.", pairs(1, None)),
    (b"}(K\x01NK\x01Nu.", pairs(1, None, 1, None)),
    (b"\x8f(K\x01\x90.", ("set", 1)),
    (b"(K\x01\x91.", (1,)),
    (b"cm\nF\n.", {"global": F}),
    (b"\x8c\x01m\x8c\x01F\x93.", {"global": F}),
    (b"\x80\x02cm\nF\n.", {"global": "2:m:F"}),
    (b"\x80\x04\x80\x02cm\nF\n.", {"global": "4:m:F"}),
    (b"cm\nF\n0\x80\x04cm:n\nF\n.", {"global": "4:m:n:F"}),
    (b"cm\nF\n)R.", called(F)),
    (b"cm\nF\nK\x01\x85\x81.", called(F, 1)),
    (b"cm\nF\n)}K\x01Ns\x92.", called(F, kwargs=pairs(1, None))),
    (b"cm\nF\n)RK\x02b.", called(F, state=2)),
    (b"(cm\nF\nK\x01o.", called(F, 1)),
    (b"(K\x01im\nF\n.", called(F, 1)),
    (b"cm\nF\n)R(K\x01e.", called(F, items=[1])),
    (b"cm\nF\n)RK\x01K\x02s.", called(F, pairs=[1, 2])),
    (b"cm\nF\n)R)R.", called(called(F))),
    (b"NK\x010.", None),
    (b"N(0.", None),
    (b"N(K\x01K\x021.", None),
    (b"Np5\n0g5\n.", None),
    (b"K\x07q\x000h\x00.", 7),
    (b"K\x07r\x01\x00\x00\x000j\x01\x00\x00\x00.", 7),
    (b"K\x07q\x010K\x08\x940h\x01.", 8),  # one slot is set, so MEMOIZE sets slot 1
    (b"K\x07q\x010h\x01\x940h\x01.", 7),
    (b"K\x07q\x010K\x08q\x000K\x09\x940h\x02.", 9),  # two are set, so slot 2
    (b"\x80\x02\x80\x02N.", None),
    (b"\x80\x04\x95\x02\0\0\0\0\0\0\0N.", None),
    (b"\x95\x01\0\0\0\0\0\0\0N\x95\x01\0\0\0\0\0\0\x00..", None),
    (b"\x95\x01\0\0\0\0\0\0\0N.", None),
]


@pytest.mark.parametrize(("data", "expected"), READ, ids=[repr(data) for data, _ in READ])
def test_every_opcode_gives_its_value(data: bytes, expected: Any) -> None:
    if data.endswith(b".."):
        data = data[:-1]
    actual = value_of(data)
    assert expected == actual
    assert type(expected) is type(actual)


REJECTED: dict[str, list[bytes]] = {
    "malformed pickle: no STOP": [b"", b"N", b"(", b"\x80\x02"],
    "malformed pickle: bytes behind STOP": [b"N.N", b"N.."],
    "malformed pickle: open mark": [b"(N.", b"N(."],
    "malformed pickle: not one value": [b".", b"NN.", b"NN\x86N."],
    "malformed pickle: stack underflow": [
        *(b"a.", b"e.", b"s.", b"u.", b"t.", b"l.", b"d.", b"0.", b"1.", b"\x85.", b"N\x86."),
        *(b"NN\x87.", b"q\x00.", b"\x94.", b"R.", b"b.", b"o.", b"(o.", b"\x90.", b"\x93."),
        *(b"N(q\x00.", b"](a.", b"N(K\x01\x86.", b"im\nF\n."),
    ],
    "malformed pickle: truncated": [
        *(b"K", b"M\x00", b"J\0\0\0", b"G\0", b"X\0\0\0", b"X\x01\0\0\0", b"U", b"U\x01", b"\x8c"),
        *(b"\x8c\x01", b"q", b"Nq", b"h", b"j\0", b"r\0", b"I1", b"cm\n", b"\x80", b"\x95\0"),
        *(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff", b"\x8b\xff\xff\xff\x7f", b"C\x02a"),
        *(b"B\xff\xff\xff\xff", b"\x8d\0", b"p1", b"F1", b"\x8a\x02a"),
        b"\x80\x04\x95\x02\0\0\0\0\0\0\0\x8c\x01a.",  # an argument beyond its frame
        b"\x95\x01\0\0\0\0\0\0\0K\x01.",
        b"\x95\x02\0\0\0\0\0\0\0C\x01a.",
        b"\x95\x02\0\0\0\0\0\0\0I1\n.",
    ],
    "malformed pickle: frame length": [
        b"\x95\0\0\0\0\0\0\0\0N.",
        b"\x95\x03\0\0\0\0\0\0\0N.",
        b"\x95\xff\xff\xff\xff\xff\xff\xff\xffN.",
    ],
    "malformed pickle: nested frame": [
        b"\x95\x0b\0\0\0\0\0\0\0\x95\x02\0\0\0\0\0\0\0N.",
        b"\x95\x0c\0\0\0\0\0\0\0\x95\x01\0\0\0\0\0\0\0NN.",
    ],
    "malformed pickle: unknown protocol": [b"\x80\x06N.", b"\x80\xffN."],
    "malformed pickle: unknown opcode": [b"\x00.", b"\xff.", b"Z.", b"\x99."],
    "malformed pickle: not a number": [
        *(
            b"I\n.",
            b"I+1\n.",
            b"I 1\n.",
            b"I012\n.",
            b"I1_0\n.",
            b"I000\n.",
            b"I1.0\n.",
            b"I--1\n.",
        ),
        *(b"L1\n.", b"L\n.", b"LL\n.", b"L01L\n.", b"L1LL\n.", b"Fx\n.", b"F\n.", b"F1_0\n."),
        *(b"F 1\n.", b"F" + b"1" * 65 + b"\n."),
    ],
    "malformed pickle: string without quotes": [
        *(
            b"Sa\n.",
            b"S\n.",
            b"S'\n.",
            b"S'a\n.",
            b"S'a\"\n.",
            b"S'\\\n.",
            b"S'\\x0'\n.",
            b"S'\\q'\n.",
        ),
    ],
    "malformed pickle: text is not UTF-8": [
        *(
            b"\x8c\x01\xff.",
            b"X\x02\0\0\0\xc3(.",
            b"\x8c\x02\xc0\x80.",
            b"V\\u12\n.",
            b"c\xff\nF\n.",
        ),
    ],
    "malformed pickle: negative length": [
        b"T\x00\x00\x00\x80.",
        b"\x8b\xff\xff\xff\xff.",
    ],
    "malformed pickle: memo slot not set": [b"h\x00.", b"Nq\x01h\x00.", b"g0\n.", b"j\0\0\0\0."],
    "malformed pickle: memo index out of bounds": [
        *(
            b"Nr\xff\xff\xff\xff.",
            b"Np1000000\n.",
            b"Np999999\n.",
            b"Np-1\n.",
            b"Npx\n.",
            b"Nq\xff.",
        ),
        *(b"Np\n.", b"gx\n.", b"g\n."),
    ],
    "malformed pickle: key without a value": [b"}(Nu.", b"(Nd."],
    "malformed pickle: APPEND to what is no list": [b")Na.", b"}(e.", b"\x8fNa.", b"cm\nF\nNa."],
    "malformed pickle: SETITEM in what is no dict": [b"]NNs.", b"](u.", b")(NNu.", b"cm\nF\nNNs."],
    "malformed pickle: ADDITEMS to what is no set": [b"](N\x90.", b"}(\x90.", b"cm\nF\n)R(\x90."],
    "malformed pickle: BUILD of what is no object": [b"]Nb.", b"NNb.", b"cm\nF\nNb."],
    "malformed pickle: call of what is no global": [b"N)R.", b"\x8c\x01a)R.", b"(No.", b"])\x81."],
    "malformed pickle: arguments that are no tuple": [
        *(b"cm\nF\n]R.", b"cm\nF\nNR.", b"cm\nF\n)N0]\x92.", b"cm\nF\nN\x81."),
    ],
    "malformed pickle: global without a name": [b"NN\x93.", b"\x8c\x01mK\x01\x93."],
    "malformed pickle: nested too deep": [b"(" * 10_001 + b"."],
    "forbidden opcode DUP": [b"N2\x86."],
    "forbidden opcode PERSID": [b"Pa\n."],
    "forbidden opcode BINPERSID": [b"NQ."],
    "forbidden opcode EXT1": [b"\x82\x01."],
    "forbidden opcode EXT2": [b"\x83\x01\x00."],
    "forbidden opcode EXT4": [b"\x84\x01\x00\x00\x00."],
    "forbidden opcode NEXT_BUFFER": [b"\x97."],
    "forbidden opcode READONLY_BUFFER": [b"N\x98."],
}


@pytest.mark.parametrize(
    ("reason", "data"),
    [(reason, data) for reason, each in REJECTED.items() for data in each],
    ids=lambda value: value if isinstance(value, str) else repr(value[:40]),
)
def test_what_is_not_exactly_a_pickle_is_rejected(reason: str, data: bytes) -> None:
    with pytest.raises(RejectedError) as caught:
        unpickle(data)
    assert reason == str(caught.value)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=[]))
    | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def as_nodes(value: Any) -> Any:
    match value:
        case dict():
            return pairs(*(each for pair in value.items() for each in map(as_nodes, pair)))
        case list():
            return [as_nodes(each) for each in value]
        case tuple():
            return tuple(as_nodes(each) for each in value)
    return value


@given(value=PLAIN, protocol=st.integers(3, 5), dumps=st.sampled_from(PICKLERS))
def test_plain_data_is_read_as_pickle_reads_it(
    value: Any, protocol: int, dumps: Callable[..., bytes]
) -> None:
    data = dumps(value, protocol)
    assert repr(as_nodes(pickle.loads(data))) == repr(value_of(data))


@given(value=PLAIN, protocol=st.integers(0, 5), cut=st.integers(1, 40))
def test_a_pickle_that_is_cut_short_is_rejected(value: Any, protocol: int, cut: int) -> None:
    data = pickle.dumps(value, protocol)
    with pytest.raises(RejectedError):
        unpickle(data[: max(len(data) - cut, 0)])


def test_integers_up_to_the_bound_are_numbers_and_longer_ones_a_text() -> None:
    longest = 10**4096 - 1
    assert longest == value_of(b"L%dL\n." % longest)
    assert value_of(b"I1" + b"0" * 4096 + b"\n.") == {"huge": ["1" + "0" * 31, 4097]}
    limit = (1700).to_bytes(4, "little")
    assert int.from_bytes(b"\x7f" * 1700, "little") == value_of(
        b"\x8b" + limit + b"\x7f" * 1700 + b"."
    )
    over = value_of(b"\x8b" + (1701).to_bytes(4, "little") + b"\x7f" * 1701 + b".")
    assert over == {"huge": [b"\x7f" * 16, 1701]}
