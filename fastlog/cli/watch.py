"""Repeated output, as of `fastlog stats --watch`: in place on a terminal, else continuous."""

from __future__ import annotations

import io
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType

from fastlog.cli.standard_output import sleep_while_read

HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def repeat(print_next: Callable[[], None], seconds: float, *, clear: bool) -> None:
    """Call `print_next` every so many seconds, until Ctrl-C.

    Args:
        clear: show each output in the place of the one before, as far as the window has room.
    """
    show = _show_in_place if clear else _show
    with _until_interrupted() as interrupted:
        while not interrupted():
            began = time.monotonic()
            show(print_next)
            sleep_while_read(max(0.0, began + seconds - time.monotonic()))


@contextmanager
def _until_interrupted() -> Iterator[Callable[[], bool]]:
    """Run a body that Ctrl-C ends. The body gets a function that returns whether it was pressed.

    It may be pressed while SQLite calls a function of ours, and is an error of SQLite then, or
    the body may have handled that.
    """
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    previous = signal.getsignal(signal.SIGINT)
    if previous != signal.SIG_IGN:  # as in the background
        signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    except BaseException as error:
        if not (pressed or isinstance(error, KeyboardInterrupt)):
            raise
    finally:
        signal.signal(signal.SIGINT, previous)


def _show(print_next: Callable[[], None]) -> None:
    print_next()
    sys.stdout.flush()


def _show_in_place(print_next: Callable[[], None]) -> None:
    captured = io.StringIO()
    with redirect_stdout(captured):
        print_next()
    lines = captured.getvalue().splitlines()
    window = shutil.get_terminal_size()
    room = window.lines - 1
    if len(lines) > room:
        hidden = len(lines) - room + 1
        text = f"({hidden} more lines: enlarge the window, or omit --watch)"
        lines[room - 1 :] = [text[: window.columns]]
    text = "".join(f"{CLEAR_LINE}{line}\n" for line in lines)
    sys.stdout.write(HOME + text + CLEAR_BELOW)
    sys.stdout.flush()
