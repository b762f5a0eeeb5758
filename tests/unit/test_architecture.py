"""The rules of the house: which part may import which, and who may touch what."""

from __future__ import annotations

import ast
import graphlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from places import ROOT

PACKAGE = ROOT / "fastlog"

LAYERS = [
    {"__main__"},
    {"cli"},
    {"drill", "web"},
    {"metrics", "transfer"},
    {"status"},
    {"server", "search", "source"},
    {"worker", "receiver"},
    {"tls"},
    {"child"},
    {"routing", "sinks"},
    {"csv_cells", "decode", "jetstream", "journal", "ledger"},
    {"terminal"},
    {"protocol", "query", "database"},
    {"block", "config"},
    {"record", "core", "files", "certificates"},
    {"errors", "eventlog", "version", "clock", "zone", "x509"},
    {"bounded_counter", "zstd"},
]
"""From the top down. A part imports from below, and from beside it only within its own folder."""

FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """`fastlog.journal.reader` is of the part `journal`."""
    return module.split(".")[1] if "." in module else "__init__"


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            paths = [ROOT / Path(*name.split(".")) for name in submodules]
            if node.module == "fastlog" and any(p.with_suffix(".py").exists() for p in paths):
                found |= submodules
            else:
                found.add(node.module)
    return found


def level(part: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if part in layer)


def test_every_part_has_its_place_in_the_house() -> None:
    parts = {part_of(module_of(path)) for path in FILES} - {"__init__"}
    assert parts == set().union(*LAYERS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    own = part_of(module_of(path))
    if own == "__init__":
        return  # the public names
    for name in imports(path):
        if name.startswith("fastlog.") and (other := part_of(name)) not in (own, "_core"):
            assert level(own) < level(other), f"{path.name} of {own} imports {name}"


def test_only_core_sees_the_c_module() -> None:
    users = [p for p in FILES if any(name.endswith("_core") for name in imports(p))]
    assert {path.relative_to(PACKAGE).parts[0] for path in users} == {"core"}


UNPICKLERS = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"}


def test_only_one_file_knows_an_unpickler_and_reads_only_what_our_translator_wrote() -> None:
    users = [path for path in FILES if imports(path) & UNPICKLERS]
    assert [path.relative_to(PACKAGE).as_posix() for path in users] == ["decode/c_engine.py"]
    tree = ast.parse(users[0].read_text(encoding="utf-8"))
    uses = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and "pickle" in ast.unparse(node.func)
    ]
    assert {ast.unparse(node) for node in uses} == {
        "pickle.loads(translation.rows)",
        "pickle.loads(translation.columns)",
    }
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "pickle"]
    assert len(names) == len(uses) == 2


CSRC = ROOT / "csrc"
PURE = ["framer", "protocol", "translate"]
PURE_FILES = sorted(path for folder in PURE for path in (CSRC / folder).glob("*.[ch]"))
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


@pytest.mark.parametrize("path", PURE_FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_pure_c_file_includes_no_header_of_an_operating_system(path: Path) -> None:
    headers = set(re.findall(r"#include <(.+)>", path.read_text()))
    assert headers <= {"stdbool.h", "stddef.h", "stdint.h", "stdlib.h", "string.h", "arm_acle.h"}


def c_code(path: Path) -> str:
    """Return the text of a C file without its comments and string literals."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    return re.sub(r'"(\\.|[^"\\\n])*"', '""', re.sub(r'#include "(.+)"', r"#include <\1>", text))


def defined_functions(code: str) -> dict[str, bool]:
    """Return the functions that a file defines: the name, and whether it is static."""
    # clang-format puts the brace of a function, and of nothing else, at the start of a line.
    heads = re.findall(r"^([A-Za-z_][^;{}#=]*?\b(\w+)\([^;{}]*\))\n\{", code, flags=re.MULTILINE)
    return {name: "static" in head.partition(name)[0].split() for head, name in heads}


def c_arrows(folder: Path) -> dict[Path, set[Path]]:
    """Return for each C file of a folder the files that it includes, or whose functions it calls.

    A file is said to call a function if it mentions its name and defines no function of that name.
    """
    code = {path.resolve(): c_code(path) for path in sorted(folder.glob("*.[ch]"))}
    functions = {path: defined_functions(text) for path, text in code.items()}
    definer = {
        name: path
        for path, found in functions.items()
        for name, is_static in found.items()
        if not is_static
    }
    arrows = {}
    for path, text in code.items():
        included = {(path.parent / name).resolve() for name in re.findall("#include <(.+)>", text)}
        words = set(re.findall(r"\b[A-Za-z_]\w*\b", text)) if path.suffix == ".c" else set()
        called = {definer[name] for name in (words & definer.keys()) - functions[path].keys()}
        arrows[path] = (included & code.keys()) | called
    return arrows


@pytest.mark.parametrize("folder", [*PURE, "loop"])
def test_c_files_of_a_folder_form_no_circle(folder: str) -> None:
    arrows = c_arrows(CSRC / folder)
    assert any(arrows.values())
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" calls ".join(path.name for path in reversed(error.args[1])))


def test_the_derivation_of_arrows_finds_a_circle(tmp_path: Path) -> None:
    (tmp_path / "one.h").write_text("int one(void);\nint two(void);\n")
    (tmp_path / "one.c").write_text('#include "one.h"\nint one(void)\n{\n    return two();\n}\n')
    (tmp_path / "two.c").write_text(
        "static int own(void)\n{\n    return 1;\n}\n\nint two(void)\n{\n    return own();\n}\n"
    )
    graphlib.TopologicalSorter(c_arrows(tmp_path)).prepare()
    with (tmp_path / "two.c").open("a") as file:
        file.write("\nint three(void)\n{\n    return one();\n}\n")
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(c_arrows(tmp_path)).prepare()


FOLDERS_BELOW = {
    "framer": {"framer"},
    "protocol": {"framer", "protocol"},
    "translate": {"framer", "translate"},
    "loop": {"framer", "protocol", "loop"},
}
"""The folders that each folder may include, beside the headers directly in `csrc`."""


@pytest.mark.parametrize("folder", FOLDERS_BELOW)
def test_a_c_folder_includes_only_folders_below(folder: str) -> None:
    for path in sorted((CSRC / folder).glob("*.[ch]")):
        for name in re.findall('#include "(.+)"', path.read_text()):
            included = (path.parent / name).resolve()
            own = {"runs.h", "bytes.h"}
            part = included.relative_to(CSRC.resolve()).parts[0]
            assert part in FOLDERS_BELOW[folder] | own, f"{path.name} includes {name}"


def compiler_or_skip(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


PROGRAMS = {
    "framer": """
#include "framer/framer.h"
int main(void)
{
    uint8_t data[] = {0, 0, 0, 1, 5};
    fl_framer *framer = fl_framer_new(10);
    fl_frame frame;
    int bad = fl_framer_feed(framer, data, sizeof data) || fl_framer_next(framer, &frame, 1) != 1;
    fl_framer_free(framer);
    return bad || frame.len != 1 || !fl_strerror(FL_ENOMEM);
}
""",
    "protocol": """
#include "protocol/protocol.h"
int main(void)
{
    uint8_t frame[FL_ACK_BYTES], digits[] = "123456789";
    fl_header header;
    fl_ack_write(frame, 7, 0, 0);
    if (fl_header_read(frame, sizeof frame, &header) != 1 || header.type != FL_TYPE_ACK)
        return 1;
    return fl_crc32c(0, digits, 9) != 0xE3069283;
}
""",
    "translate": """
#include "translate/translate.h"
int main(void)
{
    fl_translator_free(0);
    return !fl_verdict_text(FL_PLAIN);
}
""",
}
"""For each pure folder, a program that needs no other file than those of the folder and headers.
Each is valid C11 and valid C++17."""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("folder", PURE)
def test_a_pure_folder_alone_makes_a_c_program(folder: str, compiler: str, tmp_path: Path) -> None:
    source, program = tmp_path / "main.c", tmp_path / "main"
    source.write_text(PROGRAMS[folder])
    files = sorted((CSRC / folder).glob("*.c"))
    flags = ["-std=c11", "-O1", *WARNINGS, f"-I{CSRC}"]
    command = [compiler_or_skip(compiler), *flags, source, *files, "-o", program]
    subprocess.run(command, check=True)
    subprocess.run([program], check=True)


@pytest.mark.parametrize(("c_compiler", "compiler"), [("gcc", "g++"), ("clang", "clang++")])
@pytest.mark.parametrize("folder", PURE)
def test_a_c_plus_plus_program_links_a_pure_folder(
    folder: str, c_compiler: str, compiler: str, tmp_path: Path
) -> None:
    source, program = tmp_path / "main.cc", tmp_path / "main"
    source.write_text(PROGRAMS[folder])
    objects = []
    for path in sorted((CSRC / folder).glob("*.c")):
        objects.append(tmp_path / f"{path.stem}.o")
        command = [compiler_or_skip(c_compiler), "-std=c11", f"-I{CSRC}", "-c", path]
        subprocess.run([*command, "-o", objects[-1]], check=True)
    command = [compiler_or_skip(compiler), "-std=c++17", *WARNINGS, f"-I{CSRC}"]
    subprocess.run([*command, source, *objects, "-o", program], check=True)
    subprocess.run([program], check=True)


PUBLIC = [
    "fastlog.h",
    "runs.h",
    "framer/framer.h",
    "protocol/protocol.h",
    "translate/translate.h",
    "loop/loop.h",
]


@pytest.mark.parametrize("compiler", ["gcc", "g++", "clang", "clang++"])
@pytest.mark.parametrize("header", PUBLIC)
def test_a_public_header_compiles_alone(header: str, compiler: str, tmp_path: Path) -> None:
    is_cpp = compiler.endswith("++")
    source = tmp_path / ("main.cc" if is_cpp else "main.c")
    source.write_text(f'#include "{header}"\n')
    flags = ["-std=c++17" if is_cpp else "-std=c11", "-pedantic", *WARNINGS, f"-I{CSRC}"]
    subprocess.run([compiler_or_skip(compiler), *flags, "-fsyntax-only", source], check=True)


def test_no_two_error_codes_of_the_headers_have_one_value() -> None:
    found = [
        code
        for header in PUBLIC
        for code in re.findall(r"\b(FL_E[A-Z]+) = (-\d+)", c_code(CSRC / header))
    ]
    assert len(found) == 8
    assert len({value for _, value in found}) == len(found)


def test_nothing_that_is_committed_names_one_machine() -> None:
    """No path of one machine, no address of a package registry, in what is committed."""
    wrong = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/|pypi\.org|files\.pythonhosted")
    for path in [p for p in ROOT.rglob("*") if p.suffix in {".py", ".c", ".h", ".md", ".toml"}]:
        if not any(part.startswith((".", "build")) for part in path.relative_to(ROOT).parts):
            assert not wrong.search(path.read_text(encoding="utf-8")), path
