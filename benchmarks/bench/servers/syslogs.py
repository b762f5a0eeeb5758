"""rsyslog and syslog-ng. They cannot read pickles, so they get the same records as text of the same
length. They write the text, or the text and its header as JSON."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.output import LinesFile, Output
from bench.places import SYSLOG
from bench.servers.base import Server, ServerError, free_port

START = 20.0
LISTENING = "0A"
"""The state in /proc/net/tcp."""
LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib/x86_64-linux-gnu",
             "lib/aarch64-linux-gnu", "usr/lib/syslog-ng")  # fmt: skip

RSYSLOG = """\
global(workDirectory="{home}" maxMessageSize="64k" net.enableDNS="off")
main_queue(queue.type="Direct")
module(load="imptcp")
template(name="text" type="string" string="%rawmsg%\\n")
template(name="json" type="list" option.jsonf="on") {{
  property(outname="created" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="received" name="timegenerated" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="fromhost-ip" format="jsonf")
  property(outname="levelname" name="syslogseverity-text" format="jsonf")
  property(outname="name" name="app-name" format="jsonf")
  property(outname="process" name="procid" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}}
input(type="imptcp" address="127.0.0.1" port="{port}" socketBacklog="4096")
action(type="omfile" file="{home}/lines" template="{template}"
       ioBufferSize="256k" flushOnTXEnd="off" asyncWriting="on" flushInterval="1")
"""

SYSLOG_NG = """\
@version: 3.38
options {{ use-dns(no); log-msg-size(65536); stats-freq(0); keep-hostname(yes); }};
source network {{
  syslog(transport("tcp") ip(127.0.0.1) port({port}) max-connections(12000)
         log-iw-size(1200000) so-rcvbuf(0) listen-backlog(4096));
}};
destination lines {{ file("{home}/lines" template({template})); }};
log {{ source(network); destination(lines); flags(flow-control); }};
"""
SYSLOG_NG_TEMPLATES = {
    "text": '"$ISODATE $HOST $PROGRAM $PID $MSG\\n"',
    "json": (
        '"$(format-json created=$ISODATE received=$R_ISODATE host=$SOURCEIP levelname=$LEVEL'
        ' name=$PROGRAM process=$PID message=$MSG)\\n"'
    ),
}


class SyslogServer(Server):
    """The shared part of both."""

    feed = "texts"
    program = ""

    def __init__(self, name: str, template: str, *, holds_idle: bool = False) -> None:
        super().__init__(name, "syslog")
        self._template = template
        self.holds_idle = holds_idle
        self._port = 0

    def missing(self) -> str:
        return "" if self.find() else f"{self.program} not found (README.md says how to get it)"

    def is_unpacked(self) -> bool:
        """Whether `unpack_syslogs.sh` was run; the system's syslog is not used then."""
        return (SYSLOG / "usr" / "sbin" / self.program).exists()

    def find(self) -> Path | None:
        if self.is_unpacked():
            return SYSLOG / "usr" / "sbin" / self.program
        found = shutil.which(self.program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        return Path(found) if found else None

    def environment(self) -> dict[str, str]:
        if not self.is_unpacked():
            return {}
        return {"LD_LIBRARY_PATH": ":".join(str(SYSLOG / part) for part in LIBRARIES)}

    def port(self, process: subprocess.Popen[str], home: Path) -> int:
        deadline = time.monotonic() + START
        while not _listens(self._port):
            if process.poll() is not None:
                raise ServerError(f"it ended with {process.returncode}.")
            if time.monotonic() > deadline:
                raise ServerError("it does not listen.")
            time.sleep(0.02)
        return self._port

    def output(self, home: Path) -> Output:
        return LinesFile(home / "lines")


class Rsyslog(SyslogServer):
    """It may write when it has something to write, or once a second: half the cost of the default,
    a write for each batch of messages."""

    program = "rsyslogd"
    writes_late = True

    def command(self, home: Path) -> Sequence[str | Path]:
        self._port = free_port()
        config = home / "rsyslog.conf"
        config.write_text(RSYSLOG.format(home=home, port=self._port, template=self._template))
        own = ["-M", ":".join(str(SYSLOG / part / "rsyslog") for part in LIBRARIES)]
        program = self.find()
        assert program is not None
        arguments: list[str | Path] = ["-n", "-f", config, "-i", home / "pid"]
        return [program, *arguments, *(own if self.is_unpacked() else [])]


class SyslogNg(SyslogServer):
    program = "syslog-ng"

    def command(self, home: Path) -> Sequence[str | Path]:
        self._port = free_port()
        config = home / "syslog-ng.conf"
        template = SYSLOG_NG_TEMPLATES[self._template]
        config.write_text(SYSLOG_NG.format(home=home, port=self._port, template=template))
        program = self.find()
        assert program is not None
        own = [f"--module-path={path}" for path in SYSLOG.glob("usr/lib/syslog-ng/[0-9]*")]
        return [
            program, "--foreground", "--no-caps", "--stderr", f"--cfgfile={config}",
            f"--persist-file={home}/persist", f"--pidfile={home}/pid",
            f"--control={home}/ctl", *(own if self.is_unpacked() else []),
        ]  # fmt: skip


def _listens(port: int) -> bool:
    """Find the port in /proc/net/tcp: a test connection would be work for the server."""
    wanted = f":{port:04X}"
    lines = "".join(Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")).splitlines()
    words = (line.split() for line in lines)
    return any(w[1].endswith(wanted) and w[3] == LISTENING for w in words if len(w) > 3)
