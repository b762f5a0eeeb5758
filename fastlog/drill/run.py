"""Run the phases of a scenario on a harness."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fastlog.drill.clients import close_all
from fastlog.drill.harness import SECONDS, ClientRun, H, Phase, Setting
from fastlog.drill.interrupts import Interrupts
from fastlog.drill.report import Outcome, compare
from fastlog.errors import FastlogError


def make_setting(
    home: Path,
    seed: int,
    seconds: float,
    interrupts: Interrupts,
    progress: Callable[[str], None],
) -> Setting:
    """Return what a harness needs for a drill of this seed and length."""
    rng = random.Random(seed)  # noqa: S311 - it has to be repeatable
    return Setting(home, rng, seconds / SECONDS, interrupts, progress)


def run_phases(harness: H, phases: Sequence[Phase[H]], seed: int) -> Outcome:
    """Run all phases, stop everything, and compare what was sent with what is stored.

    Raises:
        FastlogError: the drill could not be carried out.
    """
    began = time.monotonic()
    try:
        harness.start()
        runs: list[ClientRun] = []
        for phase in phases:
            runs += harness.run_phase(phase)
        harness.progress("compare")
        harness.finish(runs)
        numbers, ledger = harness.read_numbers(), harness.read_ledger()
    finally:
        with harness.interrupts.deferred():
            close_all(harness.clients)
            harness.kill_all()
    outcome = compare(numbers, ledger, runs, seed, harness.events, time.monotonic() - began)
    outcome.left_out = harness.left_out
    if outcome.holds and harness.unfinished:
        raise FastlogError(harness.unfinished)
    return outcome
