"""The supervisor replaces itself: by exec, so that its pid stays and its children stay its own.

What the next supervisor needs goes along in a piece of memory: which descriptor is what, and which
process. The state has a version. The rehearsal has shown that the code which is about to run can
read it.
"""

from __future__ import annotations

import os
import signal
import sys

import msgspec

from fastlog.config import from_json
from fastlog.errors import FastlogError
from fastlog.files import Identity
from fastlog.server import listeners
from fastlog.server.plan import read_plan
from fastlog.server.process import ProcessState
from fastlog.server.service import Inherited, Service, make_worker
from fastlog.server.spawn import memory_file, read_file
from fastlog.server.watch import SIGNALS

VERSION = 2
RESUME = "--resume-fd"
"""The option by which a successor is told where the state is."""


class State(msgspec.Struct, kw_only=True):
    """What one supervisor leaves to the next."""

    version: int = VERSION
    final: bool
    """The plan is of the successor's own making."""
    plan: str
    data_dir: str
    inherited: Inherited
    bound: list[tuple[str, list[int]]]
    children: list[ProcessState]
    again: bool
    """SIGHUP has come once more."""
    socket_files: dict[str, Identity] = {}
    """Of the Unix sockets, by URL."""


class _Versioned(msgspec.Struct):
    version: int


def command_line() -> list[str]:
    """How this process was started, in words that start the code that is installed now."""
    arguments = [word for word in sys.orig_argv[1:] if not word.startswith(f"{RESUME}=")]
    return [sys.executable, *arguments]


def pack(service: Service, *, final: bool) -> bytes:
    """The state of this supervisor."""
    state = State(
        final=final,
        plan=service.plan.text,
        data_dir=service.plan.data_dir,
        inherited=service.inherited,
        bound=[(one.url, [each.fileno() for each in one.sockets]) for one in service.bound],
        children=[process.state() for process in service.watch.processes],
        again=service.watch.reloading,
        socket_files={one.url: one.file for one in service.bound if one.file is not None},
    )
    return msgspec.json.encode(state)


def unpack(content: bytes) -> State:
    """The state that another supervisor has left.

    Raises:
        FastlogError: This code cannot go on from there.
    """
    try:
        version = msgspec.json.decode(content, type=_Versioned).version
        if version != VERSION:
            raise FastlogError(
                f"the old supervisor leaves its state in version {version}, the new code takes "
                f"{VERSION}: only stopping and starting will do"
            )
        state = msgspec.json.decode(content, type=State)
        if state.final:
            from_json(read_plan(state.plan).config.encode())
    except msgspec.MsgspecError as error:
        raise FastlogError(f"what the old supervisor leaves cannot be read: {error}") from None
    return state


def replace_self(service: Service) -> None:
    """Goes on as the code that is installed now. Returns if the service is to stop instead.

    Raises:
        OSError: The program cannot be run; nothing has happened.
    """
    # What comes from here on waits for the successor's handlers.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    memory = -1
    keep: list[int] = []
    try:
        if service.watch.stopping:
            return
        state = pack(service, final=True)
        memory = memory_file("fastlog-state", state)
        keep = _descriptors(unpack(state), memory)
        for fd in keep:
            os.set_inheritable(fd, True)
        sys.stdout.flush()
        sys.stderr.flush()
        program = [*command_line(), f"{RESUME}={memory}"]
        os.execv(program[0], program)  # noqa: S606 - our own command line
    finally:
        for fd in keep:
            os.set_inheritable(fd, False)
        if memory >= 0:
            os.close(memory)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _descriptors(state: State, memory: int) -> list[int]:
    controls = [child.control for child in state.children if child.pid]
    return [memory, *state.inherited, *(fd for _, fds in state.bound for fd in fds), *controls]


def resume(memory: int) -> Service:
    """The service as the supervisor before has left it.

    Raises:
        FastlogError: This code cannot go on from there.
    """
    state = unpack(read_file(memory))
    plan = read_plan(state.plan)
    for fd in state.inherited:
        os.set_inheritable(fd, False)
    bound = [listeners.adopt(url, fds, state.socket_files.get(url)) for url, fds in state.bound]
    service = Service.of(plan, state.inherited, bound)
    service.watch.reloading = state.again
    for child in state.children:
        process = service.workers.get(child.name) if child.name else service.receiver
        if process is None:  # its sink left the configuration, and it is about to end
            process = make_worker(child.name, plan, state.inherited)
            process.mended = False
        process.adopt(child)
        service.watch.follow(process)
    return service
