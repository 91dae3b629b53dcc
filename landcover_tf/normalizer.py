"""Band statistics that merge in any order, and the normalizer that goes into the model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from landcover_tf.errors import DatasetError
from landcover_tf.files import json_number

NormalizerKind = Literal["reflectance", "standardize", "minmax", "percentile", "log"]

LOG_OFFSET = 0.02
"""Reflectance added before the logarithm: below it, noise would be stretched more than signal."""
LOG_CEILING = 2.0
"""Reflectance at which `log` clips; glint and bright cloud tops come near it."""

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


@dataclass(frozen=True, kw_only=True)
class Normalizer:
    """y = (f(clip(reflectance, clip_min, clip_max)) - shift) * factor, per band.

    f(r) is r, or log(r + log_offset) where there is one. The same formula runs in the exported
    model, so serving cannot normalise differently.
    """

    kind: NormalizerKind
    bands: tuple[str, ...]
    clip_min: tuple[float, ...]
    clip_max: tuple[float, ...]
    shift: tuple[float, ...]
    factor: tuple[float, ...]
    log_offset: float | None = None
    """Reflectance added before the logarithm; None takes none."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(NormalizerKind):
            raise ValueError(f"kind must be one of {get_args(NormalizerKind)}, got {self.kind!r}")
        lengths = {len(v) for v in (self.clip_min, self.clip_max, self.shift, self.factor)}
        if lengths != {len(self.bands)}:
            raise ValueError(f"expected {len(self.bands)} values per field, got {lengths}")

    @staticmethod
    def fit(
        kind: NormalizerKind,
        statistics: BandStatistics,
        scale: Sequence[float],
        offset: Sequence[float],
    ) -> "Normalizer":
        """Returns the normalizer of that kind for the dataset that `statistics` describe.

        Args:
            kind: `reflectance` clips to 0..1, which Sentinel-2 pretrained encoders expect;
                `standardize` gives mean 0 and standard deviation 1; `minmax` and `percentile`
                (1st to 99th) map to 0..1; `log` standardizes log(reflectance + 0.02), so that
                few bright pixels do not press dark surfaces together and a change of light is
                a shift.
            statistics: Training pixels, stored units.
            scale: Reflectance per stored unit, per band.
            offset: Reflectance of stored value 0, per band.

        Raises:
            DatasetError: The kind needs pixels and there are none, or it clips to the range of
                reflectance and the data are something else.
        """
        n = len(statistics.names)
        to_reflectance = np.asarray(scale, float), np.asarray(offset, float)
        if kind in ("reflectance", "log"):
            _require_reflectance(statistics, *to_reflectance)
        if kind == "reflectance":
            low, high, shift, factor = np.zeros(n), np.ones(n), np.zeros(n), np.ones(n)
        elif not statistics.count:
            raise DatasetError(f"normalizer {kind!r} needs valid training pixels; there are none")
        elif kind == "standardize":
            shift = statistics.mean * to_reflectance[0] + to_reflectance[1]
            factor = 1 / np.maximum(statistics.std * to_reflectance[0], 1e-6)
            low, high = shift - 10 / factor, shift + 10 / factor
        elif kind == "log":
            low, high = np.zeros(n), np.full(n, LOG_CEILING)
            shift, std = _log_moments(statistics, *to_reflectance)
            factor = 1 / np.maximum(std, 1e-6)
        else:
            limits = (
                (np.array(statistics.minimum), np.array(statistics.maximum))
                if kind == "minmax"
                else (statistics.percentile(1), statistics.percentile(99))
            )
            low, high = (v * to_reflectance[0] + to_reflectance[1] for v in limits)
            shift, factor = low, 1 / np.maximum(high - low, 1e-6)
        return Normalizer(
            kind=kind,
            bands=statistics.names,
            clip_min=tuple(low.tolist()),
            clip_max=tuple(high.tolist()),
            shift=tuple(shift.tolist()),
            factor=tuple(factor.tolist()),
            log_offset=LOG_OFFSET if kind == "log" else None,
        )

    def apply(self, reflectance: np.ndarray) -> np.ndarray:
        """Returns normalised `reflectance` ([..., bands]) as float32."""
        low, high, shift, factor = (
            np.asarray(v, np.float32)
            for v in (self.clip_min, self.clip_max, self.shift, self.factor)
        )
        clipped = np.clip(reflectance.astype(np.float32), low, high)
        if self.log_offset is not None:
            clipped = np.log(clipped + np.float32(self.log_offset))
        return (clipped - shift) * factor

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON; `from_dict` reads them back."""
        return {
            "kind": self.kind,
            "bands": list(self.bands),
            "clip_min": list(self.clip_min),
            "clip_max": list(self.clip_max),
            "shift": list(self.shift),
            "factor": list(self.factor),
        } | ({} if self.log_offset is None else {"log_offset": self.log_offset})

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Normalizer":
        """Returns the normalizer that `to_dict` described."""
        return Normalizer(
            kind=values["kind"],
            log_offset=values.get("log_offset"),
            **{
                name: tuple(values[name])
                for name in ("bands", "clip_min", "clip_max", "shift", "factor")
            },
        )


def _require_reflectance(statistics: BandStatistics, scale: np.ndarray, offset: np.ndarray) -> None:
    if not statistics.count:
        return
    median = statistics.percentile(50) * scale + offset
    if median.max() > 1.5:
        band = int(median.argmax())
        raise DatasetError(
            f"band {statistics.names[band]} has a median of {median[band]:.6g}, which is no "
            "reflectance; give --scale (for example 1e-4) and --offset, or another --normalizer"
        )


def _log_moments(
    statistics: BandStatistics, scale: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of log(reflectance + LOG_OFFSET), float64 [bands].

    They are those of the histogram's bin centres.
    """
    moments = []
    for bins, unit, start in zip(statistics.histogram, scale, offset, strict=True):
        numbers, pixels = np.array(bins, float).T
        reflectance = (numbers + 0.5) * statistics.bin_width * unit + start
        logarithm = np.log(np.clip(reflectance, 0, LOG_CEILING) + LOG_OFFSET)
        mean = np.average(logarithm, weights=pixels)
        moments.append((mean, np.sqrt(np.average((logarithm - mean) ** 2, weights=pixels))))
    means, deviations = np.array(moments).T
    return means, deviations


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
