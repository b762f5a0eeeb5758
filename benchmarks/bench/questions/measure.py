"""Run the commands of the questions in turns, and print a table of their medians."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from typing import NamedTuple

import click

from bench.questions.cases import Command, Question, questions
from bench.questions.store import Store
from bench.report import table

NOTHING = 1
"""The exit status of `fastlog query` and of `rg` that found nothing."""


class Cost(NamedTuple):
    """What a command cost, in seconds."""

    cpu: float
    seconds: float


class Answer(NamedTuple):
    """The costs of both commands of a question, medians."""

    question: Question
    fastlog: Cost
    beside: Cost | None


def run(command: Command) -> tuple[Cost, int]:
    """Run a command; return what it cost, and the number of lines that it printed.

    Raises:
        click.ClickException: It failed.
    """
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = process.stdout.read().count(b"\n")
        errors = process.stderr.read().decode(errors="replace").strip()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, NOTHING):
        raise click.ClickException(f"{' '.join(command)}: {errors}")
    return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - began), lines


def ask(store: Store, repeat: int) -> Iterator[Answer]:
    """Yield the answer of each question, from `repeat` runs of each command after one more.

    Raises:
        click.ClickException: A command failed, or fastlog found another number of records.
    """
    for question in questions(store):
        ours: list[Cost] = []
        theirs: list[Cost] = []
        for _ in range(repeat + 1):
            cost, lines = run(question.fastlog)
            if question.found is not None and lines != question.found:
                raise click.ClickException(
                    f"{' '.join(question.fastlog)}: {lines} lines, not {question.found}"
                )
            ours.append(cost)
            if question.beside:
                theirs.append(run(question.beside)[0])
        yield Answer(question, median(ours[1:]), median(theirs[1:]) if theirs else None)


def median(costs: list[Cost]) -> Cost:
    """Return the medians of processor time and of time."""
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


def report(store: Store, answers: list[Answer]) -> str:
    """Return the table of a store."""
    heads = ["question", "CPU-s", "s", "beside", "CPU-s", "s"]
    rows = [
        [
            answer.question.name,
            *shown(answer.fastlog),
            answer.question.tool,
            *(("", "") if answer.beside is None else shown(answer.beside)),
        ]
        for answer in answers
    ]
    days = len(list((store.data_dir / "logs").glob("*.db")))
    size, lines = store.bytes / store.records, store.lines_bytes / store.records
    head = (
        f"{store.records:,} records in {days} day files: {size:.0f} bytes a record, as lines of"
        f" JSON {lines:.0f}.\n\n"
    )
    return head + "\n".join(table(heads, rows))


def shown(cost: Cost) -> tuple[str, str]:
    """Return a cost as cells of a table."""
    return f"{cost.cpu:.2f}", f"{cost.seconds:.2f}"


def measure(store: Store, repeat: int) -> str:
    """Ask a store, and return the report."""
    answers = []
    for answer in ask(store, repeat):
        click.echo(f"{answer.question.name:40} {answer.fastlog.seconds:6.2f} s", err=True)
        answers.append(answer)
    return report(store, answers)
