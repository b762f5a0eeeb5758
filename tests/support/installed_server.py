"""A server that runs from a copy of the package, so that a test can change the installed code.

`Installed.edit` changes a file, as another version would. `Installed.set` sets constants of a
module, which does not depend on the text of the code.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conditions import wait_for
from servers import REJECTED, RELOADED, SERVER, Server, processes_of

import fastlog

OLD, NEW = REJECTED, RELOADED

FUTURE = "from __future__ import annotations\n"
"""A line that each module has, after which a test can insert code."""
MAIN = "\nimport os, sys, time\nif __name__ == '__main__':\n    "
"""Code after `FUTURE` that runs only in the process whose main module it is, not at an import."""

SET_AFTER_IMPORT = """
import importlib.machinery
import sys

CONSTANTS = {constants!r}


class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in CONSTANTS:
            return None
        spec = super().find_spec(name, path, target)
        execute = spec.loader.exec_module

        def execute_and_set(module):
            execute(module)
            for constant, value in CONSTANTS[name].items():
                assert hasattr(module, constant), constant
                setattr(module, constant, value)

        spec.loader.exec_module = execute_and_set
        return spec


sys.meta_path.insert(0, Finder)
"""
"""`sitecustomize`, which every interpreter of the server imports at its start."""


class Installed(Server):
    """A server that runs from a copy of the package.

    The deadlines of a reload are a minute: a loaded machine is not a failure.
    """

    def __init__(self, home: Path, **options: Any) -> None:
        self.site = home / "site"
        self.package = self.site / "fastlog"
        self._constants: dict[str, dict[str, float]] = {}
        shutil.copytree(Path(fastlog.__file__).parent, self.package)
        path = os.pathsep.join([str(self.site), *filter(None, [os.environ.get("PYTHONPATH")])])
        super().__init__(home, env={"PYTHONPATH": path, **options.pop("env", {})}, **options)
        for file, name, _ in DEADLINES.values():
            self.edit(file, f"{name} = 10.0", f"{name} = 60.0")

    def edit(self, file: str, old: str, new: str) -> str:
        """Change a file of the copy, and return its previous content."""
        path = self.package / file
        text = path.read_text()
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new, 1))
        return text

    def restore(self, file: str, text: str) -> None:
        """Undo an edit. No bytecode of it is left: that is known by time and size only."""
        path = self.package / file
        path.write_text(text)
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()

    def set(self, module: str, **constants: float) -> None:
        """Set constants of a module of the copy, in each process that starts from now on."""
        self._constants.setdefault(module, {}).update(constants)
        text = SET_AFTER_IMPORT.replace("{constants!r}", repr(self._constants))
        (self.site / "sitecustomize.py").write_text(text)

    def add_path(self, directory: Path) -> None:
        """Let the server import from another directory, too."""
        self._env["PYTHONPATH"] += f"{os.pathsep}{directory}"

    def count_logged(self, text: str) -> int:
        """Return how often the log has this text."""
        return self.messages().count(text)

    def reload(self, outcome: str = NEW, seconds: float = 60) -> None:
        """Send SIGHUP, and wait until the reload has succeeded or failed."""
        before = self.count_logged(outcome)
        os.kill(self.pid, signal.SIGHUP)
        wait_for(
            lambda: self.count_logged(outcome) > before, f"{outcome}: {self.messages()}", seconds
        )


DEADLINES = {
    "not ready to run": ("server/rehearsal.py", "PATIENCE", 6.0),
    "was not ready after": ("server/reload.py", "READY", 4.0),
    "not taken over": ("server/reload.py", "HAND_OVER", 4.0),
}
"""By the log text after it has passed: the deadline of each phase, and a short one.

The same supervisor has to keep it in the reload that follows and succeeds, on a loaded machine too.
"""


def shorten_the_deadline(server: Installed, reason: str) -> None:
    """Shorten the deadline that this failure waits for."""
    for phase, (file, name, seconds) in DEADLINES.items():
        if phase in reason:
            server.edit(file, f"{name} = 60.0", f"{name} = {seconds}")


class Configured(Installed):
    """A server with all its settings in a configuration file that a test can change."""

    def command(self) -> list[str | Path]:
        return [SERVER, "--config", self.home / "fastlog.toml"]

    def configure(
        self, listen: Sequence[str], data_dir: str = "data", more: str = ""
    ) -> Configured:
        text = f"listen = {json.dumps(listen)}\ndata_dir = {json.dumps(data_dir)}\n{more}"
        (self.home / "fastlog.toml").write_text(text)
        return self


def receivers(server: Server) -> list[int]:
    """Return the pids of the receivers: two, while a reload replaces one by the other."""
    return [pid for pid, role in processes_of(server.data) if role == "receiver"]


def inheritable(pid: int) -> list[str]:
    """Return the descriptors above 2 that its child processes would inherit."""
    found = []
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        (flags,) = re.findall(r"^flags:\s+(\d+)$", entry.read_text(), flags=re.MULTILINE)
        if not int(flags, 8) & os.O_CLOEXEC and int(entry.name) > 2:
            found.append(str(Path(f"/proc/{pid}/fd/{entry.name}").readlink()))
    return found
