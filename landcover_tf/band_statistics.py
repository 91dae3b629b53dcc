"""Statistics of the bands of training pixels, which merge in any order."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landcover_tf.errors import DatasetError
from landcover_tf.files import json_number

COUNTABLE = ("uint8", "int8", "uint16", "int16")
"""Data types with so few values that counting each is the fastest way to all statistics."""

_BandTally = tuple[float, float, float, float, tuple[tuple[int, int], ...]]
"""Total, total of squares, minimum, maximum and histogram of one band."""


@dataclass(frozen=True, kw_only=True)
class BandStatistics:
    """Moments and histogram of each band over valid training pixels, in stored units.

    Sums of integer rasters are exact Python integers, so merging is associative and
    commutative to the last bit; sums of float rasters are float64.
    """

    names: tuple[str, ...]
    count: int
    """Pixels seen; the same for every band, because a pixel counts only if all bands are valid."""
    total: tuple[float, ...]
    total_square: tuple[float, ...]
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    bin_width: float
    """Width of a histogram bin in stored units; a power of two, so that bins nest when merged."""
    histogram: tuple[tuple[tuple[int, int], ...], ...]
    """Per band the non-empty bins as (bin number, pixels); bin b holds [b, b+1) * bin_width."""

    @staticmethod
    def empty(names: Sequence[str], *, bin_width: float = 32.0) -> "BandStatistics":
        """Returns statistics of no pixel; the neutral element of `merge`."""
        n = len(names)
        return BandStatistics(
            names=tuple(names),
            count=0,
            total=(0,) * n,
            total_square=(0,) * n,
            minimum=(math.inf,) * n,
            maximum=(-math.inf,) * n,
            bin_width=bin_width,
            histogram=((),) * n,
        )

    @staticmethod
    def from_pixels(pixels: np.ndarray, names: Sequence[str]) -> "BandStatistics":
        """Returns the statistics of `pixels`.

        Args:
            pixels: Stored values of valid pixels, [pixels, bands], integer or float.
            names: Band names.
        """
        if pixels.ndim != 2 or pixels.shape[1] != len(names):
            raise ValueError(f"expected pixels of shape [n, {len(names)}], got {pixels.shape}")
        if not len(pixels):
            return BandStatistics.empty(names)
        bands = [np.ascontiguousarray(pixels[:, band]) for band in range(len(names))]
        # A few pixels are sorted sooner than 65,536 counters are summed.
        countable = pixels.dtype.name in COUNTABLE and len(pixels) > 4096
        tally = _tally_integers if countable else _tally_values
        total, square, low, high, histogram = zip(*map(tally, bands), strict=True)
        return BandStatistics(
            names=tuple(names),
            count=len(pixels),
            total=total,
            total_square=square,
            minimum=low,
            maximum=high,
            bin_width=_bin_width(pixels.dtype),
            histogram=histogram,
        )

    def merge(self, other: "BandStatistics") -> "BandStatistics":
        """Returns the statistics of both sets of pixels.

        Raises:
            DatasetError: The two are of other bands or of other data types.
        """
        if self.names != other.names:
            raise DatasetError(f"cannot merge statistics of bands {self.names} and {other.names}")
        if not self.count or not other.count:
            return self if self.count else other
        if self.bin_width != other.bin_width:
            raise DatasetError("cannot merge statistics of integer and of float rasters")
        return BandStatistics(
            names=self.names,
            count=self.count + other.count,
            total=_add(self.total, other.total),
            total_square=_add(self.total_square, other.total_square),
            minimum=tuple(map(min, self.minimum, other.minimum)),
            maximum=tuple(map(max, self.maximum, other.maximum)),
            bin_width=self.bin_width,
            histogram=tuple(map(_add_histograms, self.histogram, other.histogram)),
        )

    @property
    def mean(self) -> np.ndarray:
        """Mean of each band, float64 [bands]; NaN without pixels."""
        if not self.count:
            return np.full(len(self.names), np.nan)
        return np.array([total / self.count for total in self.total])

    @property
    def std(self) -> np.ndarray:
        """Population standard deviation of each band, float64 [bands]; NaN without pixels."""
        if not self.count:
            return np.full(len(self.names), np.nan)
        # n*sum(x^2) - sum(x)^2 is exact in integers; subtracting float means would cancel.
        return np.array(
            [
                math.sqrt(max(self.count * square - total**2, 0)) / self.count
                for total, square in zip(self.total, self.total_square, strict=True)
            ]
        )

    def percentile(self, q: float) -> np.ndarray:
        """Returns the `q`-th percentile of each band, to within one bin, float64 [bands]."""
        return np.array([self._band_percentile(band, q) for band in range(len(self.names))])

    def _band_percentile(self, band: int, q: float) -> float:
        target = q / 100 * self.count
        below = 0
        for number, pixels in self.histogram[band]:
            if below + pixels >= target:
                inside = (number + (target - below) / pixels) * self.bin_width
                return float(min(max(inside, self.minimum[band]), self.maximum[band]))
            below += pixels
        return float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON; `from_dict` reads them back."""
        return {
            "count": self.count,
            "bin_width": self.bin_width,
            "bands": {
                name: {
                    "mean": json_number(self.mean[i]),
                    "std": json_number(self.std[i]),
                    "min": json_number(self.minimum[i]),
                    "max": json_number(self.maximum[i]),
                    "percentiles": {
                        str(q): json_number(self._band_percentile(i, q)) for q in (1, 2, 50, 98, 99)
                    },
                    "total": self.total[i],
                    "total_square": self.total_square[i],
                    "histogram": [list(pair) for pair in self.histogram[i]],
                }
                for i, name in enumerate(self.names)
            },
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "BandStatistics":
        """Returns the statistics that `to_dict` described."""
        bands = values["bands"]
        empty = not values["count"]
        return BandStatistics(
            names=tuple(bands),
            count=values["count"],
            total=tuple(b["total"] for b in bands.values()),
            total_square=tuple(b["total_square"] for b in bands.values()),
            minimum=tuple(math.inf if empty else b["min"] for b in bands.values()),
            maximum=tuple(-math.inf if empty else b["max"] for b in bands.values()),
            bin_width=values["bin_width"],
            histogram=tuple(
                tuple((int(n), int(c)) for n, c in b["histogram"]) for b in bands.values()
            ),
        )


def _bin_width(dtype: np.dtype) -> float:
    # Float rasters hold reflectance (0..1) as a rule; integers hold counts up to 65535.
    return 32.0 if dtype.kind in "iu" else 2.0**-11


def _tally_integers(values: np.ndarray) -> _BandTally:
    """Returns the tally of integers of one or two bytes [pixels]."""
    bin_width = int(_bin_width(values.dtype))
    low, high = int(values.min()), int(values.max())
    first, last = low // bin_width, high // bin_width
    # One counter for each value of the occupied bins.
    counters = (last - first + 1) * bin_width
    counts = np.bincount(np.subtract(values, first * bin_width, dtype=np.int64), minlength=counters)
    levels = np.arange(counters) + first * bin_width
    of_bin = counts.reshape(-1, bin_width).sum(axis=1)
    bins = np.flatnonzero(of_bin)
    return (
        int(counts @ levels),
        int(counts @ levels**2),
        float(low),
        float(high),
        tuple(zip((bins + first).tolist(), of_bin[bins].tolist(), strict=True)),
    )


def _tally_values(values: np.ndarray) -> _BandTally:
    """Returns the tally of values of any kind [pixels]."""
    wide = values.astype(np.int64 if values.dtype.kind in "iu" else np.float64)
    numbers = np.floor(wide / _bin_width(values.dtype)).astype(np.int64)
    bins, counts = np.unique(numbers, return_counts=True)
    return (
        wide.sum().item(),
        (wide**2).sum().item(),
        float(wide.min()),
        float(wide.max()),
        tuple(zip(bins.tolist(), counts.tolist(), strict=True)),
    )


def _add(a: Sequence[float], b: Sequence[float]) -> tuple[float, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _add_histograms(
    a: Sequence[tuple[int, int]], b: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    counts = dict(a)
    for number, pixels in b:
        counts[number] = counts.get(number, 0) + pixels
    return tuple(sorted(counts.items()))
