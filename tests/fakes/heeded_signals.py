"""Signals that the main thread never sleeps through."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def send(number: int) -> None:
    """Sends a signal to the main thread: another one's would not end the call it waits in."""
    signal.pthread_kill(threading.main_thread().ident, number)


@contextmanager
def heeded() -> Iterator[None]:
    """Inside, the main thread acts on every signal within a moment.

    Python notes one that comes just before a call that waits, and acts on it after that call, or
    when another signal ends it, as the harmless ones do that come here all the time.
    """
    over = threading.Event()

    def wake() -> None:
        while not over.wait(0.1):
            send(signal.SIGURG)

    before = signal.signal(signal.SIGURG, lambda number, frame: None)
    thread = threading.Thread(target=wake)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGURG, before)
