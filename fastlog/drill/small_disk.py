"""A small file system of its own for a server, which can be filled without root.

A process makes a user namespace and a mount namespace, in which this user may mount a tmpfs, and
waits there until its stdin ends. Servers are started in these namespaces. Others see the files
through `/proc/PID/root`. Nothing has to be unmounted: the kernel removes all with the processes.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
from pathlib import Path

from fastlog.errors import FastlogError

SIZE = 64 << 20
"""Bytes of the file system."""
_SCRIPT = 'mount -t tmpfs -o "size=$1,mode=700" tmpfs "$2" && echo made && exec cat'
_BALLAST = "ballast"


class NoSmallDiskError(FastlogError):
    """This user may not make such a file system here."""


class SmallDisk:
    """A file system at an existing directory, for the processes that are started with `command`.

    Raises:
        NoSmallDiskError: The kernel does not permit it, or `unshare` is missing.
    """

    def __init__(self, at: Path) -> None:
        command = ["unshare", "--user", "--map-root-user", "--mount", "--"]
        command += ["sh", "-c", _SCRIPT, "sh", str(SIZE), str(at)]
        try:
            self._holder = subprocess.Popen(  # noqa: S603 - util-linux and coreutils
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=at.parent,
                process_group=0,
            )
        except OSError as error:
            raise NoSmallDiskError(f"unshare: {error.strerror}") from None
        assert self._holder.stdout is not None
        if not self._holder.stdout.readline():
            _, text = self._holder.communicate()
            lines = text.decode(errors="replace").strip().splitlines() or ["unshare failed"]
            raise NoSmallDiskError(lines[-1])
        self._at = at
        self.path = Path(f"/proc/{self._holder.pid}/root{at}")
        """Its directory, as this process sees it."""

    @property
    def command(self) -> list[str]:
        """What precedes the command of a process that is to use it."""
        pid = self._holder.pid
        return ["nsenter", f"--target={pid}", "--user", "--mount", "--preserve-credentials", "--"]

    def fill(self) -> None:
        """Fill it, as another program would."""
        try:
            with (self.path / _BALLAST).open("ab", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 16))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def clear(self) -> None:
        """Remove what fills it."""
        (self.path / _BALLAST).unlink(missing_ok=True)

    def close(self) -> None:
        """Copy its files into the directory where it is mounted, and remove it.

        Call this once the processes that use it have ended.
        """
        try:
            self.clear()
            shutil.copytree(self.path, self._at, dirs_exist_ok=True)
        finally:
            self._holder.kill()
            self._holder.communicate()
