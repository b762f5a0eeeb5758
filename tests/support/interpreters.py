"""The Python interpreters of this machine, which run the clients of tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

VERSIONS = ("2.7", *(f"3.{minor}" for minor in range(6, 16)))


@cache
def interpreters() -> dict[str, Path]:
    """Return the paths of the interpreters that run, by version."""
    found = {}
    for version in VERSIONS:
        for path in _candidates(version):
            if _version(path) == version:
                found[version] = path
                break
    return found


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a client program.

    It is without the sanitizers of `make sanitize`: these are for the C code of the server, and a
    client has none. Under them, a child that starts a thread after a fork may wait forever for a
    lock of their allocator, and they kill CPython 3.12.1 for a fault of its own: at exit, it frees
    a tuple of a subinterpreter that no longer exists.
    """
    kept = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    return {**kept, **more}


def _candidates(version: str) -> list[Path]:
    roots = [os.environ.get("PYENV_ROOT"), Path.home() / ".pyenv"]
    paths = [
        path
        for root in roots
        if root
        for path in sorted(Path(root, "versions").glob(f"{version}*/bin/python"), reverse=True)
    ]
    on_path = shutil.which(f"python{version}")
    return [*paths, Path(on_path)] if on_path else paths


def _version(path: Path) -> str | None:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        result = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=30)
    except OSError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None
