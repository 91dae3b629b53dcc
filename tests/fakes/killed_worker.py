"""Workers of a cluster that are killed while they are busy."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def killing(busy: Callable[[], int | None]) -> Iterator[list[int]]:
    """Inside, the process that `busy` returns is killed, as soon as it returns one.

    Yields:
        The process's id, once it is killed; empty before.
    """
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while (process := busy()) is None:
            # Work that failed makes nobody busy any more.
            if over.wait(0.02):
                return
        os.kill(process, signal.SIGKILL)
        killed.append(process)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        yield killed
    finally:
        over.set()
        killer.join()
