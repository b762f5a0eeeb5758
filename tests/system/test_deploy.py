"""The files of `deploy/`: each is read by the program that it is for, and what it sets works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conditions import wait_for
from faults import stopped
from places import ROOT
from senders import stock_frame
from servers import SERVER, Server

DEPLOY = ROOT / "deploy"
SYSTEMD = DEPLOY / "systemd"


def program(name: str) -> str:
    """Return a program's path: of the virtual environment, or of the system."""
    path = [str(SERVER.parent), os.environ["PATH"], "/usr/sbin", "/sbin"]
    found = shutil.which(name, path=os.pathsep.join(path))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_units_are_valid_and_hardened(tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    text = (SYSTEMD / "fastlog.service").read_text("utf-8")
    unit = tmp_path / "fastlog.service"
    # The user and the path exist only where the service is installed.
    unit.write_text(re.sub(r"^(User|Group)=.*\n", "", text, flags=re.MULTILINE).replace(
        "/opt/fastlog/bin/fastlog-server", str(SERVER)
    ))  # fmt: skip
    socket_unit = shutil.copy(SYSTEMD / "fastlog.socket", tmp_path)
    verified = run(analyze, "verify", unit, socket_unit)
    assert (verified.returncode, verified.stderr) == (0, "")
    rated = run(analyze, "security", "--offline=true", SYSTEMD / "fastlog.service")
    exposure = re.search(r"Overall exposure level for fastlog.service: ([\d.]+)", rated.stdout)
    assert exposure, rated.stdout + rated.stderr
    assert float(exposure[1]) <= 1.5


def test_the_unit_may_write_where_the_other_files_lead(tmp_path: Path) -> None:
    unit = (SYSTEMD / "fastlog.service").read_text("utf-8")
    assert "ProtectSystem=strict" in unit
    [writable] = re.findall(r"^ReadWritePaths=(.*)$", unit, re.MULTILINE)
    [socket_place] = re.findall(r"^d (\S+)", (SYSTEMD / "tmpfiles.conf").read_text(), re.MULTILINE)
    [rotated] = re.findall(r"^(/\S+)/\*", (DEPLOY / "logrotate/fastlog").read_text(), re.MULTILINE)
    assert writable.split() == [f"-{socket_place}", f"-{rotated}"]


def test_user_and_directory_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for name, tool in (("sysusers", "systemd-sysusers"), ("tmpfiles", "systemd-tmpfiles")):
        folder = tmp_path / f"usr/lib/{name}.d"
        folder.mkdir(parents=True)
        shutil.copy(SYSTEMD / f"{name}.conf", folder / "fastlog.conf")
        options = ["--create"] if name == "tmpfiles" else []
        done = run(program(tool), f"--root={tmp_path}", *options, "fastlog.conf")
        assert done.returncode == 0, done.stderr
    assert re.search(r"^fastlog:", (tmp_path / "etc/passwd").read_text(), re.MULTILINE)
    assert (tmp_path / "run/fastlog").is_dir()


def test_logrotate_loses_nothing(tmp_path: Path) -> None:
    logrotate = program("logrotate")
    lines = tmp_path / "log" / "app.ndjson"
    lines.parent.mkdir(mode=0o755)
    text = (DEPLOY / "logrotate/fastlog").read_text("utf-8")
    config = tmp_path / "logrotate.conf"
    config.write_text(text.replace("/var/log/fastlog", str(lines.parent)))
    config.chmod(0o644)
    with Server(tmp_path, sinks=[f"ndjson://{lines}"]) as server:
        for part in range(3):
            frames = [stock_frame(f"{part}-{number}") for number in range(1000)]
            with server.connect(b"".join(frames)):
                pass
            wait_for(lambda part=part: f'"{part}-999"' in lines.read_text(), "all are stored")
            done = run(logrotate, "--force", "--state", tmp_path / "state", config)
            assert done.returncode == 0, done.stderr
            with server.connect(stock_frame("next")):
                wait_for(lines.exists, "a new file")
        assert server.stop() == 0
    stored = []
    for path in sorted(lines.parent.iterdir()):
        content = run("zcat", "-f", path).stdout
        stored += [json.loads(line)["message"] for line in content.splitlines()]
    sent = [f"{part}-{number}" for part in range(3) for number in range(1000)]
    assert sorted(one for one in stored if one != "next") == sorted(sent)


def test_the_containerfile_has_no_faults() -> None:
    linted = run(program("hadolint"), DEPLOY / "container/Containerfile")
    assert (linted.returncode, linted.stdout) == (0, "")


def test_the_health_check_fails_when_the_receiver_does_and_not_when_a_sink_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")
    from web_sites import ANY_PORT, site_of

    text = (DEPLOY / "container/Containerfile").read_text("utf-8").replace("\\\n", "")
    [check] = re.findall(r"^HEALTHCHECK .*? CMD (\[.*\])$", text, re.MULTILINE)
    [start] = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    host, port = json.loads(start)[-1].removeprefix("http://").split(":")
    inside = f"'{host}', {port}"
    assert inside in check, "the health check asks the page that the image serves"
    # Docker sets a proxy in containers if its client is configured to.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    with Server(tmp_path, web=ANY_PORT, sinks=["postgresql://nobody@127.0.0.1:1/logs"]) as server:
        page = f"'{host}', {site_of(server).url.rpartition(':')[2]}"
        name, *arguments = json.loads(check.replace(inside, page))
        assert name == "python"
        command = (sys.executable, *arguments)
        wait_for(lambda: run(*command).returncode == 0, "it runs, though its sink does not store")
        with stopped(server.children()["receiver"]):
            wait_for(lambda: run(*command).returncode != 0, "the receiver hangs")


def test_the_image_is_built_where_an_engine_runs() -> None:
    engine = shutil.which("podman") or shutil.which("docker")
    if engine is None or run(engine, "info").returncode != 0:
        pytest.skip("no container engine runs here")
    form = ["--format", "docker"] if "podman" in engine else []  # as the file says
    built = run(engine, "build", *form, "-f", DEPLOY / "container/Containerfile", ROOT)
    assert built.returncode == 0, built.stderr[-2000:]
    assert "will be ignored" not in built.stderr


def kubernetes() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the stateful set and the service."""
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the Kubernetes example")
    text = (DEPLOY / "kubernetes/fastlog.yaml").read_text("utf-8")
    stateful_set, service = yaml.safe_load_all(text)
    return stateful_set, service


def test_what_kubernetes_sets_and_probes_works(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")
    from web_sites import Site

    stateful_set, service = kubernetes()
    [container] = stateful_set["spec"]["template"]["spec"]["containers"]
    env = {one["name"]: one.get("value", "probe:a-token-of-a-test") for one in container["env"]}
    env["FASTLOG_LISTEN"] = env["FASTLOG_LISTEN"].replace("0.0.0.0:9020", "127.0.0.1:0")
    [volume] = [each for each in container["volumeMounts"] if each["name"] == "data"]
    data = tmp_path / "volume" / Path(env["FASTLOG_DATA_DIR"]).relative_to(volume["mountPath"])
    env["FASTLOG_DATA_DIR"] = str(data)
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume").chmod(0o2770)  # as `fsGroup` leaves it
    # What the kubelet sets for the service in every pod of the namespace.
    env |= {"FASTLOG_SERVICE_HOST": "10.0.0.1", "FASTLOG_PORT": "tcp://10.0.0.1:9020"}
    for port in service["spec"]["ports"]:
        env[f"FASTLOG_SERVICE_PORT_{port['name'].upper()}"] = str(port["port"])
        env[f"FASTLOG_PORT_{port['port']}_TCP"] = f"tcp://10.0.0.1:{port['port']}"
    name, *arguments = container["args"]
    assert name == SERVER.name
    arguments = [one.replace("0.0.0.0:9080", "127.0.0.1:0") for one in arguments]
    process = subprocess.Popen(
        [SERVER, *arguments],
        env={**os.environ, **env},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        page = re.search(r"; page at (\S+)", process.stdout.readline())
        assert page
        site = Site(page[1])
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = container[probe]["httpGet"]["path"]
            wait_for(lambda path=path: site.request(path).status == 200, probe)
        host = {"Host": f"{service['metadata']['name']}:9080"}
        assert site.request("/readyz", headers=host).status == 200
        assert site.request("/metrics").status == 401
        assert data.stat().st_mode & 0o077 == 0
    finally:
        process.terminate()
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "gives others access" not in log
