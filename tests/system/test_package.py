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
import venv
import zipfile
from pathlib import Path

import pytest
from interpreters import interpreters
from places import ROOT, SUPPORT

from fastlog.version import __version__

pytestmark = pytest.mark.package

TRIAL = SUPPORT / "installation.py"
CLIENT_VERSION = tomllib.loads((ROOT / "client/pyproject.toml").read_text())["project"]["version"]
CLIENT_PACKAGE = ROOT / "client/fastlog_client"
SERVER, CLIENT = f"fastlog_server-{__version__}", f"fastlog_client-{CLIENT_VERSION}"
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


@pytest.fixture(scope="module")
def installed(packages: Path, home: Path) -> Path:
    """The programs of a new environment with both packages, installed from their sources."""
    venv.create(home / "venv", with_pip=True, symlinks=True)
    programs = home / "venv" / "bin"
    sources = [packages / f"{name}.tar.gz" for name in (SERVER, CLIENT)]
    # pip's cache may hold a wheel that it once built of a file with the same path.
    run(programs / "pip", "install", "--quiet", "--no-cache-dir", *sources, cwd=home)
    return programs


def test_the_source_package_of_the_server_holds_what_builds_it_and_no_half_of_the_suite(
    packages: Path,
) -> None:
    with tarfile.open(packages / f"{SERVER}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    c_files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc").rglob("*.[ch]")}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "fastlog").rglob("*.py")}
    built = {"build_ext.py", "setup.py", "pyproject.toml", "fastlog/py.typed"}
    documents = {"LICENSE", "README.md", "CHANGELOG.md"}
    assert c_files | sources | built | documents <= names
    assert [name for name in names if name.startswith(("tests", "client", "benchmarks"))] == []


def test_the_source_package_of_the_client_holds_its_files(packages: Path) -> None:
    with tarfile.open(packages / f"{CLIENT}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    package = {f"fastlog_client/{path.name}" for path in CLIENT_PACKAGE.glob("*.py*")}
    assert "fastlog_client/py.typed" in package
    assert {*package, "pyproject.toml", "setup.cfg", "LICENSE", "README.md"} <= names


def test_one_wheel_serves_all_interpreters(packages: Path) -> None:
    [server] = packages.glob(f"{SERVER}-cp311-abi3-linux_*.whl")
    client = packages / f"{CLIENT}-py2.py3-none-any.whl"
    with zipfile.ZipFile(server) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"fastlog", f"{SERVER}.dist-info"}
    with zipfile.ZipFile(client) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"fastlog_client", f"{CLIENT}.dist-info"}
    package = {f"fastlog_client/{path.name}" for path in CLIENT_PACKAGE.glob("*.py*")}
    assert package == {name for name in names if name.startswith("fastlog_client/")}


def test_records_of_both_handlers_go_through_what_was_installed_from_the_sources(
    installed: Path, home: Path
) -> None:
    folder = home / "elsewhere"
    folder.mkdir()
    output = run(installed / "python", "-P", TRIAL, cwd=folder)
    prefix = str(installed.parent)
    lines = dict(line.split("=", 1) for line in output.splitlines())
    assert lines["fastlog"].startswith(prefix)
    assert lines["fastlog_client"].startswith(prefix)
    assert lines["stored"] == "from fastlog send, from fastlog_client, from the stock handler"
    assert lines["status"] == "0"


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.13"])
def test_the_wheel_of_the_client_installs_in_old_interpreters(
    version: str, packages: Path, home: Path
) -> None:
    if version not in interpreters():
        pytest.skip(f"Python {version} is not installed")
    target = home / f"client-{version}"
    wheel = packages / f"{CLIENT}-py2.py3-none-any.whl"
    python = interpreters()[version]
    options = ("--quiet", "--no-index", "--no-deps", "--disable-pip-version-check")
    run(python, "-m", "pip", "install", *options, "--target", target, wheel, cwd=home)
    assert (target / "fastlog_client" / "__init__.py").is_file()
    run(python, "-c", "import fastlog_client", cwd=target)
