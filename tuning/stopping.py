"""A search or a list of experiments that is asked to stop: its trainings may save first."""

import subprocess
import threading
from collections.abc import Callable

from landcover_tf.system.signals import INTERRUPTED, STOPPED, TerminatedError, held_back

Start = Callable[[], "subprocess.Popen[bytes]"]


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
