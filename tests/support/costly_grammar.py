"""Frames that cost much for their length, from a grammar.

A frame is generated from a list of numbers, each of which is one choice. So any change of the
numbers gives another well-formed frame, and a part of one list is valid in another. `costliest`
searches with that.

`####` in a frame stands for four digits that are different in each copy of it, and in each
repetition within it: a value that occurs for the first time may cost more than one in a cache.

This is one file because the generator is one grammar, whose rules call each other.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

from grammar import MOMENT

from fastlog.decode.validation import FIELDS

DIGITS = b"####"
LIMITS = (60, 90, 300, 900, 4_000, 16_000, 60_000, 250_000, 1_000_000)
"""Bytes that a frame may have; it may go a little over the limit."""
TIMES = (1, 2, 3, 8, 30, 100, 300, 1_000, 10_000, 1 << 20, 1 << 20, 1 << 20)
LENGTHS = (0, 1, 4, 8, 30, 60, 250, 256, 1_000, 4_000, 60_000, 400_000)
SLOTS = 6
NAMES = (*sorted(FIELDS), "message", "args", "exc_info", "asctime", "msecs", "x", "####")
TEXTS = (b"a", b"####", b"\0", b"\xff", b"\xed\xa0\x80", b"\xf0\x9f\x93\x9c", b"\xc3\xa9",
         b'"\\', b"\1", b"/a", b"%s", b"%(a)s", b"9", b"C:\\", b"\\u00e9", b"a.b")  # fmt: skip
CLASSES = (
    *(b"app C", b"a b", b"####.m N", b"app Outer.Inner", b"collections OrderedDict"),
    *(b"collections deque", b"collections Counter", b"collections defaultdict", b"builtins set"),
    *(b"builtins frozenset", b"builtins list", b"builtins tuple", b"builtins dict"),
    *(b"builtins str", b"builtins bytes", b"builtins bytearray", b"builtins int", b"uuid UUID"),
    *(b"builtins complex", b"builtins range", b"builtins slice", b"_codecs encode"),
    *(b"datetime datetime", b"datetime date", b"datetime time", b"datetime timedelta"),
    *(b"datetime timezone", b"zoneinfo ZoneInfo", b"zoneinfo ZoneInfo._unpickle", b"pytz _p"),
    *(b"pytz _UTC", b"dateutil.tz.tz tzoffset", b"dateutil.tz.tz tzfile", b"decimal Decimal"),
    *(b"pathlib PosixPath", b"pathlib PureWindowsPath", b"pathlib._local WindowsPath"),
    *(b"ipaddress IPv4Address", b"ipaddress IPv6Address", b"ipaddress IPv4Network"),
    *(b"fractions Fraction", b"functools partial", b"types SimpleNamespace", b"time struct_time"),
    *(b"re _compile", b"array array", b"array _array_reconstructor", b"collections UserDict"),
    *(b"collections ChainMap", b"UserDict UserDict", b"__builtin__ unicode", b"__builtin__ xrange"),
    *(b"numpy dtype", b"numpy ndarray", b"numpy.core.multiarray scalar", b"numpy matrix"),
    *(b"numpy._core.multiarray scalar", b"numpy._core.multiarray _reconstruct"),
    *(b"numpy._core.numeric _frombuffer", b"numpy.core.multiarray _reconstruct"),
    *(b"pandas._libs.tslibs.timestamps _unpickle_timestamp", b"pandas Timestamp"),
    *(b"pandas._libs.tslibs.timedeltas _timedelta_unpickle", b"pandas Series"),
    *(b"copyreg _reconstructor", b"copyreg __newobj__", b"copyreg __newobj_ex__"),
    *(b"builtins getattr", b"http HTTPStatus", b"signal Signals", b"logging LogRecord"),
    *(b"markupsafe Markup", b"django.utils.functional _lazy_proxy_unpickle", b"builtins object"),
    *(b"django.utils.safestring SafeString", b"sqlalchemy.engine.row rowproxy_reconstructor"),
    *(b"builtins ValueError", b"exceptions KeyError", b"operator itemgetter", b"builtins Ellipsis"),
)  # fmt: skip


def text(data: bytes) -> bytes:
    return b"\x8c" + bytes([len(data)]) + data if len(data) < 256 else _long_text(data)


def _long_text(data: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(data)) + data


def _bytes(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


class Choices:
    """A list of numbers that is read from the beginning; at its end, random numbers are added."""

    def __init__(self, numbers: Sequence[int], chance: random.Random) -> None:
        self.numbers = list(numbers)
        self._chance = chance
        self._next = 0

    def below(self, bound: int) -> int:
        """Return the next choice: an integer from 0 to below `bound`."""
        if self._next == len(self.numbers):
            self.numbers.append(self._chance.randrange(1 << 16))
        self._next += 1
        return self.numbers[self._next - 1] % bound

    def pick(self, values: Sequence[Any]) -> Any:
        """Return one of the values, by the next choice."""
        return values[self.below(len(values))]

    def cut(self) -> None:
        """Remove the numbers that were not read."""
        del self.numbers[self._next :]


class FrameGenerator:
    """Generates one frame.

    Args:
        choices: The choices.
        scale: Multiplies the bytes that the frame may have, and so the repetitions of a unit that
            is repeated until the frame is full.
    """

    def __init__(self, choices: Choices, scale: float = 1) -> None:
        self.choices = choices
        self.out = bytearray()
        self.limit = int(choices.pick(LIMITS) * scale)
        self.set: set[int] = set()
        """Slots of the memo that are set."""

    @property
    def room(self) -> int:
        return self.limit - len(self.out)

    def frame(self) -> bytes:
        """Return the frame; call this once."""
        if self.choices.below(12) == 0:
            self.json()
        else:
            self.pickle()
        self.choices.cut()
        return bytes(self.out)

    # Pickles

    def pickle(self) -> None:
        choices = self.choices
        if protocol := choices.below(6):
            self.out += b"\x80" + bytes([protocol])
        root = choices.below(10)
        if root == 0:
            self.out += b"clogging\nLogRecord\n)R}"
        elif root == 1:
            self.out += b"ccollections\nOrderedDict\n)R"
        else:
            self.out += b"}"
        self.out += b"("
        for _ in range(choices.pick((0, 1, 1, 2, 2, 3, 5))):
            self.attribute()
        self.out += b"ub." if root == 0 else b"u."

    def attribute(self) -> None:
        choices = self.choices
        kind = choices.below(8)
        if kind == 0:
            self.value(0)
            self.value(0)
        elif kind == 1:  # a message with arguments
            self.out += text(b"msg")
            self.text(choices.pick((b"%s", b"%(a)s", b"%99d", b"%.90f", b"%", b"%r %r")))
            self.out += text(b"args")
            self.value(0)
        elif kind == 2:  # many attributes
            self.many(2, 0, True)
        else:
            self.out += text(choices.pick(NAMES).encode())
            self.value(0)

    def value(self, depth: int) -> None:
        """Write the opcodes of one value; it may be put into the memo."""
        choices = self.choices
        kind = choices.below(16)
        if self.room < 4 or depth > 6 or kind < 3:
            self.scalar()
        elif kind < 6 and self.set:
            self.out += b"h" + bytes([choices.pick(sorted(self.set))])
            return
        elif kind < 10:
            self.container(depth + 1)
        elif kind < 11:
            self.nest(depth + 1)
        else:
            self.object(depth + 1)
        if choices.below(3) == 0:
            slot = choices.below(SLOTS)
            self.out += b"q" + bytes([slot])
            self.set.add(slot)

    def scalar(self) -> None:
        choices = self.choices
        kind = choices.below(16)
        if kind < 4:
            self.text(choices.pick(TEXTS))
        elif kind == 4:
            self.bytes(choices.pick(TEXTS), choices.pick((b"C", b"B", b"U", b"T")))
        elif kind == 5:
            length = self.length()
            digit = bytes([choices.pick((0, 1, 0x7F, 0xFF, 0x80))])
            head = (
                b"\x8a" + bytes([length]) if length < 256 else b"\x8b" + struct.pack("<I", length)
            )
            self.out += head + digit * length
        elif kind == 6:
            line = choices.pick((b"9", b"1", b"0", b"-9", b"####")) * (1 + self.length() // 4)
            self.out += choices.pick((b"I", b"L", b"F")) + line + b"\n"
        elif kind == 7:
            number = choices.pick(
                (0.1, 1e300, -1.2345678901234567e-300, float("nan"), 1e16, 5e-324)
            )
            self.out += b"G" + struct.pack(">d", number)
        elif kind == 8:
            piece = choices.pick((b"\\x00", b"\\'", b"a", b"\\xff", b"\\\\"))
            self.out += b"S'" + piece * (self.length() // len(piece)) + b"'\n"
        elif kind == 9:
            piece = choices.pick((b"\\u00e9", b"\\ud800", b"a", b"\xff", b"\\U0001f4dc"))
            self.out += b"V" + piece * (self.length() // len(piece)) + b"\n"
        elif kind == 10:
            self.out += b"c" + choices.pick(CLASSES).replace(b" ", b"\n") + b"\n"
        else:
            small = (b"N", b"\x88", b"K\1", b"J####", b")", b"]", b"}", b"\x8f", b"K\xff", b"M##")
            self.out += choices.pick(small)

    def length(self) -> int:
        return max(0, min(int(self.choices.pick(LENGTHS)), self.room))

    def text(self, piece: bytes) -> None:
        self.out += text(piece * (self.length() // len(piece)))

    def bytes(self, piece: bytes, opcode: bytes) -> None:
        data = piece * (self.length() // len(piece))
        if opcode in b"CU":
            data = data[:255]
            self.out += opcode + bytes([len(data)]) + data
        else:
            self.out += opcode + struct.pack("<I", len(data)) + data

    def many(self, values: int, depth: int, full: bool = False) -> None:
        """Write a unit of `values` values many times."""
        unit = FrameGenerator.__new__(FrameGenerator)
        unit.choices, unit.out, unit.set = self.choices, bytearray(), self.set
        unit.limit = min(self.room, int(self.choices.pick((8, 20, 60, 300, 3_000))))
        for _ in range(values):
            unit.value(depth)
        times = TIMES[-1] if full else int(self.choices.pick(TIMES))
        times = min(times, max(1, self.room // len(unit.out)))
        made = bytes(unit.out)
        if DIGITS in made:
            self.out += b"".join(made.replace(DIGITS, b"%04d" % (n % 10_000)) for n in range(times))
        else:
            self.out += made * times

    def container(self, depth: int) -> None:
        choices = self.choices
        opened, values, closed = choices.pick((
            (b"](", 1, b"e"), (b"(", 1, b"t"), (b"\x8f(", 1, b"\x90"), (b"(", 1, b"l"),
            (b"}(", 2, b"u"), (b"}(", 2, b"u"), (b"(", 2, b"d"), (b"(", 1, b"\x91"),
        ))  # fmt: skip
        self.out += opened
        for _ in range(choices.pick((1, 1, 1, 2, 3))):
            self.many(values, depth)
        self.out += closed

    def nest(self, depth: int) -> None:
        """Write a value inside many containers, or a chain of calls."""
        choices = self.choices
        opened, closed = choices.pick((
            (b"]", b"a"), (b"", b"\x85"), (b"}K\1", b"s"), (b"", b")R"), (b"", b")\x81"),
            (b"capp\nC\n", b"\x85R"), (b"capp\nC\n)R", b"b"),
            (b"ccollections\nOrderedDict\n", b"\x85R"), (b"", b"q\6h\6\x86"), (b"", b"}q\6b"),
            (b"ccopyreg\n__newobj__\n", b"\x85R"),
            (b"cbuiltins\ngetattr\n", b"\x8c\1a\x86R"), (b"cbuiltins\nset\n", b"\x85R"),
        ))  # fmt: skip
        times = int(choices.pick((2, 8, 20, 31, 32, 33, 60, 300, 5_000)))
        times = min(times, max(0, self.room) // len(opened + closed))
        self.out += opened * times
        if b"R" in closed or b"b" in closed or b"\x81" in closed:
            self.callee()
        else:
            self.value(depth)
        self.out += closed * times

    # Objects

    def callee(self) -> None:
        if self.set and self.choices.below(3) == 0:
            self.out += b"h" + bytes([self.choices.pick(sorted(self.set))])
            return
        self.out += b"c" + self.choices.pick(CLASSES).replace(b" ", b"\n") + b"\n"
        if self.choices.below(3) == 0:
            slot = self.choices.below(SLOTS)
            self.out += b"q" + bytes([slot])
            self.set.add(slot)

    def object(self, depth: int) -> None:
        choices = self.choices
        if choices.below(2):
            self.known(depth)
            return
        self.callee()
        kind = choices.below(8)
        if kind == 0:
            self.out += b")"
        elif kind < 4:
            for _ in range(kind):
                self.value(depth)
            self.out += (b"\x85", b"\x86", b"\x87")[kind - 1]
        elif kind == 4 and self.set:
            self.out += b"h" + bytes([choices.pick(sorted(self.set))])
        else:
            self.out += b"("
            self.many(1, depth)
            self.out += b"t"
        if choices.below(8) == 0:
            self.out += b"}("
            self.many(2, depth)
            self.out += b"u\x92"
        else:
            self.out += choices.pick((b"R", b"\x81"))
        self.more(depth)

    def more(self, depth: int) -> None:
        """Write a state, items or pairs of an object, or nothing."""
        choices = self.choices
        kind = choices.below(8)
        if kind == 0:
            self.value(depth)
            self.out += b"b"
        elif kind == 1:
            self.out += b"}("
            self.many(2, depth)
            self.out += b"ub"
        elif kind == 2:
            self.out += b"N}("
            self.many(2, depth)
            self.out += b"u\x86b"
        elif kind == 3:
            self.out += b"("
            self.many(1, depth)
            self.out += b"e"
        elif kind == 4:
            self.out += b"("
            self.many(2, depth)
            self.out += b"u"

    def known(self, depth: int) -> None:
        """Write an object as its class pickles it, but of any size."""
        ways: Sequence[Callable[[int], None]] = (
            self.moment, self.path, self.collection, self.uuid, self.numpy_scalar,
            self.numpy_array, self.numpy_buffer, self.pandas, self.encoded, self.zone,
            self.one_text, self.numbers, self.rebuilt,
        )  # fmt: skip
        self.choices.pick(ways)(depth)

    def moment(self, depth: int) -> None:
        name, state = self.choices.pick((
            (b"datetime", MOMENT), (b"date", MOMENT[:4]), (b"time", MOMENT[4:]),
        ))  # fmt: skip
        self.out += b"cdatetime\n" + name + b"\nC" + bytes([len(state)]) + state
        if self.choices.below(2):
            self.out += b"\x85R"
        else:
            self.zone(depth) if self.choices.below(2) else self.value(depth)
            self.out += b"\x86R"

    def zone(self, depth: int) -> None:
        self.out += self.choices.pick((
            b"czoneinfo\nZoneInfo._unpickle\n\x8c\4####K\1\x86R",
            b"cbuiltins\ngetattr\nczoneinfo\nZoneInfo\n\x8c\t_unpickle\x86R\x8c\4####K\1\x86R",
            b"cpytz\n_p\n(\x8c\4####M\x10\x0eK\0\x8c\3CETtR",
            b"cpytz\n_UTC\n)R",
            b"cdateutil.tz.tz\ntzoffset\nNM\x10\x0e\x86R",
            b"cdateutil.tz.tz\ntzfile\nN\x8c\4####\x86R}\x8c\5_stdcdatetime\ntimedelta\nK\0K\1K\0\x87Rsb",
            b"cdatetime\ntimezone\ncdatetime\ntimedelta\nK\0M\x10\x0eK\0\x87R\x85R",
        ))  # fmt: skip

    def path(self, depth: int) -> None:
        name = self.choices.pick((b"PosixPath", b"PureWindowsPath"))
        self.out += b"cpathlib\n" + name + b"\n("
        self.many(1, depth)
        self.many(1, depth)
        self.out += b"tR"

    def collection(self, depth: int) -> None:
        names = (b"set", b"frozenset", b"list", b"tuple", b"bytearray", b"dict")
        more = (b"deque", b"OrderedDict", b"Counter", b"defaultdict", b"UserDict", b"ChainMap")
        if self.choices.below(2):
            self.out += b"cbuiltins\n" + self.choices.pick(names) + b"\n"
        else:
            self.out += b"ccollections\n" + self.choices.pick(more) + b"\n"
        self.container(depth)
        self.out += b"\x85R"
        self.more(depth)

    def uuid(self, depth: int) -> None:
        self.out += b"cuuid\nUUID\n)\x81}("
        if self.choices.below(2):
            self.many(2, depth)
        self.out += b"\x8c\3int\x8a\x10" + b"####" * 4 + b"ub"

    def dtype(self, depth: int) -> None:
        code = self.choices.pick(
            (b"f8", b"i8", b"b1", b"U9", b"S9", b"M8", b"m8", b"c16", b"O8", b"f2")
        )
        self.out += (
            b"cnumpy\ndtype\n" + text(code) + b"\x89\x88\x87R(K\3\x8c\1<NNNJ\xff\xff\xff\xff"
        )
        self.out += b"J\xff\xff\xff\xffK\0tb"
        if self.choices.below(2):
            slot = self.choices.below(SLOTS)
            self.out += b"q" + bytes([slot])
            self.set.add(slot)

    def dtype_or_slot(self, depth: int) -> None:
        if self.set and self.choices.below(2):
            self.out += b"h" + bytes([self.choices.pick(sorted(self.set))])
        else:
            self.dtype(depth)

    def numpy_scalar(self, depth: int) -> None:
        self.out += b"cnumpy._core.multiarray\nscalar\n"
        self.dtype_or_slot(depth)
        self.bytes(self.choices.pick((b"\0\0\0\0\0\0\xf0?", b"####")), b"C")
        self.out += b"\x86R"

    def shape(self) -> None:
        self.out += self.choices.pick((
            b"K\1\x85", b"M\xe8\3\x85", b"J####\x85", b"K\1K\1\x86", b"(" + b"K\1" * 30 + b"t",
            b"K\0J\xff\xff\xff\x7f\x86",
            b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x87", b")",
        ))  # fmt: skip

    def numpy_array(self, depth: int) -> None:
        self.out += b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\1b\x87R(K\1"
        self.shape()
        self.dtype_or_slot(depth)
        self.out += self.choices.pick((b"\x88", b"\x89"))
        self.bytes(self.choices.pick((b"\0", b"####", b"\xff")), b"B")
        self.out += b"tb"

    def numpy_buffer(self, depth: int) -> None:
        self.out += b"cnumpy._core.numeric\n_frombuffer\n("
        self.bytes(self.choices.pick((b"\0", b"####", b"\xff")), b"B")
        self.dtype_or_slot(depth)
        self.shape()
        self.out += b"\x8c\1CtR"

    def pandas(self, depth: int) -> None:
        self.out += b"cpandas._libs.tslibs.timestamps\n_unpickle_timestamp\n(\x8a\7####\0\0\1N"
        self.zone(depth) if self.choices.below(2) else self.value(depth)
        self.out += b"K\ntR"

    def encoded(self, depth: int) -> None:
        self.out += b"c_codecs\nencode\n"
        self.text(self.choices.pick(TEXTS))
        self.out += b"\x8c\6latin1\x86R"

    def one_text(self, depth: int) -> None:
        self.out += self.choices.pick((
            b"cdecimal\nDecimal\n", b"cmarkupsafe\nMarkup\n", b"cfractions\nFraction\n",
            b"cbuiltins\nstr\n", b"cre\n_compile\n", b"cipaddress\nIPv6Network\n",
        ))  # fmt: skip
        self.text(self.choices.pick(TEXTS))
        self.out += b"\x85R"

    def numbers(self, depth: int) -> None:
        name, arguments = self.choices.pick((
            (b"datetime\ntimedelta", 3), (b"builtins\nrange", 3), (b"ipaddress\nIPv4Address", 1),
            (b"ipaddress\nIPv6Address", 1), (b"fractions\nFraction", 2), (b"builtins\ncomplex", 2),
            (b"http\nHTTPStatus", 1), (b"app\nLevel", 1),
        ))  # fmt: skip
        self.out += b"c" + name + b"\n"
        for _ in range(arguments):
            self.out += self.choices.pick(
                (b"K\1", b"J####", b"J\xff\xff\xff\xff", b"\x8a\x10" + b"##" * 8)
            )
        self.out += (b"\x85", b"\x86", b"\x87")[arguments - 1] + b"R"

    def rebuilt(self, depth: int) -> None:
        base = self.choices.pick((b"object", b"tuple", b"int", b"str", b"dict", b"list", b"float"))
        self.out += b"ccopyreg\n_reconstructor\n"
        self.callee()
        self.out += b"cbuiltins\n" + base + b"\n"
        self.out += b"N" if base == b"object" else b""
        if base != b"object":
            self.value(depth)
        self.out += b"\x87R"
        self.more(depth)

    # JSON

    def json(self) -> None:
        self.out += b"{"
        for number in range(self.choices.pick((0, 1, 1, 2, 3))):
            name = self.choices.pick((*NAMES, "x"))
            self.out += b"," * (number > 0) + b'"' + name.encode() + b'":'
            self.json_value(0)
        self.out += b"}"

    def json_value(self, depth: int) -> None:
        choices = self.choices
        kind = choices.below(8)
        if self.room < 8 or depth > 3 or kind < 2:
            self.out += choices.pick((
                b"null", b"1", b"1.5", b'""', b'"\\u0000"', b'"\\ud800"', b'"a"', b"[]", b"{}",
                b"1e400", b"12345678901234567890123", b"-0.0", b"true", b'"####"', b"5e-324",
                b'"\\n"',
            ))  # fmt: skip
        elif kind == 2:
            piece = choices.pick((b"a", b"\\u0000", b"\\ud800", b"\\\\", b"\xc3\xa9", b"\\u00e9"))
            self.out += b'"' + piece * (self.length() // len(piece)) + b'"'
        elif kind == 3:
            self.out += (
                b"1" + choices.pick((b"0", b"9")) * self.length() + choices.pick((b"", b".5"))
            )
        elif kind == 4:
            times = min(int(choices.pick((2, 20, 31, 33, 60, 300))), max(0, self.room) // 6)
            opened, closed = choices.pick(((b"[", b"]"), (b'{"a":', b"}"), (b"[0,", b"]")))
            self.out += opened * times
            self.json_value(depth + 1)
            self.out += closed * times
        else:
            unit = FrameGenerator.__new__(FrameGenerator)
            unit.choices, unit.out, unit.set, unit.limit = choices, bytearray(), set(), 60
            is_list = choices.below(2)
            unit.out += (
                b"" if is_list else choices.pick((b'"####":', b'"a":', b'"levelno":', b'"":'))
            )
            unit.json_value(depth + 1)
            times = min(int(choices.pick(TIMES)), max(1, self.room // (len(unit.out) + 1)))
            made = (bytes(unit.out).replace(DIGITS, b"%04d" % (n % 10_000)) for n in range(times))
            self.out += (b"[" if is_list else b"{") + b",".join(made) + (b"]" if is_list else b"}")


def generate(
    numbers: Sequence[int], chance: random.Random, scale: float = 1
) -> tuple[bytes, list[int]]:
    """Return a frame and the numbers that it was generated from."""
    choices = Choices(numbers, chance)
    return FrameGenerator(choices, scale).frame(), choices.numbers
