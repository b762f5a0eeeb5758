# -*- coding: utf-8 -*-
"""What differs between the interpreters and systems that the package supports."""

from __future__ import absolute_import, division, print_function

import os
import select
import socket
import sys
import time
import zlib


try:
    import cPickle as pickle  # noqa: F401 - for the other modules, as what follows
except ImportError:
    import pickle  # noqa: F401
try:
    import fcntl
except ImportError:
    fcntl = None  # not a POSIX system: no spool


PYTHON_2 = sys.version_info[0] == 2
TEXT_TYPES = (str, type(b"".decode()))  # the second is `unicode` in Python 2
OS_ERRORS = (EnvironmentError, socket.error, select.error)  # one class, from Python 3.3 on
getpid = os.getpid
HAS_FORK_HOOKS = hasattr(os, "register_at_fork")

if PYTHON_2:
    from thread import allocate_lock as allocate_lock  # noqa: F401
    from thread import get_ident as thread_id  # noqa: F401
else:
    from threading import Lock as allocate_lock  # noqa: F401
    from threading import get_ident as thread_id  # noqa: F401


wall_clock = time.time
if hasattr(time, "monotonic"):
    monotonic = time.monotonic
elif os.name == "nt":
    monotonic = time.clock
else:

    def monotonic():
        """Return seconds that no change of the clock affects, to a hundredth."""
        return os.times()[4]


def crc32(data, crc=0):
    """Return the CRC-32, unsigned in Python 2 too."""
    return zlib.crc32(data, crc) & 0xFFFFFFFF
