"""Break one rule of the code at a time, and check that the tests named for it fail.

`make mutants` runs all of `tests/mutants.toml`; `MUTANTS=WORD` runs those whose rule has that word.
Each entry replaces one text, which must occur exactly once in its file. A mutant survives if the
tests named for it pass. The work is done in a copy of the tree, so the checkout stays as it is.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

from places import ROOT

COPY = ROOT / "build" / "mutants"
PYTHON = COPY / ".venv" / "bin" / "python"
TESTS_FAILED = 1
"""pytest's exit status if it ran and a test failed."""


class Mutant(NamedTuple):
    """One rule that is broken on purpose."""

    rule: str
    file: str
    replace: str
    by: str
    tests: list[str]
    """Arguments of pytest."""

    @property
    def is_in_c(self) -> bool:
        """Whether it is in a file that has to be compiled."""
        return self.file.endswith((".c", ".h"))


def read_mutants(path: Path) -> list[Mutant]:
    """Return the mutants of a TOML file, in its order."""
    return [Mutant(**entry) for entry in tomllib.loads(path.read_text("utf-8"))["mutant"]]


def survives(mutant: Mutant) -> str | None:
    """Break the copy by a mutant, run its tests, and mend its file, but not the compiled module.

    Returns:
        What is wrong with the mutant or its tests; None if a test failed, as it has to.
    """
    path = COPY / mutant.file
    sound = path.read_text("utf-8")
    if (count := sound.count(mutant.replace)) != 1:
        return f"its text occurs {count} times in {mutant.file}, not once"
    path.write_text(sound.replace(mutant.replace, mutant.by), "utf-8")
    try:
        if mutant.is_in_c and not build():
            return "it does not compile"
        # A named test runs whatever its markers are, also one of the page.
        options = ["-x", "-q", "-p", "no:cacheprovider", "-m", ""]
        command = [PYTHON, "-m", "pytest", *options, *mutant.tests]
        # Where a mutant makes a test wait in vain, it need not wait for the usual half minute.
        env = {**os.environ, "WAIT_SECONDS": "10"}
        done = subprocess.run(
            command, cwd=COPY, env=env, capture_output=True, text=True, check=False
        )
    finally:
        path.write_text(sound, "utf-8")
    if done.returncode == TESTS_FAILED:
        return None
    if done.returncode == 0:
        return "it survives: its tests pass"
    return f"pytest ends with status {done.returncode}:\n{done.stdout[-2000:]}"


def build() -> bool:
    """Compile the C module of the copy in place; return whether that worked."""
    command = [PYTHON, "setup.py", "-q", "build_ext", "--inplace", "--force"]
    done = subprocess.run(command, cwd=COPY, capture_output=True, text=True, check=False)
    return done.returncode == 0


def main() -> int:
    """Run the mutants that the command line selects; return 1 if one survives."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", help="run only rules that have one of these words")
    words = parser.parse_args().words
    chosen = [
        mutant
        for mutant in read_mutants(ROOT / "tests" / "mutants.toml")
        if not words or any(word in mutant.rule for word in words)
    ]
    if not chosen:
        print(f"no rule has one of these words: {' '.join(words)}", file=sys.stderr)
        return 2
    chosen.sort(key=lambda mutant: mutant.is_in_c)  # the others need the module without a mutant
    if not build():
        print("the copy of the tree does not compile", file=sys.stderr)
        return 2
    survivors = 0
    for number, mutant in enumerate(chosen, 1):
        problem = survives(mutant)
        survivors += problem is not None
        print(f"{number}/{len(chosen)} {mutant.rule}: {problem or 'found'}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants found")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
