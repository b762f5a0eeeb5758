"""Small frames that would be expensive for an unpickler or a careless reader.

Each has the beginning of its rejection, or "" if it becomes a record.
"""

from __future__ import annotations

import struct


def _u4(number: int) -> bytes:
    return struct.pack("<I", number)


def _record(opcodes: bytes) -> bytes:
    """Return a record whose attribute `x` is the value that these opcodes push."""
    return b"\x80\x02}(X\x03\0\0\0msgX\x02\0\0\0hiX\x01\0\0\0x" + opcodes + b"u."


def _text(length: int) -> bytes:
    return b"X" + _u4(length) + b"y" * length


def _laughs(levels: int) -> bytes:
    lists = b"".join(b"](h%ch%ceq%c" % (level, level, level + 1) for level in range(levels))
    return b"(]q\x00K\x01a" + lists + b"l"


def _aliased(opcodes: bytes, times: int = 150_000, depth: int = 30) -> bytes:
    """Return a value and many references to it, in a list just above the depth bound."""
    many = b"(" + opcodes + b"q\xff" + b"h\xff" * times + b"l"
    return _record(b"]" * depth + many + b"a" * depth)


_BAD_LATIN = b"X" + _u4(400_002) + b"y" * 400_000 + "я".encode()
_KEYS_IN_KEYS = b"X\x01\0\0\0k"
for _ in range(40):
    _KEYS_IN_KEYS = b"}" + _KEYS_IN_KEYS + b"Ns"
_COLLIDING = b"".join(
    b"\x8a\x0a" + (i * (2**61 - 1)).to_bytes(10, "little") + b"N" for i in range(80_000)
)


def _repeated(opcodes: bytes, times: int) -> bytes:
    """Return a value and many references to it, in a list of a plain record.

    The number of values is within bounds, so the translator's bounds on bytes must stop it.
    """
    return _record(b"](" + opcodes + b"q\xff" + b"h\xff" * times + b"e")


_TUPLES = b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(120))


def attacks(size: int) -> dict[str, tuple[bytes, str]]:
    """Return each frame and the beginning of its rejection, by name.

    Args:
        size: The size of the largest frames, in bytes.
    """
    return {
        "LONG_BINPUT 2^28": (b"\x80\x02}r" + _u4(1 << 28) + b".", "malformed pickle: memo index"),
        "PUT 2^28": (b"}p268435456\n.", "malformed pickle: memo index"),
        "hash bomb": (_record(b"})" + b"2\x86" * 30 + b"Ns"), "forbidden opcode DUP"),
        "hash bomb through the memo": (
            _record(b"})" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(120)) + b"Ns"),
            "",
        ),
        "nested tuples as a key": (_record(b"})" + b"\x85" * 133_000 + b"Ns"), ""),
        "billion laughs": (_record(_laughs(30)), ""),
        "a string 16 thousand times": (
            _record(b"(" + _text(32_768) + b"q\0" + b"h\0" * 16_000 + b"l"),
            "",
        ),
        "a string 15 thousand times over": (_repeated(_text(32_768), 15_000), ""),
        "a bad string 15 thousand times": (_repeated(b"U\xff" + b"\xff" * 255, 15_000), ""),
        "a long bad string 15 thousand times": (
            _repeated(b"T" + _u4(60_000) + b"\xff" * 60_000, 15_000),
            "",
        ),
        "a global 15 thousand times": (_repeated(b"c" + b"m" * 250 + b"\nn\n", 15_000), ""),
        "a tuple of tuples of tuples": (_record(_TUPLES), ""),
        "an object of tuples of tuples": (_record(b"capp\nC\n" + _TUPLES + b"\x85R"), ""),
        "a date 12 thousand times": (
            _record(b"](cdatetime\ndate\nq\1C\4\x07\xea\1\1\x85q\2R" + b"h\1h\2R" * 12_000 + b"e"),
            "",
        ),
        "a key 250 times in 60 dicts": (
            _record(
                b"]("
                + b"".join(
                    b"X" + _u4(1000) + b"%04d" % i + b"k" * 996 + b"q%c" % i for i in range(250)
                )
                + (b"}(" + b"".join(b"h%cN" % i for i in range(250)) + b"u") * 60
                + b"e"
            ),
            "",
        ),
        "a string 250 thousand times": (_aliased(_text(400_000), 250_000), ""),
        "a key 125 thousand times": (
            _record(b"(" + _text(500_000) + b"q\0" + b"h\0" * 249_999 + b"d"),
            "",
        ),
        "a bad string 150 thousand times": (_aliased(b"T" + _u4(400_000) + b"\xff" * 400_000), ""),
        "a list in itself": (_record(b"]q\0h\0a"), ""),
        "a dict in itself": (_record(b"}q\0h\0h\0s"), ""),
        "colliding integer keys": (_record(b"}(" + _COLLIDING + b"u"), ""),
        "colliding integer keys in 60 KB": (_record(b"}(" + _COLLIDING[: 13 * 4600] + b"u"), ""),
        "a million empty sets": (_record(b"(" + b"\x8f" * size + b"l"), ""),
        "a million empty lists": (_record(b"(" + b"]" * size + b"l"), ""),
        "a million nested tuples": (_record(b"N" + b"\x85" * size), ""),
        "a million marks": (b"(" * size + b".", "malformed pickle: nested too deep"),
        "a million memo slots": (_record(b"N" + b"\x94" * size), ""),
        "half a million objects": (_record(b"c\n\n" + b")R" * (size // 2)), ""),
        "a third of a million globals": (_record(b"(" + b"c\n\n" * (size // 3) + b"l"), ""),
        "LONG4 of 60 KB": (_record(b"\x8b" + _u4(60_000) + b"\x7f" * 60_000), ""),
        "60 thousand digits": (_record(b"L" + b"9" * 60_000 + b"L\n"), ""),
        "a million digits": (_record(b"I" + b"9" * size + b"\n"), ""),
        "a float of a million digits": (
            _record(b"F" + b"1" * size + b"\n"),
            "malformed pickle: not a num",
        ),
        "bad Python 2 text": (_record(b"T" + _u4(size) + b"\xff" * size), ""),
        "half bad Python 2 text": (_record(b"T" + _u4(size) + b"\xffa" * (size // 2)), ""),
        "lone surrogates": (
            _record(b"X" + _u4(size // 4 * 4) + b"\xed\xa0\x80a" * (size // 4)),
            "",
        ),
        "escapes": (_record(b"S'" + b"\\x00" * (size // 4) + b"'\n"), ""),
        "backslashes": (_record(b"S'" + b"\\" * size + b"\n"), "malformed pickle: string without"),
        "EXT1": (_record(b"\x82\x01"), "forbidden opcode EXT1"),
        "a bytearray of three thousand million": (
            _record(
                b"cbuiltins\nbytearray\n\x8a\x05" + (3 * 10**9).to_bytes(5, "little") + b"\x85R"
            ),
            "",
        ),
        "a bytes of a range that has no end": (
            _record(b"cbuiltins\nbytes\ncbuiltins\nrange\nL1" + b"0" * 18 + b"L\n\x85R\x85R"),
            "",
        ),
        "an integer of three million digits": (
            _record(b"cbuiltins\nint\ncdecimal\nDecimal\nX\x09\0\0\x001e3000000\x85R\x85R"),
            "",
        ),
        "a zone through getattr": (
            _record(
                b"cbuiltins\ngetattr\n(czoneinfo\nZoneInfo\nX\x09\0\0\0_unpicklet"
                b"R(X\x0d\0\0\0Europe/BerlinK\1tR"
            ),
            "",
        ),
        "frames that diverge": (
            b"\x80\x04\x95\x02\0\0\0\0\0\0\0}\x8c\x14cposix\nsystem\n\x8c\x02lsu.",
            "malformed pickle: truncated",
        ),
        "long integers 250 thousand times": (
            _aliased(b"\x8b" + _u4(1700) + b"\x7f" * 1700, 250_000),
            "",
        ),
        "keys in keys": (_record(_KEYS_IN_KEYS), ""),
        "an ordered dict of a long list of pairs": (
            _aliased(b"ccollections\nOrderedDict\n](" + b"K\x01K\x01\x86" * 50_000 + b"Ne\x85R"),
            "",
        ),
        "a large state": (_aliased(b"capp\nC\n)R}(" + b"NN" * 100_000 + b"u}NNs\x86b"), ""),
        "a large UUID": (_aliased(b"cuuid\nUUID\n)R}(" + b"NN" * 100_000 + b"ub"), ""),
        "a bytearray of text that is not Latin-1": (
            _aliased(
                b"cbuiltins\nbytearray\nc_codecs\nencode\n"
                + _BAD_LATIN
                + b"X\x06\0\0\0latin1\x86R\x85R"
            ),
            "",
        ),
        "a long path": (
            _aliased(b"cpathlib\nPosixPath\n(" + _text(400_000) + b"q\1" + b"h\1" * 200 + b"tR"),
            "",
        ),
        "a long name": (_aliased(b"c" + b"m" * 400_000 + b"\nname\n"), ""),
        "JSON nested a million deep": (b'{"a":' + b"[" * size, "malformed JSON: nested too deep"),
        "JSON nested under quotes": (
            b"{" + b"[" * 300 + b'"\\' * (size // 2),
            "malformed JSON: nested",
        ),
        "JSON of empty lists": (b'{"a":[' + b"[]," * (size // 3) + b"0]}", ""),
        "JSON of a million digits": (b'{"a":' + b"9" * size + b"}", ""),
        "JSON float of a million digits": (b'{"a":1.' + b"9" * size + b"}", ""),
        "JSON string without an end": (
            b'{"' + b'a\\"' * (size // 3),
            "malformed JSON: Unterminated",
        ),
    }
