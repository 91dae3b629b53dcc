"""Signals that ask a program to stop, obeyed as Ctrl-C is: what it has begun is cleared away."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 143
INTERRUPTED = 130
"""Exit codes of what ended on request: of SIGTERM, or of Ctrl-C."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TerminatedError(KeyboardInterrupt):
    """SIGTERM came, which is obeyed as Ctrl-C is."""


@contextmanager
def obeyed() -> Iterator[None]:
    """Inside the block the first SIGTERM interrupts as Ctrl-C does, and ends in exit code 143.

    Later ones say nothing new: a batch system sends them to each process, and so does the process
    above. Outside the main thread, where Python does not allow handlers, nothing changes.

    Raises:
        SystemExit: SIGTERM came.
    """
    asked = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        before, asked = asked, True
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if not before:
            raise TerminatedError

    try:
        with handled(interrupt):
            yield
    except TerminatedError as stop:
        raise SystemExit(STOPPED) from stop


@contextmanager
def held_back() -> Iterator[None]:
    """Signals that come inside the block arrive at its end.

    For the start of a process: an exception in its midst would leave one that nobody knows of.
    """
    came: list[int] = []
    try:
        with handled(lambda number, frame: came.append(number)):
            yield
    finally:
        for number in came:
            signal.raise_signal(number)


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Inside the block SIGTERM and SIGINT call `handler`, but where they are ignored.

    A program in the background of a script has SIGINT ignored, and that stays so. Outside the main
    thread, where Python does not allow handlers, nothing changes.
    """
    allowed = threading.current_thread() is threading.main_thread()
    heeded = [n for n in _SIGNALS if allowed and signal.getsignal(n) != signal.SIG_IGN]
    old = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    finally:
        for number, one in old.items():
            signal.signal(number, one)
