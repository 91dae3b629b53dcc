"""Statistics of the bands of training pixels, which merge in any order."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from landcover_tf.datasets.histograms import Histogram
from landcover_tf.errors import DatasetError
from landcover_tf.system.files import json_number

COUNTABLE = ("uint8", "int8", "uint16", "int16")
"""Data types with so few values that counting each is the fastest way to all statistics."""

_BandTally = tuple[float, float, float, float, Histogram]
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
    histogram: tuple[Histogram, ...]
    """Per band, in stored units."""

    @staticmethod
    def empty(names: Sequence[str]) -> "BandStatistics":
        """Returns statistics of no pixel; the neutral element of `merge`."""
        n = len(names)
        return BandStatistics(
            names=tuple(names),
            count=0,
            total=(0,) * n,
            total_square=(0,) * n,
            minimum=(math.inf,) * n,
            maximum=(-math.inf,) * n,
            histogram=(Histogram(width=1.0),) * n,
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
            histogram=histogram,
        )

    def merge(self, other: "BandStatistics") -> "BandStatistics":
        """Returns the statistics of both sets of pixels.

        Raises:
            DatasetError: The two are of other bands.
        """
        self.require_bands(other.names)
        if not self.count or not other.count:
            return self if self.count else other
        return BandStatistics(
            names=self.names,
            count=self.count + other.count,
            total=_add(self.total, other.total),
            total_square=_add(self.total_square, other.total_square),
            minimum=tuple(map(min, self.minimum, other.minimum)),
            maximum=tuple(map(max, self.maximum, other.maximum)),
            histogram=tuple(map(Histogram.merge, self.histogram, other.histogram)),
        )

    def require_bands(self, names: tuple[str, ...]) -> None:
        """Checks that statistics of other bands can be merged with these.

        Raises:
            DatasetError: They have other names.
        """
        if self.names != names:
            raise DatasetError(f"cannot merge statistics of bands {self.names} and {names}")

    def repeated(self, times: int) -> "BandStatistics":
        """Returns the statistics of every pixel `times` times, as if a sample were all pixels."""
        return replace(
            self,
            count=times * self.count,
            total=tuple(times * total for total in self.total),
            total_square=tuple(times * square for square in self.total_square),
            histogram=tuple(histogram.repeated(times) for histogram in self.histogram),
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
        """Returns the `q`-th percentile of each band, float64 [bands].

        To within one bin; exact where each integer has a bin of its own.
        """
        return np.array([self._band_percentile(band, q) for band in range(len(self.names))])

    def _band_percentile(self, band: int, q: float) -> float:
        target = q / 100 * self.count
        below = 0
        width = self.histogram[band].width
        for number, pixels in self.histogram[band].bins:
            if below + pixels >= target:
                inside = number * width + (target - below) / pixels * self._last_of_bin(band)
                return float(min(max(inside, self.minimum[band]), self.maximum[band]))
            below += pixels
        return float("nan")

    def bin_centers(self, band: int) -> np.ndarray:
        """Returns the middle of the values that each bin of a band can hold, float64 [bins]."""
        histogram = self.histogram[band]
        return np.asarray(histogram.numbers * histogram.width + self._last_of_bin(band) / 2)

    def _last_of_bin(self, band: int) -> float:
        """Returns how far the largest value of a bin is from the smallest; integers have steps."""
        width = self.histogram[band].width
        return width - 1 if isinstance(self.total[band], int) else width

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON; `from_dict` reads them back."""
        return {
            "count": self.count,
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
                    "bin_width": self.histogram[i].width,
                    "histogram": [list(pair) for pair in self.histogram[i].bins],
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
            histogram=tuple(
                Histogram(
                    width=float(b["bin_width"]),
                    bins=tuple((int(n), int(c)) for n, c in b["histogram"]),
                )
                for b in bands.values()
            ),
        )


def _tally_integers(values: np.ndarray) -> _BandTally:
    """Returns the tally of integers of one or two bytes [pixels]."""
    low, high = int(values.min()), int(values.max())
    counts = np.bincount(np.subtract(values, low, dtype=np.int64))
    levels = np.flatnonzero(counts)
    counts, levels = counts[levels], levels + low
    return (
        int(counts @ levels),
        int(counts @ levels**2),
        float(low),
        float(high),
        Histogram.of_integers(levels, counts),
    )


def _tally_values(values: np.ndarray) -> _BandTally:
    """Returns the tally of values of any kind [pixels]."""
    integer = values.dtype.kind in "iu"
    wide = values.astype(np.int64 if integer else np.float64)
    return (
        wide.sum().item(),
        (wide**2).sum().item(),
        float(wide.min()),
        float(wide.max()),
        Histogram.of_integers(*np.unique(wide, return_counts=True))
        if integer
        else Histogram.of_floats(wide),
    )


def _add(a: Sequence[float], b: Sequence[float]) -> tuple[float, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))
