"""Signals that ask a search or a list of experiments to stop: their trainings may save first."""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 143
INTERRUPTED = 130
"""Exit codes of what ended on request: of SIGTERM, or of Ctrl-C."""


_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Start = Callable[[], "subprocess.Popen[bytes]"]


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
        with _handled(interrupt):
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
        with _handled(lambda number, frame: came.append(number)):
            yield
    finally:
        for number in came:
            signal.raise_signal(number)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    # Python allows no handlers outside the main thread. What nohup has it ignore stays ignored.
    allowed = threading.current_thread() is threading.main_thread()
    heeded = [n for n in _SIGNALS if allowed and signal.getsignal(n) != signal.SIG_IGN]
    old = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    finally:
        for number, one in old.items():
            signal.signal(number, one)


def exit_code(stop: KeyboardInterrupt) -> int:
    """Returns the exit code of a program that was interrupted."""
    return STOPPED if isinstance(stop, TerminatedError) else INTERRUPTED


def run_training(start: Start) -> int:
    """Returns the exit code of a training; after a signal, which lets it save first, that of it.

    Args:
        start: Starts the training.

    Raises:
        KeyboardInterrupt: Ctrl-C came after that, and the training was killed.
    """
    trainings = Trainings()
    try:
        return trainings.run(start)
    except KeyboardInterrupt as stop:
        trainings.stop(stop)
        return exit_code(stop)


class Trainings:
    """Trainings that run at a time, each in a thread that waits, and are stopped together."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stop: KeyboardInterrupt | None = None

    def run(self, start: Start) -> int:
        """Returns the exit code of a training, that of the signal where it was stopped.

        Args:
            start: Starts the training; not called after `stop`.
        """
        with self._lock, held_back():
            if self._stop is not None:
                return exit_code(self._stop)
            training = start()
            self._running.add(training)
        code = training.wait()
        with self._lock:
            self._running.discard(training)
        return code if self._stop is None or code == 0 else exit_code(self._stop)

    def stop(self, stop: KeyboardInterrupt) -> None:
        """Asks all trainings to save and end, and waits for them.

        Args:
            stop: What the signal raised.

        Raises:
            KeyboardInterrupt: Ctrl-C came meanwhile, and the trainings were killed.
        """
        print("waiting for the training to save its state; Ctrl-C again kills it", flush=True)
        try:
            with self._lock:
                self._stop = stop
                # A terminal interrupts the trainings as well, but not everyone who stops this.
                for training in self._running:
                    training.terminate()
            for training in tuple(self._running):
                training.wait()
        except KeyboardInterrupt:
            for training in tuple(self._running):
                training.kill()
                training.wait()
            raise
