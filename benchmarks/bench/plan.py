"""What a run of the benchmarks measures."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from bench import against
from bench.cases import Case, make_cases
from bench.pages import can_release
from bench.schedule import Contender, make_contenders
from bench.servers import Program

MEMORY = "memory"
"""The name of the case in which nothing is sent."""


class Size(NamedTuple):
    """The sizes of the measurement."""

    records: int
    """Of a saturated case."""
    many: int
    """Of the long case; 0 leaves it out."""
    repeat: int
    budget: float
    """Seconds of a contender in a case after which it is not measured again."""
    patience: float
    """Seconds without anything new after which the rest counts as missing."""
    paced_seconds: float
    idle: int
    """Idle connections in the memory case; 0 leaves it out."""

    def quick(self) -> Size:
        """Return sizes that only test that everything works."""
        return self._replace(
            records=min(self.records, 20_000), many=0, repeat=1, paced_seconds=1.0,
            patience=min(self.patience, 5.0), idle=min(self.idle, 500),
        )  # fmt: skip


class Plan(NamedTuple):
    """The contenders and the cases."""

    contenders: list[Contender]
    cases: list[Case]
    size: Size
    has_memory: bool

    def names(self) -> list[str]:
        """Return the names of the contenders, then of the cases."""
        memory = [MEMORY] if self.has_memory else []
        return [c.name for c in self.contenders] + [c.name for c in self.cases] + memory


def make_plan(
    size: Size,
    only: Sequence[str],
    wanted: Sequence[str],
    programs: Sequence[str],
    *,
    pin: bool,
    cold: bool,
) -> Plan:
    """Choose contenders and cases.

    Args:
        only: texts, one of which a contender's name must contain; none: all.
        wanted: the same for cases.
        programs: more servers, as `NAME=COMMAND`.
        pin: whether servers get one core in every case.
        cold: whether free memory is returned to the host before each run.

    Raises:
        click.UsageError: a text matches nothing, or is not a program; or memory cannot be returned.
    """
    if cold and not can_release():
        raise click.UsageError("--cold: only root may free the page cache")
    contenders = make_contenders([_read_program(text) for text in programs])
    cases = make_cases(size.records, size.many, size.paced_seconds)
    names = _choose("--only", [contender.name for contender in contenders], only)
    case_names = _choose("--case", [*(case.name for case in cases), MEMORY], wanted)
    return Plan(
        [contender for contender in contenders if contender.name in names],
        [
            case._replace(one_core=case.one_core or pin, cold=cold, patience=size.patience)
            for case in cases
            if case.name in case_names
        ],
        size,
        MEMORY in case_names and size.idle > 0,
    )


class Pairing(NamedTuple):
    """Pairs of runs of two installations."""

    case: Case
    sinks: list[str]
    other: Path
    """The folder with the programs of the other one."""
    pairs: int


def make_pairing(
    size: Size, wanted: Sequence[str], other: Path, pairs: int, sinks: str, pin: bool
) -> Pairing:
    """Choose the case, installations and sinks.

    Args:
        wanted: texts in the name of the one case; none: the default.
        other: a virtual environment.
        sinks: names, separated by commas.
        pin: whether the servers get one core.

    Raises:
        click.UsageError: there is no such case, sink or installation, or more than one case.
    """
    names = [name.strip() for name in sinks.split(",")]
    if unknown := sorted(set(names) - set(against.SINKS)):
        choice = " and ".join(against.SINKS)
        raise click.UsageError(f"--sinks: there are {choice}, not {', '.join(unknown)!r}")
    cases = {case.name: case for case in make_cases(size.records, size.many, size.paced_seconds)}
    chosen = _choose("--case", list(cases), wanted or [against.CASE])
    if len(chosen) > 1:
        raise click.UsageError(f"--case: one with --against, not {', '.join(sorted(chosen))}")
    case = cases[chosen.pop()]
    case = case._replace(one_core=pin, patience=size.patience)
    return Pairing(case, list(dict.fromkeys(names)), against.programs_of(other), pairs)


def _choose(option: str, names: Sequence[str], wanted: Sequence[str]) -> set[str]:
    """Return the names that equal a wanted text, or else contain it; all if none is wanted."""
    found = set() if wanted else set(names)
    for text in wanted:
        chosen = {text} & set(names) or {name for name in names if text.lower() in name.lower()}
        if not chosen:
            raise click.UsageError(f"{option}: nothing is called {text!r}; --list names all")
        found |= chosen
    return found


def _read_program(text: str) -> Program:
    name, _, command = text.partition("=")
    if not name or not command:
        raise click.UsageError(f"--program: expected NAME=COMMAND, got {text!r}")
    return Program(name, shlex.split(command))
