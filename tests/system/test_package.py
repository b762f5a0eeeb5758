"""`make package`: the packages are built from what is committed, and installed as a user would.

Each step runs outside the checkout, in new virtual environments, without the suite's own variables.
What is built stays in `PACKAGE_DIR`, if that is set. pip fetches what the builds need.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from interpreters import interpreters
from places import CLIENT as CLIENT_SOURCE
from places import ROOT, SUPPORT
from servers import Server

from fastlog.version import __version__

pytestmark = pytest.mark.package

TRIAL = SUPPORT / "installation.py"
CLIENT_VERSION = tomllib.loads((ROOT / "client/pyproject.toml").read_text())["project"]["version"]
SERVER, CLIENT = f"fastlog_server-{__version__}", f"fastlog_client-{CLIENT_VERSION}"
CLIENT_FILES = {
    path.relative_to(CLIENT_SOURCE).as_posix()
    for path in (CLIENT_SOURCE / "fastlog_client").rglob("*")
    if path.suffix in {".py", ".pyi"} or path.name == "py.typed"
}
CLIENT_TRIAL = SUPPORT / "clients" / "log_once.py"
SERVER_PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
CLIENT_PYTHONS = ["2.7", *(f"3.{minor}" for minor in range(6, 16))]
DEADLINE = 280.0


def run(*command: str | Path, cwd: Path) -> str:
    """What a program prints; it must end with status 0.

    `PYTHON*` and `FASTLOG_*` are taken out of the environment: they could lend it the checkout.
    """
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "FASTLOG_"))
    }
    done = subprocess.run(
        command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("package")


@pytest.fixture(scope="module")
def checkout(home: Path) -> Path:
    """A copy of the files that git knows or would add.

    setuptools takes whatever an older build listed in `*.egg-info` into a source package, so a
    package that is built in a used checkout can hold files that one from a fresh clone lacks.
    """
    listed = run("git", "ls-files", "-z", "-co", "--exclude-standard", cwd=ROOT)
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            target = home / "checkout" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    return home / "checkout"


@pytest.fixture(scope="module")
def packages(checkout: Path, home: Path) -> Path:
    """The folder with both source packages, and the wheels that were built from these."""
    chosen = os.environ.get("PACKAGE_DIR")
    folder = Path(chosen).absolute() if chosen else home / "dist"
    for source in (checkout, checkout / "client"):
        run(sys.executable, "-m", "build", "--outdir", folder, source, cwd=home)
    return folder


def new_environment(python: Path | str, folder: Path, *packages: Path | str) -> Path:
    """Make a virtual environment with these packages; return its folder of programs.

    pip's cache may hold a wheel that it once built of a file with the same path.
    """
    run(python, "-m", "venv", folder, cwd=folder.parent)
    programs = folder / "bin"
    run(programs / "pip", "install", "--quiet", "--no-cache-dir", *packages, cwd=folder.parent)
    return programs


@pytest.fixture(scope="module")
def builder(home: Path) -> Path:
    """The interpreter of an environment with what pyproject.toml requires for a build."""
    programs = new_environment(sys.executable, home / "builder", "setuptools>=77", "cffi>=1.17")
    return programs / "python"


def trial(programs: Path, folder: Path) -> None:
    """Check that records of both handlers go through what is installed beside `programs`."""
    folder.mkdir()
    output = run(programs / "python", "-P", TRIAL, cwd=folder)
    lines = dict(line.split("=", 1) for line in output.splitlines())
    assert lines["fastlog"].startswith(str(programs.parent))
    assert lines["fastlog_client"].startswith(str(programs.parent))
    assert lines["stored"] == "from fastlog send, from fastlog_client, from the stock handler"
    assert lines["status"] == "0"


def wheels(packages: Path) -> list[Path]:
    """Return the wheels of the server and the client."""
    [server] = packages.glob(f"{SERVER}-cp311-abi3-linux_*.whl")
    return [server, packages / f"{CLIENT}-py2.py3-none-any.whl"]


def test_sdist_of_server_holds_what_builds_it_and_not_the_suite(packages: Path) -> None:
    with tarfile.open(packages / f"{SERVER}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    c_files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc").rglob("*.[ch]")}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "fastlog").rglob("*.py")}
    built = {"build_ext.py", "setup.py", "pyproject.toml", "fastlog/py.typed"}
    documents = {"LICENSE", "README.md", "CHANGELOG.md"}
    assert c_files | sources | built | documents <= names
    assert [name for name in names if name.startswith(("tests", "client", "benchmarks"))] == []


def test_sdist_of_client_holds_its_package(packages: Path) -> None:
    with tarfile.open(packages / f"{CLIENT}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {*CLIENT_FILES, "pyproject.toml", "setup.cfg", "LICENSE", "README.md"} <= names


def test_wheels_hold_one_package_each(packages: Path) -> None:
    for wheel, package in zip(wheels(packages), ("fastlog", "fastlog_client"), strict=True):
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
        distribution = "-".join(wheel.name.split("-")[:2])
        tops = {name.split("/")[0] for name in names}
        assert tops == {package, f"{distribution}.dist-info"}
        if package == "fastlog_client":
            assert set(names) >= CLIENT_FILES


def test_sdists_install_and_work_outside_the_checkout(packages: Path, home: Path) -> None:
    sources = [packages / f"{name}.tar.gz" for name in (SERVER, CLIENT)]
    programs = new_environment(sys.executable, home / "from-sdist", *sources)
    trial(programs, home / "sdist-trial")


@pytest.mark.parametrize("version", SERVER_PYTHONS)
def test_wheel_of_server_works_in_each_interpreter(
    version: str, packages: Path, home: Path
) -> None:
    if version not in interpreters():
        pytest.skip(f"Python {version} is not installed")
    python = interpreters()[version]
    programs = new_environment(python, home / f"wheel-{version}", *wheels(packages))
    trial(programs, home / f"wheel-trial-{version}")


@pytest.mark.parametrize("version", CLIENT_PYTHONS)
def test_wheel_of_client_works_in_each_interpreter(
    version: str, packages: Path, home: Path
) -> None:
    if version not in interpreters():
        pytest.skip(f"Python {version} is not installed")
    target = home / f"client-{version}"
    python = interpreters()[version]
    options = ("--quiet", "--no-index", "--no-deps", "--disable-pip-version-check")
    run(python, "-m", "pip", "install", *options, "--target", target, wheels(packages)[1], cwd=home)
    folder = home / f"server-{version}"
    folder.mkdir()
    with Server(folder) as server:
        run(python, CLIENT_TRIAL, target, str(server.port), f"from {version}", cwd=home)
        server.wait_stored(1)
        assert [record["message"] for record in server.records()] == [f"from {version}"]


def pip_output(checkout: Path, home: Path, *python: str | Path, **environ: str) -> str:
    """Return what pip prints when it cannot install the server."""
    command = [*python, "-m", "pip", "install", "--target", home / "nowhere", checkout]
    done = subprocess.run(
        command, cwd=home, env={**os.environ, **environ},
        capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_pip_without_a_compiler_prints_what_to_install(checkout: Path, home: Path) -> None:
    output = pip_output(checkout, home, sys.executable, CC="no-such-compiler")
    assert "fastlog-server needs a C compiler, and 'no-such-compiler' is not found" in output


@pytest.mark.parametrize("version", ["2.7", "3.8", "3.10"])
def test_pip_of_an_old_python_prints_which_is_needed(
    version: str, checkout: Path, home: Path
) -> None:
    if version not in interpreters():
        pytest.skip(f"Python {version} is not installed")
    output = pip_output(checkout, home, interpreters()[version])
    assert f"fastlog-server needs Python 3.11 or newer, and this is {version}" in output


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("sysconfig.get_path = lambda name: '/nowhere'", "needs Python's C headers"),
        (
            "known = sysconfig.get_config_var; sysconfig.get_config_var = "
            "lambda name: name == 'Py_GIL_DISABLED' or known(name)",
            "which this free-threaded build does not have",
        ),
    ],
)
def test_a_build_says_what_the_machine_lacks(
    checkout: Path, builder: Path, change: str, line: str
) -> None:
    """On interpreters that this machine has not, as `setup.py` sees them."""
    program = (
        f"import runpy, sys, sysconfig; {change}; sys.argv = ['setup.py', '-q', 'build_ext']; "
        "runpy.run_path('setup.py', run_name='__main__')"
    )
    done = subprocess.run(
        [builder, "-c", program], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert line in done.stderr
