"""Measure the decoding of frames to records: microseconds a record, medians.

    python benchmarks/decode_cost.py [--rounds 15] [--frames 400] [--runs 1]

The frames are those of a stock `SocketHandler`, about 650 bytes each, from a few loggers, with two
attributes in `extra`. A block has `--frames` of them from `--runs` connections. All ways
decode the same blocks alternately, so that a slow moment of the machine affects all. As in the
workers, garbage collection is off.
"""

from __future__ import annotations

import argparse
import gc
import io
import logging
import logging.handlers
import pickle
import platform
import random
import statistics
import time
from collections.abc import Callable

from fastlog.block import Block, Kind, make_run
from fastlog.decode import Decoder, Form
from fastlog.decode.c_engine import CEngine
from fastlog.decode.json_lines import encode

MODULES = ("app.db", "app.web.views", "app.worker.tasks", "app.billing.invoices")
RECORDS = 20_000


class Restricted(pickle.Unpickler):
    """The restricted Unpickler of the pickle documentation, with no class allowed."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"{module}.{name} is forbidden")


def make_frames(count: int) -> list[bytes]:
    """Make frames as `SocketHandler` sends them, without their lengths."""
    handler = logging.handlers.SocketHandler("localhost", 0)
    rng = random.Random(1)
    frames = []
    for number in range(count):
        name = rng.choice(MODULES)
        path = f"/srv/app/{name.replace('.', '/')}.py"
        level = rng.choice((10, 20, 20, 20, 30, 40))
        text = "request %d handled in %d ms for customer %s"
        args = (number, rng.randrange(900), f"{rng.randrange(10**8):08d}")
        record = logging.LogRecord(name, level, path, rng.randrange(500), text, args, None, "run")
        record.request = f"{rng.randrange(1 << 64):016x}"
        record.customer = rng.randrange(1 << 40)
        frames.append(handler.makePickle(record)[4:])
    return frames


def make_blocks(frames: list[bytes], per_block: int, runs: int) -> list[Block]:
    made = []
    for start in range(0, len(frames), per_block):
        part = frames[start : start + per_block]
        size = -(-len(part) // runs)
        payload = b"".join(
            make_run(
                Kind.STOCK, part[at : at + size], peer=f"10.0.0.{at % 250}:5000", connection=at
            )
            for at in range(0, len(part), size)
        )
        made.append(
            Block(start, start + 1, start, len(part), 1_795_000_000_000_000, memoryview(payload))
        )
    return made


class Parts:
    """Measure the steps of the C engine: the translation, then the unpickler."""

    def __init__(self, made: list[Block]) -> None:
        self.blocks = made
        self.translator = CEngine()._translator
        self.pickles: list[bytes] = []

    def _block(self, block: Block) -> None:
        self.translator.begin(block.received, block.offset)
        self.translator.block(block.payload, block.frames)

    def translate(self) -> None:
        self.pickles = []
        for block in self.blocks:
            self._block(block)
            self.pickles.append(bytes(self.translator.end().rows))

    def load(self) -> None:
        for data in self.pickles:
            pickle.loads(data)

    def both(self) -> None:
        for block in self.blocks:
            self._block(block)
            pickle.loads(self.translator.end().rows)


def decode_with(engine: str, form: Form, made: list[Block]) -> Callable[[], None]:
    decoder = Decoder(engine, form)

    def run() -> None:
        for block in made:
            decoder.decode(block)

    return run


def encode_in_python(made: list[Block]) -> Callable[[], None]:
    """Measure the lines of a sink if only the records come from C."""
    decoder = Decoder("c", "records")

    def run() -> None:
        for block in made:
            for record in decoder.decode(block).records:
                encode(record)

    return run


def measure(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Return the median CPU-seconds of a call of each."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            gc.collect()
            gc.disable()
            started = time.process_time()
            way()
            times[name].append(time.process_time() - started)
            gc.enable()
    return {name: statistics.median(taken) for name, taken in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--frames", type=int, default=400, help="frames in a block")
    parser.add_argument("--runs", type=int, default=1, help="connections in a block")
    options = parser.parse_args()
    frames = make_frames(RECORDS)
    made = make_blocks(frames, options.frames, options.runs)
    parts = Parts(made)
    ways = {
        "python engine, records": decode_with("python", "records", made),
        "c engine, lines of JSON": decode_with("c", "lines", made),
        "c engine, records": decode_with("c", "records", made),
        "  with lines of JSON in Python": encode_in_python(made),
        "  translate": parts.translate,
        "  loads of the translation": parts.load,
        "  translate + loads": parts.both,
        "pickle.loads of each frame": lambda: [pickle.loads(frame) for frame in frames] and None,
        "restricted Unpickler": lambda: [Restricted(io.BytesIO(f)).load() for f in frames] and None,
    }
    size = sum(map(len, frames)) / len(frames)
    print(
        f"Python {platform.python_version()}, {len(frames)} frames of {size:.0f} bytes, "
        f"{options.frames} in a block, from {options.runs} connections; medians of {options.rounds}"
    )
    print(f"{'way':30} µs a record")
    for name, seconds in measure(ways, options.rounds).items():
        print(f"{name:30} {seconds / len(frames) * 1e6:11.2f}")


if __name__ == "__main__":
    main()
