"""Histograms that suit values of any range, stay small, and merge in any order."""

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

MAX_BINS = 512
"""Most occupied bins: 0.002 of reflectance where all of 0 to 1 occurs, 8 bits one by one."""
LARGEST_NUMBER = 2**32
"""Largest bin number, either side of 0; JSON readers hold it exactly, beyond 2^53 some do not."""
LEAST_FLOAT_EXPONENT = -32
"""Floats are binned to 2^-32 at the finest."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of values in bins of one width.

    The width is the smallest power of two with at most MAX_BINS occupied bins, and 1 at least for
    integers. Few values far from the others take few bins, and so do not widen them. Bins nest,
    and more values never need narrower ones, so histograms merge to that of all values in
    whichever order.
    """

    width: float
    """Width of a bin in the values' unit."""
    bins: tuple[tuple[int, int], ...] = ()
    """The occupied bins as (number, count), ascending; number b holds [b, b + 1) * width."""

    @staticmethod
    def of_integers(levels: np.ndarray, counts: np.ndarray) -> "Histogram":
        """Returns the histogram of integers.

        Args:
            levels: The values that occur, ascending, int64 [n].
            counts: How often each does, int64 [n].
        """
        return _fitted(1.0, levels, counts)

    @staticmethod
    def of_floats(values: np.ndarray) -> "Histogram":
        """Returns the histogram of finite values, float64 [n]."""
        exponent = math.frexp(float(np.abs(values).max(initial=0)))[1]
        # Bin numbers below 2^40, which `_fitted` brings below LARGEST_NUMBER.
        width = 2.0 ** max(exponent - 40, LEAST_FLOAT_EXPONENT)
        numbers = np.floor(values / width).astype(np.int64)
        return _fitted(width, *np.unique(numbers, return_counts=True))

    def merge(self, other: "Histogram") -> "Histogram":
        """Returns the histogram of the values of both."""
        width = max(self.width, other.width)
        numbers, counts = np.array(self.widened(width).bins + other.widened(width).bins).T
        return _fitted(width, *_summed(numbers, counts))

    def widened(self, width: float) -> "Histogram":
        """Returns the same counts in bins of `width`, a power of two times this one's."""
        if width == self.width or not self.bins:
            return Histogram(width=width, bins=self.bins)
        numbers, counts = np.array(self.bins).T
        # No number has more than 32 bits, and a shift by 64 or more is undefined.
        shift = min(round(math.log2(width / self.width)), 62)
        return _histogram(width, *_summed(numbers >> shift, counts))


def _fitted(width: float, numbers: np.ndarray, counts: np.ndarray) -> Histogram:
    """Returns bins as wide as needed, from numbers ascending and without repetition."""
    if not len(numbers):
        return Histogram(width=width)

    def fits(shift: int) -> bool:
        wider = numbers >> shift
        occupied = np.count_nonzero(np.diff(wider)) + 1
        return bool(occupied <= MAX_BINS and np.abs(wider[[0, -1]]).max() <= LARGEST_NUMBER)

    shift = bisect_left(range(63), True, key=fits)
    return _histogram(width * 2.0**shift, *_summed(numbers >> shift, counts))


def _summed(numbers: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns ascending bin numbers, each once, and the sums of their counts."""
    order = np.argsort(numbers, kind="stable")
    numbers, counts = numbers[order], counts[order]
    first = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 1))
    return numbers[first], np.add.reduceat(counts, first)


def _histogram(width: float, numbers: np.ndarray, counts: np.ndarray) -> Histogram:
    return Histogram(width=width, bins=tuple(zip(numbers.tolist(), counts.tolist(), strict=True)))
