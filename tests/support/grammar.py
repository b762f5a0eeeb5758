"""Makes random pickles from a grammar: valid ones that no pickler would write.

`frame` makes a record of random values in random opcodes, with a memo and objects. Most frames are
well-formed, and about half of those are plain to the translator.
"""

from __future__ import annotations

import random
import struct

from fastlog.decode.validation import DROPPED, DROPPED_IF_EMPTY, FIELDS

TEXTS = (
    *("", "a", "plain", 'with "quotes" and \\', "lines\r\n\t\b\f\x0b\x1f", "d\xe9j\xe0 vu", "\x7f"),
    *("журнал", "日志", "📜", "nul\0", "sur\ud800r", "pair\ud83d\ude00", "\udcff"),
    *("int", "1", "None", "latin1", "{}", "!cut", "a\\x00", "x" * 255, "y" * 256, "é" * 200),
)
NUMBERS = (0, 1, -1, 255, 256, 65535, 65536, 2**31 - 1, 2**31, -(2**31), 2**63 - 1, -(2**63))
LARGE = (2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**30, 2**128 - 1, 2**128, 10**4095, 10**4097)
FLOATS = (0.0, -0.0, 1.5, 0.1, 1e16, 1e-5, 1e-7, 5e-324, 1.7e308, 1700000000.25, 123456.789)
STRANGE = (float("nan"), float("inf"), float("-inf"))
NAMES = (*sorted(FIELDS), *DROPPED, *DROPPED_IF_EMPTY, "message", "user", "extra", "!notes")
GLOBALS = (
    *("_codecs encode", "builtins bytes", "__builtin__ bytearray", "__builtin__ set"),
    *("builtins frozenset", "collections OrderedDict", "collections Counter"),
    *("collections defaultdict", "datetime datetime", "datetime date", "datetime time"),
    *("datetime timedelta", "datetime timezone", "pytz _UTC", "decimal Decimal", "uuid UUID"),
    *("pathlib PosixPath", "pathlib._local PurePosixPath", "http HTTPStatus", "app Thing"),
    *("copy_reg _reconstructor", "copyreg __newobj__", "builtins object", "builtins list"),
    *("builtins ValueError", "exceptions KeyError", "builtins getattr", "__builtin__ tuple"),
)
MOMENT = b"\x07\xea\x0b\x17\x0e\x05\x06\x00\x03\x15"


def _long(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)


class Writer:
    """Writes one pickle."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.out = bytearray()
        self.puts = 0
        self.scalars: list[int] = []
        """The memo slots that hold texts."""
        self.values_left = 60
        """The number of values that it may still write."""
        self.oddity = chance.choice((0.0, 0.0, 0.01, 0.05, 0.2))
        """The probability of each thing that can make a frame not plain."""

    def memo(self, scalar: bool = False) -> None:
        """Put the topmost value into the memo, or not."""
        if scalar:
            self.scalars.append(self.puts)
        kind = self.chance.randrange(6)
        if kind < 3:
            self.out += b"q" + bytes([self.puts % 256])
        elif kind == 3:
            self.out += b"\x94"
        elif kind == 4:
            self.out += b"r" + struct.pack("<I", self.puts)
        if kind < 5:
            self.puts += 1
        elif scalar:
            self.scalars.pop()

    def is_odd(self) -> bool:
        """Decide whether to do something that can make the frame not plain."""
        return self.chance.random() < self.oddity

    def slot(self) -> int:
        """Return a memo slot that is set."""
        return self.chance.choice(range(self.puts) if self.is_odd() else self.scalars)

    def text(self, text: str) -> None:
        data = text.encode("utf-8", "surrogatepass")
        if len(data) < 256 and self.chance.random() < 0.3:
            self.out += b"\x8c" + bytes([len(data)]) + data
        else:
            self.out += b"X" + struct.pack("<I", len(data)) + data
        self.memo(scalar=True)

    def bytes(self, data: bytes) -> None:
        short = len(data) < 256
        opcode = self.chance.choice(b"UTCB\x8e\x96" if short else b"TB\x8e")
        self.out.append(opcode)
        width = {"U": "<B", "C": "<B", "T": "<I", "B": "<I"}.get(chr(opcode), "<Q")
        self.out += struct.pack(width, len(data)) + data
        self.memo()

    def integer(self, number: int) -> None:
        kind = self.chance.randrange(5)
        if kind == 0:
            self.out += b"I%d\n" % number
        elif kind == 1:
            self.out += b"L%dL\n" % number
        elif kind == 2 and len(_long(number)) < 256:
            self.out += b"\x8a" + bytes([len(_long(number))]) + _long(number)
        elif 0 <= number < 256:
            self.out += b"K" + bytes([number])
        elif 0 <= number < 65536:
            self.out += b"M" + struct.pack("<H", number)
        elif -(2**31) <= number < 2**31:
            self.out += b"J" + struct.pack("<i", number)
        else:
            self.out += b"\x8b" + struct.pack("<I", len(_long(number))) + _long(number)

    def scalar(self) -> None:
        chance = self.chance
        match chance.randrange(13):
            case 0:
                self.out += chance.choice((b"N", b"\x88", b"\x89", b"I00\n", b"I01\n"))
            case 1 | 2:
                self.integer(chance.choice(NUMBERS))
            case 3:
                self.integer(chance.choice(LARGE) if self.is_odd() else 2**64 - 1)
            case 4:
                self.out += b"G" + struct.pack(">d", chance.choice(FLOATS))
            case 5:
                strange = chance.random() < 0.3
                number = chance.choice(STRANGE) if strange else chance.uniform(-1e9, 1e9)
                self.out += b"G" + struct.pack(">d", number)
            case 6:
                data = chance.choice((b"", b"plain", "é".encode(), b"\xff\xfe", b"a\0b", MOMENT))
                self.bytes(data)
            case 7 if self.scalars:
                self.out += b"h" + bytes([self.slot() % 256])
            case 8 if self.scalars:
                self.out += b"j" + struct.pack("<I", self.slot())
            case _:
                self.text(chance.choice(TEXTS))

    def items(self, depth: int, count: int) -> None:
        for _ in range(count):
            self.value(depth)

    def pairs(self, depth: int, count: int) -> None:
        for _ in range(count):
            self.key()
            self.value(depth)

    def key(self) -> None:
        chance = self.chance
        match chance.randrange(16):
            case 0:
                self.bytes(
                    chance.choice((b"key", b"k\xff", "ключ".encode())) + b"%d" % self.values_left
                )
            case 1:
                self.integer(chance.choice((0, 1, 200, -5)) * 1000 + self.values_left)
            case 2 if self.is_odd():
                self.value(0)
            case _:
                unique = "" if self.is_odd() else str(chance.random())
                self.text(chance.choice(TEXTS) + unique)

    def container(self, depth: int) -> None:
        chance = self.chance
        count = chance.choice((0, 1, 2, 3, 5))
        match chance.randrange(9):
            case 0:
                self.out += b"]"
                self.memo()
                self.out += b"("
                self.items(depth, count)
                self.out += b"e"
            case 1:
                self.out += b"]"
                for _ in range(count):
                    self.value(depth)
                    self.out += b"a"
            case 2:
                self.out += b"}"
                self.memo()
                self.out += b"("
                self.pairs(depth, count)
                self.out += b"u"
            case 3:
                self.out += b"}"
                for _ in range(count):
                    self.key()
                    self.value(depth)
                    self.out += b"s"
            case 4:
                self.out += b"("
                self.items(depth, count)
                self.out += b"l" if self.is_odd() else chance.choice((b"t", b"\x91"))
                self.memo()
            case 5:
                self.out += b"\x8f"
                self.memo()
                self.out += b"("
                self.items(depth, count)
                self.out += b"\x90"
            case 6:
                self.out += b")"
            case _:
                width = chance.randrange(1, 4)
                self.items(depth, width)
                self.out += (b"\x85", b"\x86", b"\x87")[width - 1]
                self.memo()

    def name(self, name: str) -> None:
        module, _, name = name.partition(" ")
        if self.chance.random() < 0.6:
            self.out += f"c{module}\n{name}\n".encode()
        else:
            self.text(module)
            self.text(name)
            self.out += b"\x93"
        self.memo()

    def call(self, name: str, *write: object) -> None:
        """Write a call with these arguments, each a bound method or opcodes."""
        self.name(name)
        self.out += b"("
        for each in write:
            if callable(each):
                each()
            else:
                self.out += each  # type: ignore[arg-type]
        self.out += b"t"
        self.memo()
        self.out += self.chance.choice((b"R", b"R", b"\x81"))
        self.memo()

    def latin(self, data: bytes) -> None:
        def text() -> None:
            self.text(str(data, "latin-1"))

        self.call("_codecs encode", text, lambda: self.text("latin1"))

    def known(self, depth: int) -> None:
        """Write an object as the picklers do, or nearly so."""
        chance = self.chance
        moment = bytearray(MOMENT)
        if self.is_odd():
            moment[chance.randrange(10)] = chance.randrange(256)
        write_state = self.latin if chance.random() < 0.5 else self.bytes
        match chance.randrange(16):
            case 0:
                self.latin(chance.choice((b"plain", b"\xff\0", "é".encode(), moment)))
            case 1:
                self.call("datetime datetime", lambda: write_state(bytes(moment)))
            case 2:
                self.call("datetime datetime", lambda: write_state(bytes(moment)), self.zone)
            case 3:
                self.call("datetime date", lambda: write_state(bytes(moment[:4])))
            case 4:
                self.call("datetime time", lambda: write_state(bytes(moment[4:])))
            case 5:
                self.delta()
            case 6:
                self.call("decimal Decimal", lambda: self.text("1.50"))
            case 7:
                parts = [b"X\1\0\0\0/", *[lambda: self.text(chance.choice(TEXTS))] * 2]
                self.call("pathlib PosixPath", *parts[chance.randrange(2) :])
            case 8:
                self.call(chance.choice(GLOBALS[3:5]), lambda: self.container(depth))
            case 9:
                self.uuid()
            case 10:
                self.call("http HTTPStatus", lambda: self.integer(404))
            case 11:
                self.call(chance.choice(GLOBALS[5:8]))
                self.out += b"("
                self.pairs(depth, chance.randrange(3))
                self.out += b"u"
            case 12:
                self.call("builtins bytearray", lambda: self.latin(b"abc"))
            case _:
                self.thing(depth)

    def thing(self, depth: int) -> None:
        """Write an object of a class of the application."""
        name = self.chance.choice(("app Thing", "builtins ValueError", "exceptions KeyError"))
        if self.chance.random() < 0.5:
            self.call(name, lambda: self.items(depth, self.chance.randrange(3)))
        else:
            base = self.chance.choice((b"c__builtin__\nobject\n", b"cbuiltins\ntuple\n"))
            state = self.chance.choice((b"N", b")", b"K\1K\2\x86", b"K\1"))
            self.call("copyreg _reconstructor", lambda: self.name(name), base, state)
        if self.chance.random() < 0.5:
            self.out += b"}("
            self.pairs(depth, self.chance.randrange(3))
            self.out += b"ub"

    def uuid(self) -> None:
        self.call("copy_reg _reconstructor", b"cuuid\nUUID\n", b"c__builtin__\nobject\n", b"N")
        self.out += b"}"
        self.text("int")
        self.integer(self.chance.choice((2**128, -1) if self.is_odd() else (5, 2**127, 2**128 - 1)))
        self.out += b"sb"

    def delta(self) -> None:
        numbers = self.chance.choice(((0, 0, 0), (0, 7200, 0), (-1, 68400, 0)))
        if self.is_odd():
            numbers = self.chance.choice(((-1, 68400, 5), (9, -1, 0), (10**9, 0, 0), (1, 0, 0)))
        self.call("datetime timedelta", *[lambda n=n: self.integer(n) for n in numbers])

    def zone(self) -> None:
        if self.chance.random() < 0.2:
            self.out += b"N"
        else:
            self.call("datetime timezone", self.delta)

    def anything(self, depth: int) -> None:
        """Write an object of any class, with any arguments and state."""
        chance = self.chance
        self.name(chance.choice(GLOBALS))
        if chance.random() < 0.1:
            return
        self.out += b"("
        self.items(depth, chance.randrange(4))
        self.out += b"t" + chance.choice((b"R", b"\x81"))
        self.memo()
        match chance.randrange(6):
            case 0:
                self.value(depth)
                self.out += b"b"
            case 1:
                self.out += b"}("
                self.pairs(depth, chance.randrange(3))
                self.out += b"ub"
            case 2:
                self.out += b"("
                self.pairs(depth, 1)
                self.out += chance.choice((b"u", b"e", b"\x90"))

    def value(self, depth: int) -> None:
        self.values_left -= 1
        kind = self.chance.randrange(20)
        if self.values_left < 0 or depth > 40 or kind < 14:
            self.scalar()
        elif kind < 17:
            self.container(depth + 1)
        elif self.is_odd():
            self.anything(depth + 1)
        else:
            self.known(depth + 1)

    def field(self, name: str) -> None:
        """Write a value of a field, mostly of the type that the schema requires."""
        chance = self.chance
        if self.is_odd():
            self.value(0)
        elif name == "created":
            times = (1e12, -1e12) if self.is_odd() else (1.5, 1.7e9, -6e10, 2.5e11)
            self.out += b"G" + struct.pack(">d", chance.choice(times))
        elif name in ("levelno", "lineno", "process", "thread"):
            self.integer(chance.choice(NUMBERS))
        elif name in DROPPED:
            self.out += b"G" + struct.pack(">d", 1.5)
        elif name == "taskName":
            self.out += b"N"
        elif name in DROPPED_IF_EMPTY:
            self.out += chance.choice((b"N", b"N", b")", b"]", b"}"))
        elif chance.random() < 0.2:
            self.bytes(chance.choice(TEXTS).encode("utf-8", "replace"))
        else:
            self.text(chance.choice(TEXTS))


def frame(seed: int) -> bytes:
    """Return a frame; the same seed gives the same frame."""
    chance = random.Random(seed)
    writer = Writer(chance)
    if chance.random() < 0.5:
        writer.out += b"\x80" + bytes([chance.randrange(6)])
    names = [name for name in NAMES if chance.random() < 0.8]
    if not writer.is_odd():
        names = sorted({*names, "msg", "levelno", "levelname"})
    chance.shuffle(names)
    if writer.is_odd():
        names.append(chance.choice(NAMES))
    writer.out += b"}"
    writer.memo()
    writer.out += b"("
    for name in names:
        if chance.random() < 0.1:
            writer.bytes(name.encode())
        else:
            writer.text(name)
        writer.field(name)
    writer.pairs(0, chance.choice((0, 0, 1, 2, 4)))
    writer.out += b"u."
    out = bytes(writer.out)
    if chance.random() < 0.2:
        corrupt = bytearray(out)
        for _ in range(chance.randrange(1, 3)):
            corrupt[chance.randrange(len(corrupt))] = chance.choice(corrupt)
        return bytes(corrupt)
    return out
