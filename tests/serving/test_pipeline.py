"""The reader thread of a prediction."""

import threading
from collections.abc import Iterator

import pytest

from serving.pipeline import prefetch


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

    for taken, number in enumerate(prefetch(items(), depth)):
        assert number == taken
        waiting.wait(0.2)  # Time for a thread that made one more than it may.
        assert len(made) <= taken + 1 + depth
    assert made == list(range(10))


def test_an_error_of_the_reader_is_raised_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("strip 7 is unreadable")

    seen = []
    with pytest.raises(OSError, match="strip 7"):
        for item in prefetch(items(), 1):
            seen.append(item)
    assert seen == [1]


def test_the_reader_stops_when_nobody_takes_more() -> None:
    stream = prefetch(iter(range(1000)), 2)
    assert next(stream) == 0
    stream.close()
    assert not any(thread.name == "reader" for thread in threading.enumerate())
