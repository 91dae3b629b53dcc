"""Items made ahead by a thread, such as the windows of a prediction."""

import threading
from collections.abc import Iterator

import pytest

from serving.threads import prefetched


@pytest.mark.parametrize("depth", [1, 3])
def test_at_most_depth_items_are_made_ahead(depth: int) -> None:
    made: list[int] = []
    waiting = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            if len(made) % (depth + 1) == 0:
                waiting.set()
            yield number

    with prefetched(items(), depth) as ahead:
        for taken, number in enumerate(ahead):
            assert number == taken
            waiting.wait(0.2)  # Time for a thread that made one more than it may.
            assert len(made) <= taken + 1 + depth
    assert made == list(range(10))


def test_an_error_of_the_reader_is_raised_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("strip 7 is unreadable")

    seen = []
    with pytest.raises(OSError, match="strip 7"), prefetched(items(), 1) as ahead:
        for item in ahead:
            seen.append(item)
    assert seen == [1]


def test_the_reader_starts_before_an_item_is_asked_for() -> None:
    started = threading.Event()

    def items() -> Iterator[int]:
        started.set()
        yield 1

    with prefetched(items(), 1) as ahead:
        assert started.wait(10)
        assert list(ahead) == [1]


def test_the_reader_stops_when_nobody_takes_more() -> None:
    with prefetched(iter(range(1000)), 2) as ahead:
        assert next(ahead) == 0
    assert not any(thread.name == "reader" for thread in threading.enumerate())
