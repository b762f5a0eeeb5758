"""Searches for the frames that cost the most for their length. `make costliest` runs it.

    python tests/support/costliest.py [--seconds 60] [--seed N] [--save] [--least 40]

A population of frames is changed, crossed and measured, with each engine and form and in each class
of size. At the end, the costliest frames are measured again, from a block to the store, and
compared with records of a stock SocketHandler. They are also made two and four times as long, which
shows work that grows faster than the frame. With `--save`, those over `--least` times the simple
record are added to the corpus.
"""

from __future__ import annotations

import argparse
import gc
import logging
import pickletools
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import grammar
import graphs
from attacks import attacks
from costly import CORPUS, KNOWN, Find, load_corpus, save_find
from costly_grammar import LIMITS, Choices, FrameGenerator, generate
from engines import opcodes, splice
from frame_cost import BLOCK, WAYS, Way, copies, decoding_cost, simple_frames, size_of, storing_cost

from fastlog.decode import Decoder

CLASSES = {"under 100 bytes": 100, "under 1 KB": 1_000, "under 64 KB": 65_536, "more": 1 << 20}
KEPT = 16
"""Frames that are kept for each class and way."""
ALIKE = 2
"""Frames of one kind among those."""
FIRST_SIZE = 1_500
"""Bytes of the block of the first measurement, which selects frames for a better one."""
LONGEST = 1.0
"""Seconds that one frame may take. Then its measurement is stopped, and this is its time."""
SPLICED = 100_000
"""Bytes of the longest frame that is split into its opcodes."""
GROWN = 1.3
"""The growth of the cost of a byte, in longer frames, above which the report has it."""
_NAME = re.compile(rb"c([\w.]+)\n([\w.]+)\n")


class TooLongError(BaseException):
    """Decoding takes longer than it may. It is no `Exception`, which the decoder would catch."""


class Subject(NamedTuple):
    """A frame to be measured, and its origin."""

    frame: bytes
    numbers: list[int] | None
    """What it was generated from; None: it was spliced from others."""

    @property
    def kind(self) -> str:
        """What it mostly consists of: finds of the same kind have the same cause."""
        if self.frame.startswith(b"{"):
            return f"json {Counter(str(self.frame[1:4096], 'latin-1')).most_common(1)}"
        names = sorted({name.decode("latin-1") for _, name in _NAME.findall(self.frame[:4096])})
        codes = Counter(piece[:1] for piece in opcodes(self.frame[:4096]))
        [(code, _)] = codes.most_common(1)
        opcode = pickletools.code2op.get(code.decode("latin-1"))
        return f"{'+'.join(names[:3]) or 'plain'} {opcode.name if opcode else str(code)}"


class Scored(NamedTuple):
    """A subject, and its cost in nanoseconds for each byte."""

    cost: float
    subject: Subject


@contextmanager
def limited() -> Iterator[None]:
    """Raise TooLongError in the `with` block after `LONGEST` seconds of CPU time."""

    def end(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def cost_of(way: Way, frame: bytes, rounds: int = 1, size: int = BLOCK) -> float:
    """Return the nanoseconds for each byte. The decoder is new: the last one may have been
    stopped while it decoded."""
    frames = copies(frame, size)
    try:
        with limited():
            return decoding_cost(Decoder(way.engine, way.form), frames, rounds)
    except TooLongError:
        return LONGEST * 1e9 / size_of(frames)


def class_of(frame: bytes) -> str:
    return next(name for name, size in CLASSES.items() if len(frame) < size or name == "more")


class Cell:
    """The costliest frames of one class and one way."""

    def __init__(self) -> None:
        self.best: list[Scored] = []

    def takes(self, cost: float) -> bool:
        return len(self.best) < KEPT or cost > self.best[-1].cost

    def add(self, scored: Scored) -> None:
        kind = scored.subject.kind
        if any(each.subject.frame == scored.subject.frame for each in self.best):
            return
        alike = [each for each in self.best if each.subject.kind == kind]
        if len(alike) >= ALIKE:
            if scored.cost <= alike[-1].cost:
                return
            self.best.remove(alike[-1])
        self.best.append(scored)
        self.best.sort(key=lambda each: -each.cost)
        del self.best[KEPT:]


class Search:
    """The population and its changes."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.cells = {(way, name): Cell() for way in WAYS for name in CLASSES}
        self.measured = 0
        self.spent = dict.fromkeys(CLASSES, 0.0)
        """Seconds of measurement by class; all classes get the same time."""

    def add_known(self, quick: bool) -> None:
        """Add the frames that are known to be costly or unusual."""
        if quick:
            for name in ("slots", "keys of tuples"):
                self.measure(Subject(KNOWN[name], None))
            return
        frames = [*KNOWN.values(), *(find.frame for find in load_corpus())]
        frames += [frame for size in (10, 16) for frame, _ in attacks(1 << size).values()]
        frames += [make(seed) for make in (grammar.frame, graphs.frame) for seed in range(40)]
        for frame in frames:
            if len(frame) <= 1 << 17:
                self.measure(Subject(frame, None))
        self.spent = dict.fromkeys(CLASSES, 0.0)

    def step(self) -> None:
        """Make one frame and measure it."""
        name = min(self.spent, key=lambda name: self.spent[name])
        if self.chance.random() < 0.15:
            frame, numbers = generate([self.limit_for(name)], self.chance)
            subject = Subject(frame, numbers)
        else:
            parent, other = self.parent(name), self.parent(name)
            subject = self.splice(parent, other) or self.change(parent, other)
        if 0 < len(subject.frame) <= 1 << 20:
            self.measure(subject)

    def measure(self, subject: Subject) -> None:
        """Measure with one way, and with the others while the frame is costly."""
        name = class_of(subject.frame)
        self.measured += 1
        began = time.thread_time()
        for way in self.chance.sample(WAYS, len(WAYS)):
            cell = self.cells[way, name]
            if not cell.takes(cost_of(way, subject.frame, size=FIRST_SIZE)):
                break
            cost = cost_of(way, subject.frame, 2)
            if cell.takes(cost):
                cell.add(Scored(cost, subject))
        self.spent[name] += time.thread_time() - began

    def limit_for(self, name: str) -> int:
        """Return the first number for a frame of this class."""
        size = CLASSES[name]
        below = [number for number, limit in enumerate(LIMITS) if limit < size]
        return self.chance.choice(below[-3:])

    def parent(self, name: str) -> Subject:
        """Return a random frame of a class; a costlier one is more likely."""
        cells = [self.cells[way, name].best for way in WAYS if self.cells[way, name].best]
        cells = cells or [cell.best for cell in self.cells.values() if cell.best]
        best = self.chance.choice(cells)
        return best[min(self.chance.randrange(len(best)), self.chance.randrange(len(best)))].subject

    def change(self, parent: Subject, other: Subject) -> Subject:
        """Return a frame from changed numbers."""
        chance = self.chance
        numbers = list(parent.numbers or [])
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            at = chance.randrange(len(numbers) + 1)
            match chance.randrange(6):
                case 0 if numbers:
                    numbers[at % len(numbers)] = chance.randrange(1 << 16)
                case 1 if numbers:
                    numbers[at % len(numbers)] += chance.choice((-1, 1)) % (1 << 16)
                case 2:
                    numbers[at:at] = [chance.randrange(1 << 16) for _ in range(3)]
                case 3:
                    del numbers[at : at + chance.randrange(1, 5)]
                case 4:
                    numbers[at:at] = numbers[at : at + chance.randrange(1, 20)]
                case _ if other.numbers:
                    start = chance.randrange(len(other.numbers))
                    numbers[at:at] = other.numbers[start : start + chance.randrange(1, 20)]
        if numbers and chance.random() < 0.95:
            numbers[0] = self.limit_for(class_of(parent.frame))
        frame, numbers = generate(numbers, chance)
        return Subject(frame, numbers)

    def splice(self, parent: Subject, other: Subject) -> Subject | None:
        """Return a frame with the opcodes of another in disorder; mostly None if that one was
        generated."""
        chance = self.chance
        if len(parent.frame) > SPLICED or (parent.numbers and chance.random() < 0.8):
            return None
        source = other.frame if len(other.frame) <= SPLICED else parent.frame
        return Subject(splice(parent.frame, source, chance, SPLICED), None)


def longer(subject: Subject, times: int) -> bytes | None:
    """Return the frame with its repeated part `times` times as often; None if there is none."""
    if subject.numbers is not None:
        return FrameGenerator(Choices(subject.numbers, random.Random(1)), times).frame()
    if len(subject.frame) > SPLICED:
        return None
    pieces = opcodes(subject.frame)
    middle = len(pieces) // 2
    for period in range(1, 9):
        start = stop = middle
        while pieces[start - period : start] == pieces[middle : middle + period] != []:
            start -= period
        while pieces[stop : stop + period] == pieces[middle : middle + period] != []:
            stop += period
        if stop - start > 2 * period:
            return b"".join(pieces[:stop] + pieces[start:stop] * (times - 1) + pieces[stop:])
    return None


def growth(way: Way, subject: Subject) -> float:
    """Return how many times as much a byte costs if the frame is two and four times as long."""
    base = cost_of(way, subject.frame, 2)
    frames = [longer(subject, times) for times in (2, 4)]
    costs = [cost_of(way, each, 2) for each in frames if each and len(each) < 4 << 20]
    return max([each / base for each in costs], default=1.0)


def show(subject: Subject) -> str:
    """Return a frame as one line of text."""
    head, tail = subject.frame[:90], subject.frame[-40:]
    return f"{head!r}" if len(subject.frame) <= 130 else f"{head!r} … {tail!r}"


def report(search: Search, least: float, save: bool, quick: bool) -> float:
    """Measure the costliest frames from a block to the store, print them, return the worst."""
    rounds, shown = (1, 1) if quick else (5, 3)
    worst = 0.0
    saved: set[str] = {find.name for find in load_corpus()} if save else set()
    for way in WAYS:
        simple = min(storing_cost(way, simple_frames) for _ in range(rounds))
        plain = min(
            decoding_cost(Decoder(way.engine, way.form), simple_frames(), 9) for _ in range(rounds)
        )
        sink = way.sink.partition(":")[0]
        print(f"\n{way}, {sink}: simple records cost {simple:.1f} ns/byte, {plain:.2f} to decode")
        for name in CLASSES:
            print(f"  {name}")
            for scored in search.cells[way, name].best[:shown]:
                frame = scored.subject.frame
                cost = scored.cost
                if cost * len(frame) < LONGEST * 1e9 / 2:
                    cost = storing_cost(way, lambda frame=frame: copies(frame), 3)  # type: ignore[misc]
                ratio = cost / simple
                worst = max(worst, ratio) if way.engine == "c" else worst
                times = 1.0 if quick else growth(way, scored.subject)
                grows = f", {times:.1f} times per byte when longer" if times > GROWN else ""
                print(
                    f"    {ratio:7.1f} times simple: {cost:7.0f} ns/byte "
                    f"({scored.cost:.0f} to decode), {len(frame)} bytes{grows}: "
                    f"{scored.subject.kind}\n            {show(scored.subject)}",
                    flush=True,
                )
                if save and ratio >= least:
                    _save(
                        scored.subject,
                        f"{ratio:.0f} times simple, {way}, {cost:.0f} ns/byte",
                        saved,
                    )
    return worst


def _save(subject: Subject, words: str, saved: set[str]) -> None:
    if len(subject.frame) > SPLICED:
        return
    size = class_of(subject.frame).replace(" ", "-")
    name = re.sub(r"[^\w.+-]+", "-", f"{subject.kind}-{size}").strip("-").lower()[:80]
    if name not in saved:
        saved.add(name)
        print(f"            saved: {save_find(Find(name, subject.frame), words)}")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--save", action="store_true", help=f"add finds to {CORPUS}")
    parser.add_argument("--quick", action="store_true", help="a minimal run, for a test")
    parser.add_argument("--least", type=float, default=40.0, help="the least ratio to save")
    options = parser.parse_args(arguments)
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}, {options.seconds:.0f} seconds", flush=True)
    gc.disable()  # as workers do
    logging.getLogger("fastlog").addHandler(logging.NullHandler())
    search = Search(seed)
    search.add_known(options.quick)
    deadline = time.monotonic() + options.seconds
    while time.monotonic() < deadline:
        search.step()
        if search.measured % 500 == 0:
            gc.collect()
    print(f"{search.measured} frames measured")
    worst = report(search, options.least, options.save, options.quick)
    print(f"\nThe costliest frame by the C engine: {worst:.1f} times the simple record per byte.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
