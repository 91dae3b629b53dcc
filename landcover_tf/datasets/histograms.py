"""Histograms that suit values of any range, stay small, and merge in any order."""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

MAX_BINS = 512
"""Most occupied bins: 0.002 of reflectance where all of 0 to 1 occurs, 8 bits one by one."""
FAR = 2.0**32
"""Values at or beyond this, either side of 0, are binned by their size and widen no bins."""
FAR_BITS = 5
"""Far bins are 32 for each power of two: 2 to 3 % wide."""
LEAST_FLOAT_EXPONENT = -32
"""Floats are binned to 2^-32 at the finest."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of values in bins of one width.

    The width is the smallest power of two with at most MAX_BINS occupied bins, and 1 at least for
    integers. Few values far from the others take few bins, and so do not widen them. Values beyond
    FAR, such as an undeclared no-data value of -3.4e38 that resampling has blurred, do not count
    among these bins: their bins are fixed. Bins nest, and more values never need narrower ones, so
    histograms merge to that of all values in whichever order.
    """

    width: float
    """Width of a bin in the values' unit."""
    bins: tuple[tuple[int, int], ...] = ()
    """The occupied bins as (number, count), ascending; number b holds [b, b + 1) * width, beyond
    FAR at least that. Numbers that a float64 does not hold exactly do not occur."""

    @staticmethod
    def of_integers(levels: np.ndarray, counts: np.ndarray) -> "Histogram":
        """Returns the histogram of integers.

        Args:
            levels: The values that occur, ascending, int64 [n].
            counts: How often each does, int64 [n].
        """
        return _fitted(1.0, _lowest_of_far(levels.astype(np.float64)), counts)

    @staticmethod
    def of_floats(values: np.ndarray) -> "Histogram":
        """Returns the histogram of finite values in the range of float32, float64 [n]."""
        width = 2.0**LEAST_FLOAT_EXPONENT
        numbers = np.floor(_lowest_of_far(values) / width)
        return _fitted(width, *np.unique(numbers, return_counts=True))

    @property
    def numbers(self) -> np.ndarray:
        """Numbers of the bins, float64 [bins]; far ones are beyond every integer type."""
        return np.array([number for number, _ in self.bins], np.float64)

    @property
    def counts(self) -> np.ndarray:
        """Counts of the bins, int64 [bins]."""
        return np.array([count for _, count in self.bins], np.int64)

    def merge(self, other: "Histogram") -> "Histogram":
        """Returns the histogram of the values of both."""
        width = max(self.width, other.width)
        parts = self.widened(width), other.widened(width)
        numbers = np.concatenate([part.numbers for part in parts])
        return _fitted(width, *_summed(numbers, np.concatenate([part.counts for part in parts])))

    def repeated(self, times: int) -> "Histogram":
        """Returns the histogram of every value `times` times."""
        return Histogram(width=self.width, bins=tuple((n, times * c) for n, c in self.bins))

    def widened(self, width: float) -> "Histogram":
        """Returns the same counts in bins of `width`, a power of two times this one's."""
        if width == self.width or not self.bins:
            return Histogram(width=width, bins=self.bins)
        return _widened(width, width / self.width, self.numbers, self.counts)


def _lowest_of_far(values: np.ndarray) -> np.ndarray:
    """Returns values, those of each far bin replaced by its lower edge, float64 [n]."""
    far = np.abs(values) >= FAR
    if not far.any():
        return values
    fraction, exponent = np.frexp(values[far])
    lowest = values.copy()
    # The fraction is in [0.5, 1), which is half of what the bits divide.
    lowest[far] = np.ldexp(np.floor(np.ldexp(fraction, FAR_BITS + 1)), exponent - FAR_BITS - 1)
    return lowest


def _fitted(width: float, numbers: np.ndarray, counts: np.ndarray) -> Histogram:
    """Returns bins as wide as needed, from numbers ascending and without repetition."""
    if not len(numbers):
        return Histogram(width=width)
    start, end = np.searchsorted(numbers, (-FAR / width, FAR / width))
    near = numbers[start:end]

    def fits(shift: int) -> bool:
        wider = np.floor(near * 2.0**-shift)
        return bool(np.count_nonzero(np.diff(wider)) < MAX_BINS)

    factor = 2.0 ** bisect_left(range(64), True, key=fits)
    return _widened(width * factor, factor, numbers, counts)


def _widened(width: float, factor: float, numbers: np.ndarray, counts: np.ndarray) -> Histogram:
    numbers, counts = _summed(np.floor(numbers / factor), counts)
    bins = zip(map(int, numbers.tolist()), counts.tolist(), strict=True)
    return Histogram(width=width, bins=tuple(bins))


def _summed(numbers: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns ascending bin numbers, each once, and the sums of their counts."""
    order = np.argsort(numbers, kind="stable")
    numbers, counts = numbers[order], counts[order]
    first = np.flatnonzero(np.diff(numbers, prepend=-np.inf))
    return numbers[first], np.add.reduceat(counts, first)
