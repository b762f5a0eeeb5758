"""Files of the server: their access, and which Unix sockets it removes."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from conditions import wait_for
from senders import stock_frame
from servers import FASTLOG, Server
from users import GROUP, OTHER_USER, environment, interpreter, run_as_other_user, shared_directory

from fastlog import files
from fastlog.files import Access
from fastlog.server import listeners

MADE = {
    *("node", "secret", "durable", "clients.0", "lock", "status.json", "ledger.db"),
    *(
        "ledger.db-wal",
        "sqlite.json",
        "sqlite.progress",
        "sqlite.life",
        "ndjson.json",
        "app.ndjson",
        "run.sock",
    ),
}


@pytest.fixture(autouse=True)
def _access() -> Iterator[None]:
    umask = os.umask(0o022)
    yield
    files._access = Access()
    os.umask(umask)


class UmaskServer(Server):
    """A server that is started with a umask, and perhaps by another user."""

    def __init__(self, home: Path, umask: int, user: int | None = None, **rest: Any) -> None:
        super().__init__(home, **rest)
        self._umask, self._user = umask, user
        if user is not None:
            self._env = environment()

    def command(self) -> list[str | Path]:
        command = super().command()
        if self._user is not None:
            main = "from fastlog.cli.serve import main; main()"
            options = f"--reuid={self._user}", f"--regid={self._user}", "--clear-groups"
            command = ["setpriv", *options, interpreter(), "-c", main, *command[1:]]
        return ["sh", "-c", f'umask {self._umask:04o} && exec "$@"', "sh", *command]


def files_of(*roots: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield all files with their status, without those that are removed meanwhile."""
    for root in roots:
        for path in (root, *root.rglob("*")):
            with suppress(FileNotFoundError):
                yield path, path.lstat()


def groups(root: Path) -> set[int]:
    """Return the groups of all files."""
    return {status.st_gid for _, status in files_of(root)}


def modes(*roots: Path) -> dict[str, int]:
    """Return the permissions of all files by path."""
    found = {}
    for path, status in files_of(*roots):
        kind = "d" if stat.S_ISDIR(status.st_mode) else "-"
        found[f"{kind} {path}"] = stat.S_IMODE(status.st_mode)
    return found


def too_open(found: dict[str, int], files: int = 0o600, directories: int = 0o700) -> dict[str, str]:
    return {
        path: oct(mode)
        for path, mode in found.items()
        if mode != (directories if path.startswith("d") else files)
    }


def say(server: Server, path: Path, count: int = 20) -> None:
    """Send records and a rejected frame, and connect to the Unix socket."""
    with server.connect(b"".join(stock_frame(f"m{at}") for at in range(count))):
        pass
    with server.connect(b"GET / HTTP/1.1\r\n\r\n"):
        pass
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(stock_frame("over unix"))


@pytest.mark.parametrize("umask", [0, 0o777], ids=["umask 0", "umask 777"])
def test_all_files_of_a_server_are_private_with_any_umask(umask: int) -> None:
    interpreter()
    with shared_directory(OTHER_USER) as home:
        lines, path = home / "data" / "out" / "app.ndjson", home / "run.sock"
        server = UmaskServer(
            home, umask, OTHER_USER,
            listen=["tcp://127.0.0.1:0", f"unix://{path}"],
            sinks=["sqlite:", f"ndjson://{lines}?rotate_size=2KiB", f"sqlite://{home}/days"],
        )  # fmt: skip
        with server:
            say(server, path)
            server.wait_stored(21)
            wait_for(lambda: server.rejected(), "a rejection")
            wait_for(lambda: list(lines.parent.glob("*.000001")), "a rotation")
            before = modes(server.data, lines.parent, home / "days", path)
            server.reload()
            say(server, path)
            server.wait_stored(42)
            live = before | modes(server.data, lines.parent, home / "days", path)
            assert too_open(before) == {}
            assert server.stop() == 0
        names = {Path(name).name for name in live}
        assert names >= MADE
        assert too_open(live) == {}
        assert too_open(modes(server.data, lines.parent, home / "days")) == {}


def test_only_the_configured_group_can_read() -> None:
    interpreter()
    with shared_directory() as home:
        config = f'[files]\ngroup = "{GROUP}"\nmode = "0640"\n'
        query = ["-m", "fastlog", "query", "--limit", "0", "--data-dir", home / "data"]
        stats = ["-m", "fastlog", "stats", "--data-dir", home / "data"]
        with UmaskServer(home, 0o077, config=config) as server:
            with server.connect(b"".join(stock_frame(f"m{at}") for at in range(7))):
                pass
            with server.connect(b"GET / HTTP/1.1\r\n\r\n"):
                pass
            server.wait_stored(7)
            wait_for(lambda: server.rejected(), "a rejection")
            assert too_open(modes(server.data), 0o640, 0o2750) == {}
            assert groups(server.data) == {GROUP}
            assert len(run_as_other_user(query, [GROUP]).stdout.splitlines()) == 7
            assert run_as_other_user(query).returncode != 0
            assert server.stop() == 0
        assert too_open(modes(server.data), 0o640, 0o2750) == {}
        assert len(run_as_other_user(query, [GROUP]).stdout.splitlines()) == 7
        assert "http" in run_as_other_user(stats, [GROUP]).stdout
        rejected = run_as_other_user(query)
        assert rejected.returncode != 0
        assert rejected.stdout == ""
        assert len(rejected.stderr.splitlines()) == 1
        assert "run the command as the user of these files" in rejected.stderr


def test_a_server_outside_the_configured_group_reports_an_error() -> None:
    with shared_directory(OTHER_USER) as home:
        main = "from fastlog.cli.serve import main; main()"
        (home / "fastlog.toml").write_text(f'[files]\ngroup = "{GROUP}"\nmode = "0640"\n')
        arguments = ["-c", main, "--config", home / "fastlog.toml", "--data-dir", home / "data"]
        done = run_as_other_user([*arguments, "--listen", "tcp://127.0.0.1:0"])
        assert done.returncode != 0
        assert "files.group: the server's user is not in the group 1" in done.stderr
        assert not (home / "data").exists()


def test_an_open_directory_keeps_its_mode_and_causes_a_warning(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o755)
    with Server(tmp_path) as server:
        wait_for(lambda: "chmod 0700" in server.messages(), "a warning")
        assert stat.S_IMODE(server.data.stat().st_mode) == 0o755
        command = [FASTLOG, "check", "--data-dir", server.data]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    line = f"warning mode: {server.data} has mode 0755, which gives others access; "
    assert line + f"to deny it, run: chmod 0700 {server.data}" in done.stdout
    assert done.stdout.count("gives others access") == 1


@pytest.mark.parametrize("umask", [0, 0o22, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_the_umask_does_not_change_modes(tmp_path: Path, umask: int, mode: int) -> None:
    files._access = Access(mode)
    os.umask(umask)
    files.make_directory(tmp_path / "a" / "b")
    files.touch(tmp_path / "a" / "b" / "touched")
    files.replace_file(tmp_path / "a" / "b" / "replaced", b"x", durable=True)
    assert too_open(modes(tmp_path / "a"), mode, files._access.directory_mode) == {}


def test_existing_files_keep_their_mode_and_a_dangling_link_makes_its_target(
    tmp_path: Path,
) -> None:
    there = tmp_path / "there"
    there.write_text("x")
    there.chmod(0o644)
    files.touch(there)
    assert stat.S_IMODE(there.stat().st_mode) == 0o644
    (tmp_path / "link").symlink_to(tmp_path / "target")
    files.touch(tmp_path / "link")
    assert too_open(modes(tmp_path / "target")) == {}
    with pytest.raises(FileExistsError):
        files.open_file(there, os.O_RDWR | os.O_EXCL)


# ---- Unix sockets ------------------------------------------------------------------------------


@contextmanager
def listening(path: Path, access: Access | None = None) -> Iterator[listeners.Bound]:
    (bound,) = listeners.bind([f"unix://{path}"], [access or Access()])
    try:
        yield bound
    finally:
        listeners.close([bound])


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@pytest.mark.parametrize("umask", [0, 0o777])
def test_a_unix_socket_has_the_mode_and_the_group_of_its_listener(
    tmp_path: Path, umask: int
) -> None:
    os.umask(umask)
    path = tmp_path / "s"
    with listening(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()
    gid = GROUP if os.geteuid() == 0 else os.getgid()
    with listening(path, Access(0o660, gid)):
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o660, gid)
    assert os.umask(umask) == umask


def test_access_is_configured_for_each_unix_socket() -> None:
    with shared_directory() as home:
        one, other = home / "one", home / "other"
        config = (
            f'[[listen]]\nurl = "unix://{one}"\n'
            f'[[listen]]\nurl = "unix://{other}"\nmode = "0660"\ngroup = "{GROUP}"\n'
        )
        connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        with Server(home, listen=(), config=config):
            assert run_as_other_user(["-c", connect, one], [GROUP]).returncode != 0
            assert run_as_other_user(["-c", connect, other]).returncode != 0
            assert run_as_other_user(["-c", connect, other], [GROUP]).returncode == 0


@pytest.mark.parametrize("reloaded", [False, True], ids=["", "after a reload"])
def test_a_stopping_server_keeps_the_socket_of_another_server(
    tmp_path: Path, reloaded: bool
) -> None:
    path = tmp_path / "s"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    listen = [f"unix://{path}"]
    with (
        Server(tmp_path / "a", listen=listen) as first,
        Server(tmp_path / "b", listen=["tcp://127.0.0.1:0"]) as second,
    ):
        if reloaded:
            first.reload()
        second.stop()
        path.unlink()
        with Server(tmp_path / "b", listen=listen) as second:
            inode = path.stat().st_ino
            assert first.stop() == 0
            assert path.stat().st_ino == inode
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(stock_frame("x"))
            second.wait_stored(1)
            assert second.stop() == 0
    assert not path.exists()


def test_a_server_that_stops_after_a_reload_removes_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Server(tmp_path, listen=[f"unix://{path}"]) as server:
        server.reload()
        assert answers(path)
        assert server.stop() == 0
    assert not path.exists()


def _regular(path: Path) -> None:
    path.write_text("mine")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("make", [_regular, _fifo, _link, Path.mkdir])
def test_a_file_that_is_no_socket_is_never_removed(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "s"
    make(path)
    before = path.lstat().st_ino
    with pytest.raises(listeners.FastlogError, match="it is not a socket"), listening(path):
        pass
    assert path.lstat().st_ino == before


def test_a_socket_is_replaced_only_if_no_server_listens_on_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with listening(path) as bound:
        assert answers(path)
        with pytest.raises(listeners.FastlogError, match="in use"), listening(path):
            pass
        assert answers(path)
        bound.sockets[0].listen(0)
    assert list(tmp_path.iterdir()) == []


def test_a_socket_that_appears_between_check_and_removal_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    fresh = socket.socket(socket.AF_UNIX)
    look = listeners._is_listening

    def late(at: Path) -> bool:
        found = look(at)
        path.unlink()
        fresh.bind(str(path))
        fresh.listen()
        return found

    monkeypatch.setattr(listeners, "_is_listening", late)
    with fresh:
        with pytest.raises(listeners.FastlogError, match="in use"), listening(path):
            pass
        assert answers(path)
        assert [each.name for each in tmp_path.iterdir()] == ["s"]
