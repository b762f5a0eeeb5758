"""Compile the C programs, and make the pools of frames."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import click

from bench import frames
from bench.places import BENCHMARKS, BUILD, PEERS, ROOT

CSRC = ROOT / "csrc"
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", f"-I{CSRC}")
PROGRAMS = {
    "load": (BENCHMARKS / "load" / "load.c", BENCHMARKS / "load" / "pool.c"),
    "recv": (PEERS / "recv.c", CSRC / "framer" / "framer.c"),
}
POOLS = {"pickles": frames.pickled, "texts": frames.as_text}


def program(name: str) -> Path:
    return BUILD / name


def pool(name: str) -> Path:
    return BUILD / f"{name}.pool"


def build() -> int:
    """Make everything that a run needs.

    Returns:
        The mean length of a frame in bytes.

    Raises:
        click.ClickException: the compiler fails; with its output.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    for name, sources in PROGRAMS.items():
        _compile(program(name), sources)
    records = list(frames.make_records(frames.POOL))
    sizes = {
        name: frames.write_pool(pool(name), map(make, records)) for name, make in POOLS.items()
    }
    return sizes["pickles"]


def _compile(target: Path, sources: tuple[Path, ...]) -> None:
    command: list[str | Path] = [os.environ.get("CC", "cc"), *FLAGS, *sources, "-o", target]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise click.ClickException(f"there is no C compiler {command[0]!r}") from error
    if done.returncode:
        raise click.ClickException(f"{target.name} does not compile:\n{done.stderr}")
