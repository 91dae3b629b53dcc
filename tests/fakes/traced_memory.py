"""Peak of what Python and NumPy hold, which says whether a program's memory follows its input.

GDAL and TensorFlow allocate by themselves and are not counted: GDAL's cache has a bound, and
TensorFlow sees windows of one shape.
"""

import gc
import tracemalloc
from collections.abc import Callable


def peak_bytes(run: Callable[[], object]) -> int:
    """Returns the most bytes that were held at once while `run` ran."""
    gc.collect()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def growth_bytes(
    short: Callable[[], object], tall: Callable[[], object], bound: float, attempts: int = 4
) -> int:
    """Returns by how many bytes the peak of `tall` is above the one of `short`.

    A thread that happens to run ahead adds to a peak, and what follows the input does so every
    time: above `bound` the two are run again, and the least growth of `attempts` is returned.
    """
    growth = peak_bytes(tall) - peak_bytes(short)
    if growth < bound or attempts == 1:
        return growth
    return min(growth, growth_bytes(short, tall, bound, attempts - 1))
