"""What pyproject.toml cannot say: the C module, one wheel for CPython 3.11 and newer, and what a
build needs of the machine.

Older interpreters run this file too, before pip compares versions: it is plain Python.
"""

import os
import shlex
import shutil
import sys
import sysconfig

from setuptools import setup
from setuptools.command.build_ext import build_ext

OLDEST = (3, 11)


def missing():
    """Returns what this machine lacks for a build, as one line that says what to do, or None."""
    if sys.version_info < OLDEST:
        return (
            "fastlog-server needs Python %d.%d or newer, and this is %d.%d: name a newer one, as "
            "in `python3.12 -m pip install fastlog-server`. For programs that only send records, "
            "fastlog-client runs on Python 2.7 and 3.6 or newer." % (OLDEST + sys.version_info[:2])
        )
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return (
            "fastlog-server's C module uses CPython's stable ABI, which this free-threaded build "
            "does not have: install it with the default build of Python."
        )
    if sys.platform == "win32":
        return None  # setuptools finds Microsoft's compiler, and says what to install
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return (
            "fastlog-server needs a C compiler, and %r is not found: install one (Debian, Ubuntu: "
            "`apt-get install gcc libc6-dev`; Fedora: `dnf install gcc`; Alpine: `apk add gcc "
            "musl-dev`), or name yours with CC=." % compiler
        )
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if not os.path.exists(header):
        return (
            "fastlog-server needs Python's C headers, and %s is missing: install them (Debian, "
            "Ubuntu: `apt-get install python3-dev`; Fedora: `dnf install python3-devel`; Alpine: "
            "`apk add python3-dev`)." % header
        )
    return None


class BuildExt(build_ext):
    """Compiles the C module, on a machine that has what it takes."""

    def run(self):
        reason = missing()
        if reason is not None:
            sys.exit("\n" + reason + "\n")
        build_ext.run(self)


if sys.version_info < OLDEST:
    sys.exit("\n" + str(missing()) + "\n")

setup(
    cffi_modules=["build_ext.py:ffibuilder"],
    cmdclass={"build_ext": BuildExt},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
