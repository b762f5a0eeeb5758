"""Builds `fastlog._core`: the C sources, seen through the part of `csrc/fastlog.h` that cffi reads.

The declarations that Python sees are cut out of the header itself, so the two cannot differ.
Outside Linux the loop is left out, and the module holds the pure parts only.
"""

import re
import sys
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
LINUX = sys.platform.startswith("linux")

TRANSLATOR = [
    f"csrc/{name}.c"
    for name in (
        *("repack", "unpick", "literals", "objects", "text", "shortest"),
        *("row", "extra", "tree", "pickled", "line"),
    )
]
PURE = ["csrc/framer.c", "csrc/crc32c.c", *TRANSLATOR]
DIALECT = ["csrc/wire.c", "csrc/session.c", "csrc/crc32.c"]
LOOP = [
    f"csrc/{name}.c"
    for name in (
        *("loop", "turn", "conn", "read", "block", "accept", "hosts", "refusal", "share"),
        *("clients", "dialect", "reply", "handed"),
    )
]

# The one call from C into Python; an error in it is kept by core.Loop and raised after the turn.
CALLBACK = """
extern "Python" void fl_on_block(void *context, const uint8_t *runs, size_t len, uint32_t frames);
"""


def declarations(part: str) -> str:
    """The region of the header that is marked as `part`, without its comments."""
    header = (HERE / "csrc" / "fastlog.h").read_text(encoding="utf-8")
    begin, end = f"/* cffi: begin {part} */", f"/* cffi: end {part} */"
    region = header.split(begin, 1)[1].split(end, 1)[0]
    return re.sub(r"/\*.*?\*/", "", region, flags=re.DOTALL)


ffibuilder = FFI()
ffibuilder.cdef(declarations("pure"))
if LINUX:
    ffibuilder.cdef(declarations("loop") + CALLBACK)
ffibuilder.set_source(
    "fastlog._core",
    '#include "fastlog.h"',
    sources=PURE + (DIALECT + LOOP if LINUX else []),
    include_dirs=["csrc"],
    define_macros=[("_GNU_SOURCE", None), ("Py_LIMITED_API", "0x030b0000")],
    extra_compile_args=["-std=c11"] if LINUX else [],
    depends=["csrc/fastlog.h", "csrc/loop.h", "csrc/opcodes.h", "csrc/repack.h", "csrc/row.h"],
    py_limited_api=True,
)
