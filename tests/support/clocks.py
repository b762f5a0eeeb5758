"""Clocks of real processes that a test can set, by a library that is loaded before libc."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

COMPILER = shutil.which("cc") or shutil.which("gcc")

_SOURCE = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Seconds that the file $CLOCK_FILE adds to the wall clock, and to the time since the boot. */
static void offsets(long *wall, long *steady)
{
    const char *name = getenv("CLOCK_FILE");
    FILE *file = name ? fopen(name, "re") : NULL;
    *wall = *steady = 0;
    if (file == NULL)
        return;
    if (fscanf(file, "%ld %ld", wall, steady) != 2)
        *wall = *steady = 0;
    fclose(file);
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    long wall, steady;
    int result = (int)syscall(SYS_clock_gettime, id, now);
    if (result == 0 && id == CLOCK_BOOTTIME) {
        offsets(&wall, &steady);
        now->tv_sec += steady;
    } else if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        offsets(&wall, &steady);
        now->tv_sec += wall;
    }
    return result;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *to)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (to != NULL)
        *to = exact.tv_sec;
    return exact.tv_sec;
}
"""


class WrongClock:
    """The clocks of the processes that are started with `env`."""

    def __init__(self, home: Path, wall: float = 0.0) -> None:
        source, library = home / "clock.c", home / "clock.so"
        source.write_text(_SOURCE)
        assert COMPILER is not None
        subprocess.run(
            [COMPILER, "-shared", "-fPIC", "-o", library, source], check=True, timeout=60
        )
        self._file = home / "clock.offsets"
        loaded = (
            f"{os.environ.get('LD_PRELOAD', '')} {library}".strip()
        )  # a sanitizer must be loaded first
        self.env = {"LD_PRELOAD": loaded, "CLOCK_FILE": str(self._file)}
        self._wall, self._steady = wall, 0.0
        self._write()

    def set(self, wall: float) -> None:
        """Set the wall clock to some seconds after the true time."""
        self._wall = wall
        self._write()

    def advance(self, seconds: float) -> None:
        """Advance both clocks."""
        self._wall += seconds
        self._steady += seconds
        self._write()

    def _write(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{int(self._wall)} {int(self._steady)}")
        new.replace(self._file)
