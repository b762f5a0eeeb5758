"""Makes random pickles of object graphs: shared values, later changes, and cycles.

`frame` makes a record that uses every opcode that a reader accepts, in ways that no pickler does:
memo slots are set in every way and set again, containers and objects change while others refer to
them, the record refers to itself. Each frame has only some of these features and a few classes, so
that rare features occur together more often, and some frames are simple. Most are well-formed.
`grammar.py` has the scalars and the well-known objects.

This is one file because the writer is one grammar, whose rules call each other and share a memo.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import grammar
from grammar import LARGE, NAMES, NUMBERS, TEXTS

CLASSES = (
    *grammar.GLOBALS,
    *("collections deque", "collections ChainMap", "collections UserDict", "UserDict UserDict"),
    *("__builtin__ set", "builtins frozenset", "builtins tuple", "builtins str", "builtins int"),
    *("builtins float", "builtins dict", "builtins range", "__builtin__ xrange", "builtins slice"),
    *("__builtin__ unicode", "__builtin__ long", "builtins complex", "builtins bytes"),
    *("zoneinfo ZoneInfo", "pytz _p", "dateutil.tz.tz tzoffset", "dateutil.tz.tz tzutc"),
    *("fractions Fraction", "ipaddress IPv4Address", "ipaddress IPv6Network"),
    *("pathlib PureWindowsPath", "functools partial", "types SimpleNamespace", "time struct_time"),
    *("numpy dtype", "numpy ndarray", "numpy._core.multiarray scalar", "numpy.core.multiarray"
      " scalar", "numpy._core.multiarray _reconstruct", "numpy._core.numeric _frombuffer"),
    *("pandas._libs.tslibs.timestamps _unpickle_timestamp", "pandas._libs.tslibs.timedeltas"
      " _timedelta_unpickle", "markupsafe Markup", "array _array_reconstructor"),
    *("copy_reg __newobj__", "copyreg __newobj_ex__", "__builtin__ getattr", "logging LogRecord"),
    *("logging getLogger", "re _compile", "operator itemgetter", "__main__ Level", "x.y Outer.In"),
    *("django.utils.functional _lazy_proxy_unpickle", "signal Signals", "enum IntEnum"),
)  # fmt: skip
DICTS = tuple(name for name in CLASSES if name.endswith(("Dict", "dict", "Counter", "Map")))
COMMON = (
    *("collections OrderedDict", "builtins set", "builtins bytearray", "collections Counter"),
    *("app Thing", "builtins ValueError", "pathlib PosixPath", "datetime datetime", "uuid UUID"),
)
FEATURES = ("statements", "shared", "cycles", "objects", "containers", "known", "old", "fields",
            "states", "roots", "keys", "puts", "depth")  # fmt: skip
STATES = (b"\x07\xea\x0b\x17", b"\x0e\x05\x06\x00\x03\x15", grammar.MOMENT)


class Writer(grammar.Writer):
    """Writes one pickle, and keeps track of what each memo slot holds."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.kinds: dict[int, str] = {}
        """What each memo slot holds: `text`, `list`, `dict`, `set`, `tuple`, `object`, `global` or
        `other`."""
        self.values_left = chance.choice((3, 6, 12, 30, 60))
        self.sharing = chance.choice((0.1, 0.3, 0.6))
        """The probability that a value is one that was written before."""
        likely = chance.choice((0.1, 0.3, 0.6))
        self.features = {feature for feature in FEATURES if chance.random() < likely}
        names = chance.sample(CLASSES, chance.randrange(1, 6))
        self.classes = [*names, *chance.sample(COMMON, 2), chance.choice(DICTS)]

    def does(self, feature: str, likely: float = 1.0) -> bool:
        return feature in self.features and self.chance.random() < likely

    # The memo

    def memo(self, scalar: bool = False) -> None:
        self.put("text" if scalar else "other")

    def put(self, kind: str, always: bool = False) -> int:
        """Put the topmost value into the memo, or not.

        Returns:
            The slot, or -1.
        """
        chance = self.chance
        how = chance.randrange(3 if always else 6)
        if how == 0:
            slot = len(self.kinds)
            self.out += b"\x94"
        elif how < 3:
            slot = self.slot_to_set()
            if slot < 256 and chance.random() < 0.6:
                self.out += b"q" + bytes([slot])
            elif self.does("old", 0.5):
                self.out += b"p%d\n" % slot
            else:
                self.out += b"r" + struct.pack("<I", slot)
        else:
            return -1
        self.kinds[slot] = kind
        self.scalars = [slot for slot, kind in self.kinds.items() if kind == "text"]
        return slot

    def slot_to_set(self) -> int:
        """Return the next slot, one that is set already, or one after slots that are not set."""
        chance = self.chance
        if not self.does("puts", 0.2):
            return len(self.kinds)
        if self.kinds and chance.random() < 0.5:
            return chance.choice(list(self.kinds))
        # A slot is below half of the frame's length.
        return min(len(self.kinds) + chance.randrange(9), len(self.out) // 2)

    def slot(self) -> int:
        return self.chance.choice(list(self.kinds) if self.is_odd() else self.scalars)

    def get(self, *kinds: str) -> str:
        """Push the value of a slot of one of these kinds, or of any kind if none is given.

        Pushes `None` if there is no such slot.

        Returns:
            The kind of the value.
        """
        slots = [slot for slot, kind in self.kinds.items() if not kinds or kind in kinds]
        if not slots:
            self.out += b"N"
            return "other"
        slot = self.chance.choice(slots)
        self.fetch(slot)
        return self.kinds[slot]

    def fetch(self, slot: int) -> None:
        if slot < 256 and self.chance.random() < 0.7:
            self.out += b"h" + bytes([slot])
        elif self.does("old", 0.5):
            self.out += b"g%d\n" % slot
        else:
            self.out += b"j" + struct.pack("<I", slot)

    # Values

    def value(self, depth: int) -> None:
        chance = self.chance
        self.values_left -= 1
        if self.values_left > 0 and self.does("statements", 0.1):
            self.statement(depth)
        if self.kinds and self.does("shared", self.sharing):
            self.get()
        elif self.values_left < 0 or depth > 12 or chance.random() < 0.3:
            self.old_scalar() if self.does("old", 0.3) else self.scalar()
        elif depth < 3 and self.does("depth", 0.2):
            self.nest(depth)
        elif self.does("known", 0.2):
            self.known(depth + 1)
        elif self.does("cycles", 0.2):
            self.cycle(depth + 1)
        elif self.does("objects", 0.5):
            self.object(depth + 1)
        elif self.does("containers"):
            self.container(depth + 1)
        else:
            self.scalar()

    def nest(self, depth: int) -> None:
        """Write a value about as deep as the bound on depth."""
        chance = self.chance
        times = chance.randrange(27, 35)
        opened, closed = chance.choice(
            ((b"]", b"a"), (b"", b"\x85"), (b"}K\1", b"s"), (b"capp\nC\n", b"\x85R"), (b"", b")R"))
        )
        if closed == b")R":  # what was called is called again
            self.callee()
            self.out += closed * chance.randrange(5, 12)
            return
        self.out += opened * times
        self.value(12)
        self.out += closed * times

    def old_scalar(self) -> None:
        """Write a value as protocol 0 does."""
        chance = self.chance
        match chance.randrange(6):
            case 0:
                number = chance.choice((*NUMBERS, *LARGE))
                self.out += b"L%dL\n" % number if chance.random() < 0.5 else b"L%d\n" % number
            case 1:
                self.out += chance.choice((b"I00\n", b"I01\n", b"I-0\n", b"I007\n", b"I+1\n"))
            case 2:
                floats = (0.0, -0.0, 1e16, 0.1, 1e22, float("nan"), float("inf"))
                self.out += b"F%s\n" % repr(chance.choice(floats)).encode()
            case 3:
                text = chance.choice((b"plain", b"it\\'s", b"\\x00\\xff", b"a\\n", b"\\u0041", b""))
                self.out += b"S'" + text + b"'\n"
                self.put("other")
            case _:
                text = chance.choice(TEXTS[:14]).encode("raw-unicode-escape", "replace")
                text = text.replace(b"\n", b"\\u000a").replace(b"\r", b"\\u000d")
                self.out += b"V" + text + b"\n"
                self.put("text")

    def key(self) -> None:
        if not self.does("keys", 0.5):
            self.text(f"{self.values_left} {self.chance.choice(TEXTS[:9])}")
            return
        match self.chance.randrange(8):
            case 0:
                self.value(10)
            case 1 | 2:
                self.get("text", "tuple")
            case 3:
                self.out += self.chance.choice((b"K\1", b"\x88", b"G?\xf0\0\0\0\0\0\0", b"N", b")"))
            case 4:
                self.text(self.chance.choice(("1", "True", "None", "1.0", "a", "b", "[]")))
            case _:
                super().key()

    def container(self, depth: int) -> None:
        chance = self.chance
        count = chance.choice((0, 1, 1, 2, 3))
        kind = chance.choice(("list", "dict", "set", "tuple", "tuple", "frozenset"))
        if kind in ("tuple", "frozenset"):
            self.tuple(depth, count, frozen=kind == "frozenset")
            return
        if chance.random() < 0.2 and kind != "set":  # as protocol 0 makes it
            self.out += b"("
            for _ in range(count * 2 if kind == "dict" else count):
                self.value(depth)
            self.out += b"d" if kind == "dict" else b"l"
            self.put(kind)
        else:
            self.out += {"list": b"]", "dict": b"}", "set": b"\x8f"}[kind]
            self.put(kind)
            self.change(kind, depth)
        if chance.random() < 0.2:
            self.change(kind, depth)

    def tuple(self, depth: int, count: int, frozen: bool = False) -> None:
        if 0 < count < 4 and not frozen and self.chance.random() < 0.6:
            for _ in range(count):
                self.value(depth)
            self.out += (b"\x85", b"\x86", b"\x87")[count - 1]
        elif count == 0 and not frozen:
            self.out += b")"
        else:
            self.out += b"("
            for _ in range(count):
                self.value(depth)
            self.out += b"\x91" if frozen else b"t"
        self.put("tuple")

    # Changes of the topmost value

    def change(self, kind: str, depth: int) -> None:
        """Change the topmost value, mostly in a way that its kind allows."""
        chance = self.chance
        if self.is_odd():
            kind = chance.choice(("list", "dict", "set", "object"))
        if kind == "object":
            kind = chance.choice(("list", "dict", "state", "state"))
        match kind:
            case "list" if chance.random() < 0.3:
                self.value(depth)
                self.out += b"a"
            case "list":
                self.out += b"("
                self.items(depth, chance.randrange(3))
                self.out += b"e"
            case "dict" if chance.random() < 0.3:
                self.key()
                self.value(depth)
                self.out += b"s"
            case "dict":
                self.out += b"("
                self.pairs(depth, chance.randrange(3))
                self.out += b"u"
            case "set":
                self.out += b"("
                self.items(depth, chance.randrange(3))
                self.out += b"\x90"
            case "state":
                self.state(depth)
                self.out += b"b"

    def state(self, depth: int) -> None:
        chance = self.chance
        if not self.does("states"):
            self.dict(depth)
            return
        match chance.randrange(6):
            case 0:
                self.value(depth)
            case 1:
                self.get("dict", "tuple")
            case 2:  # attributes and slots
                self.out += b"N"
                self.dict(depth)
                self.out += b"\x86"
            case 3:
                self.dict(depth)
                self.dict(depth)
                self.out += b"\x86"
            case _:
                self.dict(depth)

    def dict(self, depth: int) -> None:
        self.out += b"}"
        self.put("dict")
        self.out += b"("
        self.pairs(depth, self.chance.randrange(3))
        self.out += b"u"

    def statement(self, depth: int) -> None:
        """Write opcodes that leave nothing on the stack."""
        match self.chance.randrange(7):
            case 0:
                self.value(depth)
                self.out += b"0"
            case 1:
                self.out += b"("
                self.items(depth, self.chance.randrange(3))
                self.out += b"1"
            case 2:
                self.out += b"(0"
            case 3:
                self.out += b"\x80" + bytes([self.chance.randrange(6)])
            case 4 if "object" in self.kinds.values():  # a reduce with a setter of the state
                self.name(self.chance.choice(self.classes))
                self.get("object")
                self.state(depth)
                self.out += b"\x86R0"
            case _:
                kind = self.get("list", "dict", "set", "object")
                if kind in ("list", "dict", "set", "object"):
                    self.change(kind, depth)
                self.out += b"0"

    # Objects

    def name(self, name: str) -> None:
        if "global" in self.kinds.values() and self.chance.random() < 0.2:
            self.get("global")
            return
        module, _, name = name.partition(" ")
        if self.chance.random() < 0.6:
            self.out += f"c{module}\n{name}\n".encode()
        else:
            self.text(module)
            self.text(name)
            self.out += b"\x93"
        self.put("global")

    def callee(self) -> str:
        """Push a class, a function or an object to call.

        Returns:
            Its name, if it is a class or function.
        """
        if self.chance.random() < 0.1:
            self.get("object")
            return ""
        name = self.chance.choice(self.classes)
        self.name(name)
        return name

    def argument(self, depth: int) -> None:
        chance = self.chance
        match chance.randrange(6):
            case 0:
                self.bytes(chance.choice(STATES))
            case 1:
                self.integer(chance.choice(NUMBERS))
            case 2:
                self.callee()
            case 3:
                self.object(depth + 3) if depth < 6 else self.scalar()
            case _:
                self.value(depth)

    def fitting(self, name: str, depth: int) -> int:
        """Push arguments that fit this class.

        Returns:
            How many.
        """
        chance = self.chance
        match name.split(" ")[-1]:
            case "datetime" | "date" | "time" as kind:
                self.bytes(STATES[("date", "time", "datetime").index(kind)])
                if kind != "date" and chance.random() < 0.4:
                    self.object(depth + 3)
                    return 2
                return 1
            case "timedelta" | "range" | "xrange":
                for _ in range(3):
                    self.integer(chance.choice((0, 1, 7200, -1)))
                return 3
            case "OrderedDict" | "Counter" | "dict" | "UserDict" | "ChainMap" | "SimpleNamespace":
                if chance.random() < 0.2:
                    self.out += b"]"
                    self.put("list")
                    self.out += b"("
                    for _ in range(chance.randrange(3)):
                        self.key()
                        self.value(depth)
                        self.out += b"\x86"
                    self.out += b"e"
                else:
                    self.dict(depth)
                return 1
            case "set" | "frozenset" | "list" | "tuple" | "deque":
                self.out += b"]"
                self.put("list")
                self.change("list", depth)
                return 1
            case "scalar":
                self.value(depth)
                self.bytes(bytes(8))
                return 2
            case "ZoneInfo" | "Decimal" | "Fraction" | "Markup" | "str" | "unicode":
                self.text(chance.choice(TEXTS))
                return 1
            case "IPv4Address" | "int" | "long" | "Level" | "Signals" | "HTTPStatus" | "IntEnum":
                self.integer(chance.choice((*NUMBERS, *LARGE[:4])))
                return 1
            case "getattr":
                self.callee()
                self.text("NAME")
                return 2
            case _:
                count = chance.randrange(1, 4)
                for _ in range(count):
                    self.text(chance.choice(TEXTS[:12]))
                return count

    def arguments(self, depth: int, name: str) -> None:
        """Push a tuple of arguments."""
        chance = self.chance
        if "tuple" in self.kinds.values() and chance.random() < 0.25:
            self.get("tuple")
            return
        if chance.random() < 0.2:
            self.out += b")"
            return
        marked = chance.random() < 0.2
        self.out += b"(" if marked else b""
        if chance.random() < 0.6:
            count = self.fitting(name, depth)
        else:
            count = chance.randrange(1, 4)
            for _ in range(count):
                self.argument(depth)
        self.out += b"t" if marked else (b"\x85", b"\x86", b"\x87")[count - 1]
        self.put("tuple")

    def object(self, depth: int) -> None:
        chance = self.chance
        match chance.randrange(9):
            case 0:
                self.arguments(depth, self.callee())
                self.dict(depth) if chance.random() < 0.8 else self.get("dict")
                self.out += b"\x92"
            case 1:
                self.out += b"("
                self.callee()
                for _ in range(chance.randrange(3)):
                    self.argument(depth)
                self.out += b"o"
            case 2:
                self.out += b"("
                for _ in range(chance.randrange(3)):
                    self.argument(depth)
                module, _, name = chance.choice(self.classes).partition(" ")
                self.out += f"i{module}\n{name}\n".encode()
            case 3:
                self.name(chance.choice(("copyreg _reconstructor", "copy_reg _reconstructor")))
                self.callee()
                base = "builtins object", "builtins tuple", "builtins int", "builtins str"
                self.name(chance.choice((*base, "__builtin__ object", "__builtin__ dict")))
                if chance.random() < 0.5:
                    self.out += b"N"
                else:
                    self.argument(depth)
                self.out += b"\x87R"
            case 4:
                self.callee()
                self.out += b")"
                self.out += chance.choice((b"R", b"\x81"))
            case _:
                self.arguments(depth, self.callee())
                self.out += chance.choice((b"R", b"R", b"\x81"))
        self.put("object")
        for _ in range(chance.choice((0, 0, 1, 1, 2))):
            self.change("object", depth)

    # Cycles

    def cycle(self, depth: int) -> None:
        ways: list[Callable[[int], None]] = [self.list_cycle, self.dict_cycle]
        ways += [self.object_cycle, self.tuple_cycle, self.argument_cycle]
        self.chance.choice(ways)(depth)

    def list_cycle(self, depth: int) -> None:
        self.out += b"]"
        slot = self.put("list", always=True)
        self.out += b"("
        self.items(depth, self.chance.randrange(2))
        self.fetch(slot)
        self.out += b"e"

    def dict_cycle(self, depth: int) -> None:
        self.out += b"}"
        slot = self.put("dict", always=True)
        self.key()
        self.fetch(slot)
        self.out += b"s"
        if self.is_odd():  # it is a key of itself
            self.fetch(slot)
            self.value(depth)
            self.out += b"s"

    def object_cycle(self, depth: int) -> None:
        self.callee()
        self.out += b")" + self.chance.choice((b"R", b"\x81"))
        slot = self.put("object", always=True)
        match self.chance.randrange(4):
            case 0:
                self.fetch(slot)
                self.out += b"b"
            case 1:
                self.fetch(slot)
                self.out += b"a"
            case 2:
                self.key()
                self.fetch(slot)
                self.out += b"s"
            case _:
                self.out += b"}"
                self.key()
                self.fetch(slot)
                self.out += b"sb"

    def tuple_cycle(self, depth: int) -> None:
        """Write a tuple that is in a list that is in the tuple, as picklers do."""
        self.out += b"]"
        inner = self.put("list", always=True)
        self.items(depth, 1)
        self.out += b"\x86"
        outer = self.put("tuple", always=True)
        self.fetch(inner)
        self.fetch(outer)
        self.out += b"a0"

    def argument_cycle(self, depth: int) -> None:
        """Write an object that is in a list that is in its own arguments."""
        self.out += b"]"
        inner = self.put("list", always=True)
        self.out += b"0"
        self.callee()
        self.fetch(inner)
        self.out += b"\x85" + self.chance.choice((b"R", b"\x81"))
        slot = self.put("object", always=True)
        self.fetch(inner)
        self.fetch(slot)
        self.out += b"a0"

    # The record

    def attributes(self) -> None:
        """Write a mark and the attributes after it."""
        chance = self.chance
        self.out += b"("
        names = [name for name in NAMES if chance.random() < 0.25]
        chance.shuffle(names)
        if self.values_left < 20 and "fields" not in self.features:
            names = []
        for name in ["msg", *names]:
            self.text(name)
            self.field(name)
            if self.does("statements", 0.1):
                self.statement(0)
        for _ in range(chance.randrange(1, 5)):
            if chance.random() < 0.8:
                self.text(chance.choice(("x", "y", "user", "!notes", "!cut", "1")))
            else:
                self.key()
            self.value(0)
        if self.does("statements", 0.1):
            self.statement(0)

    def field(self, name: str) -> None:
        if self.does("fields", 0.2):
            self.value(0)
        else:
            super().field(name)

    def record(self) -> None:
        """Write the whole pickle except STOP."""
        chance = self.chance
        if chance.random() < 0.8:
            self.out += b"\x80" + bytes([chance.randrange(6)])
        match chance.randrange(5) if "roots" in self.features else 9:
            case 0:  # an object with attributes
                self.callee()
                self.out += b")" + chance.choice((b"R", b"\x81"))
                self.put("object")
                self.out += b"}"
                self.put("dict")
                self.attributes()
                self.out += b"ub"
            case 1:  # a dict of another class
                name = chance.choice(("collections OrderedDict", "collections defaultdict"))
                self.name(name)
                self.arguments(0, name)
                self.out += b"R"
                self.put("object")
                self.attributes()
                self.out += b"u"
            case 2:  # as protocol 0
                self.attributes()
                self.out += b"d"
                self.put("dict")
            case _:
                self.out += b"}"
                self.put("dict")
                self.attributes()
                self.out += b"u"
        if self.is_odd():
            self.change("dict", 0)


def frame(seed: int) -> bytes:
    """Return a frame; the same seed gives the same frame."""
    chance = random.Random(seed)
    writer = Writer(chance)
    writer.record()
    out = bytes(writer.out) + b"."
    if chance.random() < 0.15:
        corrupt = bytearray(out)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(corrupt))
            corrupt[at] = chance.choice((chance.choice(corrupt), chance.randrange(256)))
        out = bytes(corrupt)
    return out
