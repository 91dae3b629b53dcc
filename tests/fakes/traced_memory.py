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
