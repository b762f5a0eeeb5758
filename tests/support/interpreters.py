"""The Python interpreters of this machine: the clients that real applications run on."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

VERSIONS = ("2.7", *(f"3.{minor}" for minor in range(6, 16)))


@cache
def interpreters() -> dict[str, Path]:
    """Interpreter by version, of those that really run ("2.7" → path)."""
    found = {}
    for version in VERSIONS:
        for path in _candidates(version):
            if _version(path) == version:
                found[version] = path
                break
    return found


def environment(**more: str) -> dict[str, str]:
    """The environment of a client program.

    It goes without the sanitizers of `make sanitize`. They are there for the server's C code, and a
    client has none. Under them, a child that starts a thread after a fork may wait for ever for a
    lock of their allocator, and CPython 3.12.1 is ended for a fault of its own: its end frees a
    tuple of a subinterpreter that is gone.
    """
    kept = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **more}


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
