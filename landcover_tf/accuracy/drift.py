"""How far served data is from the training data: band distributions and class shares."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.histograms import Histogram
from landcover_tf.errors import DatasetError

BINS = 10
FLOOR = 1e-4
"""Smallest share of a bin, so that an empty bin counts much but not infinitely."""
RANGE_PERCENTILES = (0.01, 99.99)
"""What counts as the range of the training data. Narrower ones leave out whole scenes that the
model was trained on: beyond the 99.9 percentile may lie a tenth of one scene among a hundred.
Wider ones are those of single damaged pixels."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """What is known of a set of images and their classes."""

    statistics: BandStatistics
    """Pixels with data, stored units."""
    class_fractions: Mapping[int, float]
    """Share of each legend code; sums to 1, or empty when unknown."""


@dataclass(frozen=True, kw_only=True)
class BandDrift:
    """One band of the served data against the training data."""

    name: str
    stability_index: float
    """Population stability index; up to 0.1 is called stable, above 0.25 another population."""
    expected_mean: float
    """Stored units, as `observed_mean`."""
    observed_mean: float
    expected_std: float
    observed_std: float
    outside_fraction: float
    """Share of pixels below the lowest or above the highest training value."""
    expected: tuple[float, ...]
    """Shares of the bins between the training data's deciles. Where the least or greatest value
    fills a bin of its own, what lies beyond it is another one."""
    observed: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Drift:
    """All differences between served and training data."""

    bands: tuple[BandDrift, ...]
    class_shift: float | None
    """Half the sum of absolute differences of class shares, in [0, 1]; None when unknown."""
    class_fractions: Mapping[int, tuple[float, float]]
    """Expected and observed share of each legend code."""

    @property
    def worst_band(self) -> BandDrift:
        """The band with the highest stability index."""
        return max(self.bands, key=lambda band: band.stability_index)


def compare(expected: Distribution, observed: Distribution) -> Drift:
    """Returns how `observed` differs from `expected`.

    Raises:
        DatasetError: The bands differ, or one of them has no pixel.
    """
    names = expected.statistics.names
    if names != observed.statistics.names:
        raise DatasetError(
            f"expected requests of bands {', '.join(names)}, got "
            f"{', '.join(observed.statistics.names)}; is the log of another model?"
        )
    for what, distribution in (("reference", expected), ("log", observed)):
        if not distribution.statistics.count:
            raise DatasetError(f"the {what} has no pixel with data; there is nothing to compare")
    codes = sorted({*expected.class_fractions, *observed.class_fractions})
    fractions = {
        code: (expected.class_fractions.get(code, 0.0), observed.class_fractions.get(code, 0.0))
        for code in codes
    }
    known = expected.class_fractions and observed.class_fractions
    return Drift(
        bands=tuple(
            _band_drift(expected.statistics, observed.statistics, band)
            for band in range(len(names))
        ),
        class_shift=sum(abs(a - b) for a, b in fractions.values()) / 2 if known else None,
        class_fractions=fractions,
    )


def stability_index(expected: np.ndarray, observed: np.ndarray) -> float:
    """Returns the population stability index, sum((o - e) * ln(o / e)) over bins.

    It is the symmetric Kullback-Leibler divergence (Kullback and Leibler 1951).

    Args:
        expected: Share of each bin, float [bins].
        observed: The same bins.
    """
    e, o = np.maximum(expected, FLOOR), np.maximum(observed, FLOOR)
    e, o = e / e.sum(), o / o.sum()
    return float(((o - e) * np.log(o / e)).sum())


def outside_fraction(images: np.ndarray, statistics: BandStatistics, nodata: float) -> float:
    """Returns the share of pixels in which some band leaves the range of the training data.

    There the model extrapolates, whatever its confidence; a scene with a large share lies
    outside the model's area of applicability (Meyer and Pebesma 2021, who use a distance in
    place of the range).

    Args:
        images: Stored values, [..., bands].
        statistics: Training pixels, stored units.
        nodata: Stored value of all bands where there is no data.

    Returns:
        Share among pixels with data; NaN when there are none.
    """
    pixels = images.reshape(-1, images.shape[-1])
    pixels = pixels[~(pixels == nodata).all(axis=1)]
    if not len(pixels):
        return math.nan
    low, high = (statistics.percentile(q) for q in RANGE_PERCENTILES)
    return float(((pixels < low) | (pixels > high)).any(axis=1).mean())


def _band_drift(expected: BandStatistics, observed: BandStatistics, band: int) -> BandDrift:
    width = max(expected.histogram[band].width, observed.histogram[band].width)
    histograms = [s.histogram[band].widened(width) for s in (expected, observed)]
    edges = _decile_edges(histograms[0])
    shares = [_shares(histogram, edges) for histogram in histograms]
    low, high = expected.minimum[band] // width, expected.maximum[band] // width
    numbers = histograms[1].numbers
    outside = histograms[1].counts[(numbers < low) | (numbers > high)].sum()
    return BandDrift(
        name=expected.names[band],
        stability_index=stability_index(*shares),
        expected_mean=float(expected.mean[band]),
        observed_mean=float(observed.mean[band]),
        expected_std=float(expected.std[band]),
        observed_std=float(observed.std[band]),
        outside_fraction=float(outside / observed.count),
        expected=tuple(shares[0].tolist()),
        observed=tuple(shares[1].tolist()),
    )


def _decile_edges(histogram: Histogram) -> np.ndarray:
    """Returns the bin numbers at which each tenth of the pixels ends, without repetition."""
    cumulated = np.cumsum(histogram.counts, dtype=float)
    targets = np.arange(1, BINS) / BINS * cumulated[-1]
    edges = np.unique(histogram.numbers[np.searchsorted(cumulated, targets)])
    least = histogram.numbers[0]
    # Lower values would count with it; those above the last edge have a bin anyway.
    return np.insert(edges, 0, np.nextafter(least, -np.inf)) if edges[0] == least else edges


def _shares(histogram: Histogram, edges: np.ndarray) -> np.ndarray:
    counts = histogram.counts.astype(float)
    # A pixel belongs to the first edge at or above its bin; beyond the last edge to the rest.
    places = np.searchsorted(edges, histogram.numbers)
    return np.asarray(np.bincount(places, counts, minlength=len(edges) + 1) / counts.sum())
