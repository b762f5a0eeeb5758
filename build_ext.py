"""Build `fastlog._core` from the C sources and the declarations of their headers.

cffi gets its declarations from the headers themselves, so the two cannot differ. On systems other
than Linux the module has the pure parts only, without the loop.
"""

import re
import sys
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
LINUX = sys.platform.startswith("linux")
FOLDERS = ["framer", "protocol", "translate", *(["loop"] if LINUX else [])]
HEADERS = ["framer/framer.h", "protocol/protocol.h", "runs.h", "translate/translate.h"]
"""The public headers for every system, in the order that their names need."""

# The only call from C into Python. core.Loop keeps an exception in it and raises it after the poll.
CALLBACK = """
extern "Python" void fl_on_block(void *context, const uint8_t *runs, size_t len, uint32_t frames);
"""


def declarations(header: str) -> str:
    """Return the region of a public header between its cffi marks, without comments."""
    text = (HERE / "csrc" / header).read_text(encoding="utf-8")
    region = text.split("/* cffi: begin */", 1)[1].split("/* cffi: end */", 1)[0]
    return re.sub(r"/\*.*?\*/", "", region, flags=re.DOTALL)


def found(pattern: str) -> list[str]:
    """Return the paths below `csrc/` that match the pattern, relative to this file, sorted."""
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
