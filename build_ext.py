"""Builds `fastlog._core` from the C sources and the parts of their headers that cffi reads.

The declarations that Python sees are cut out of the headers themselves, so the two cannot differ.
Outside Linux the loop is left out, and the module holds the pure parts only.
"""

import re
import sys
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
LINUX = sys.platform.startswith("linux")
FOLDERS = ["framer", "protocol", "translate", *(["loop"] if LINUX else [])]
HEADERS = ["framer/framer.h", "runs.h", "protocol/protocol.h", "translate/translate.h"]
"""The public headers that `fastlog.h` includes, in its order; on Linux `loop/loop.h` besides."""

# The one call from C into Python; an error in it is kept by core.Loop and raised after the turn.
CALLBACK = """
extern "Python" void fl_on_block(void *context, const uint8_t *runs, size_t len, uint32_t frames);
"""


def declarations(header: str) -> str:
    """Returns the region of a public header between its cffi marks, without comments."""
    text = (HERE / "csrc" / header).read_text(encoding="utf-8")
    region = text.split("/* cffi: begin */", 1)[1].split("/* cffi: end */", 1)[0]
    return re.sub(r"/\*.*?\*/", "", region, flags=re.DOTALL)


def found(pattern: str) -> list[str]:
    """Returns the paths below `csrc/` that match, relative to this file, sorted."""
    return sorted(str(path.relative_to(HERE)) for path in (HERE / "csrc").glob(pattern))


ffibuilder = FFI()
for name in HEADERS:
    ffibuilder.cdef(declarations(name))
if LINUX:
    ffibuilder.cdef(declarations("loop/loop.h") + CALLBACK)
ffibuilder.set_source(
    "fastlog._core",
    '#include "fastlog.h"',
    sources=[path for folder in FOLDERS for path in found(f"{folder}/*.c")],
    include_dirs=["csrc"],
    define_macros=[("_GNU_SOURCE", None), ("Py_LIMITED_API", "0x030b0000")],
    extra_compile_args=["-std=c11"] if LINUX else [],
    depends=found("**/*.h"),
    py_limited_api=True,
)
