"""The normalizer that goes into the model, fitted to the statistics of training pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.errors import DatasetError

NormalizerKind = Literal["reflectance", "standardize", "minmax", "percentile", "log"]

LOG_OFFSET = 0.02
"""Reflectance added before the logarithm: below it, noise would be stretched more than signal."""
REFLECTANCE_RANGE = (-0.1, 1.5)
"""What reflectance hardly leaves: noise about 0 less an offset, and glint and bright cloud tops."""
MOST_OUTSIDE = 1 / 3
"""Share of a band's pixels outside of that from which on they are no reflectance."""
LOG_CEILING = 2.0
"""Reflectance at which `log` clips; glint and bright cloud tops come near it."""


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


def outside_reflectance(
    statistics: BandStatistics,
    scale: Sequence[float] | np.ndarray,
    offset: Sequence[float] | np.ndarray,
) -> np.ndarray:
    """Returns how many pixels of each band lie outside REFLECTANCE_RANGE, int64 [bands].

    To within a bin of the histograms, which are looked at only where some pixel is outside.

    Args:
        statistics: Statistics of the pixels, in stored units.
        scale: Reflectance per stored unit, per band.
        offset: Reflectance of stored value 0, per band.
    """
    low, high = REFLECTANCE_RANGE
    found = np.zeros(len(statistics.names), np.int64)
    for band, (unit, start) in enumerate(zip(scale, offset, strict=True)):
        ends = [v[band] * unit + start for v in (statistics.minimum, statistics.maximum)]
        if statistics.count and not low <= min(ends) <= max(ends) <= high:
            values = statistics.bin_centers(band) * unit + start
            outside = (values < low) | (values > high)
            found[band] = statistics.histogram[band].counts[outside].sum()
    return found


def _require_reflectance(statistics: BandStatistics, scale: np.ndarray, offset: np.ndarray) -> None:
    if not statistics.count:
        return
    shares = outside_reflectance(statistics, scale, offset) / statistics.count
    if shares.max() > MOST_OUTSIDE:
        band, (low, high) = int(shares.argmax()), REFLECTANCE_RANGE
        median = statistics.percentile(50)[band] * scale[band] + offset[band]
        raise DatasetError(
            f"band {statistics.names[band]} has a median of {median:.6g} and {shares[band]:.0%} of "
            f"its training pixels below {low:g} or above {high:g}, which is no reflectance; "
            "build with a --scale (for example 1e-4) and --offset, or give another --normalizer"
        )


def _log_moments(
    statistics: BandStatistics, scale: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of log(reflectance + LOG_OFFSET), float64 [bands].

    They are those of the histogram's bin centres.
    """
    moments = []
    for band, (unit, start) in enumerate(zip(scale, offset, strict=True)):
        pixels = statistics.histogram[band].counts
        reflectance = statistics.bin_centers(band) * unit + start
        logarithm = np.log(np.clip(reflectance, 0, LOG_CEILING) + LOG_OFFSET)
        mean = np.average(logarithm, weights=pixels)
        moments.append((mean, np.sqrt(np.average((logarithm - mean) ** 2, weights=pixels))))
    means, deviations = np.array(moments).T
    return means, deviations
