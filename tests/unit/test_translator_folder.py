"""The folder of the translator, copied alone, makes a program that reads no byte too many.

`test_architecture.py` compiles each pure folder with other compilers, and as C++.
"""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

import grammar
import shapes
from attacks import attacks
from interpreters import VERSIONS, interpreters
from places import ROOT, SUPPORT
from translations import body_of


def copy_alone(folder: Path) -> Path:
    """Copy the folder of the translator with the two headers that it needs, and nothing else."""
    for name in ("runs.h", "framer/framer.h", *FOLDER):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "csrc" / name, folder / name)
    return folder


FOLDER = [f"translate/{path.name}" for path in (ROOT / "csrc/translate").glob("*.[ch]")]
COMPILER = str(sysconfig.get_config_var("CC")).split()[0]
STRICT = ("-Wall", "-Wextra", "-Werror", "-O1", "-g")


def test_the_folder_alone_makes_a_c_program_that_reads_no_byte_too_many(tmp_path: Path) -> None:
    """Each frame, and each beginning of it, is at the end of a page; the next is protected.

    Sorted, each beginning that frames have in common is tried once.
    """
    frames = [frame for frame, _ in attacks(1 << 8).values() if len(frame) < 4000]
    frames += [f.data for f in shapes.frames(max(interpreters(), key=VERSIONS.index))]
    generated = (grammar.frame(seed) for seed in range(500))
    frames += [frame for frame in generated if len(frame) < 700]  # all of them would take a minute
    corpus = tmp_path / "frames"
    corpus.write_bytes(body_of(sorted(frame for frame in frames if len(frame) < 3000)))
    program = tmp_path / "embed"
    folder = copy_alone(tmp_path / "csrc")
    subprocess.run(
        [COMPILER, "-std=c11", "-D_GNU_SOURCE", *STRICT, f"-I{folder}", f"-I{ROOT / 'tests'}",
         *map(str, (folder / "translate").glob("*.c")),
         str(SUPPORT / "embed_translator.c"), "-o", str(program)],
        check=True,
    )  # fmt: skip
    out = subprocess.run([program, corpus], capture_output=True, text=True, check=False)
    assert (out.returncode, out.stdout) == (0, "ok\n"), out.stderr


def test_each_header_is_complete(tmp_path: Path) -> None:
    folder = copy_alone(tmp_path / "csrc")
    check_only = [COMPILER, *STRICT, f"-I{folder}", "-fsyntax-only", "-std=c11"]
    source = tmp_path / "only.c"
    for header in (folder / "translate").glob("*.h"):
        source.write_text(f'#include "translate/{header.name}"\n')
        subprocess.run([*check_only, str(source)], check=True)
