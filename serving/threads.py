"""Work on threads beside the caller's: items made ahead of it, and items taken off its hands.

Queues to and from them are short, so that memory holds few items.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")


@contextmanager
def prefetched(items: Iterable[Item], depth: int) -> Iterator[Iterator[Item]]:
    """Gives `items`, made by a thread that starts at once and is at most `depth` items ahead.

    An error of the thread is raised where its item would be taken. The thread ends with the
    context: it must not outlive what it reads from.
    """
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue()
    # Room is taken before an item is made, so that no finished item waits outside the count.
    room = threading.Semaphore(depth)
    stopped = threading.Event()

    def produce() -> None:
        try:
            iterator = iter(items)
            while _acquire(room, stopped):
                ready.put((next(iterator), None))
        except StopIteration:
            ready.put((None, None))
        except BaseException as error:
            ready.put((None, error))

    def take() -> Iterator[Item]:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            room.release()
            yield item

    thread = threading.Thread(target=produce, name="reader", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stopped.set()
        thread.join()


class Consumer(Generic[Item]):
    """Gives items to `consume` on a thread; its errors surface at the next call."""

    def __init__(self, consume: Callable[[Item], None], *, name: str) -> None:
        self._consume = consume
        self._waiting: queue.Queue[tuple[Item] | None] = queue.Queue(1)
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def __enter__(self) -> "Consumer[Item]":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _put(self._waiting, None, self._stopped)
        self._thread.join()
        if self._error is not None and kind is None:
            raise self._error

    def put(self, item: Item) -> None:
        """Hands over an item; blocks while the previous one waits."""
        _put(self._waiting, (item,), self._stopped)
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while (waiting := self._waiting.get()) is not None:
                self._consume(waiting[0])
        except BaseException as error:
            self._error = error
            self._stopped.set()


def _acquire(room: threading.Semaphore, stopped: threading.Event) -> bool:
    """Waits for room; returns False when the other side has stopped."""
    while not stopped.is_set():
        if room.acquire(timeout=0.1):
            return True
    return False


def _put(channel: "queue.Queue[Item]", item: Item, stopped: threading.Event) -> None:
    """Puts an item, giving up when the other side has stopped."""
    while not stopped.is_set():
        try:
            return channel.put(item, timeout=0.1)
        except queue.Full:
            continue
