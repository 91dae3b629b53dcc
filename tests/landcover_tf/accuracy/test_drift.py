"""Drift between two distributions of pixels and classes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_tf.accuracy.drift import (
    Distribution,
    compare,
    outside_fraction,
    stability_index,
)
from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.errors import DatasetError

BANDS = ("B02", "B08")


def pixels(seed: int, shift: float = 0.0, count: int = 20_000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal([2000 + shift, 3000], [200, 400], (count, 2)).round().astype(np.uint16)


def distribution(values: np.ndarray, **classes: float) -> Distribution:
    return Distribution(
        statistics=BandStatistics.from_pixels(values, BANDS),
        class_fractions={int(c[1:]): f for c, f in classes.items()},
    )


def test_stability_index_by_hand():
    # (0.2 - 0.5) ln(0.2 / 0.5) + (0.8 - 0.5) ln(0.8 / 0.5) = 0.2749 + 0.1410
    index = stability_index(np.array([0.5, 0.5]), np.array([0.2, 0.8]))
    assert index == pytest.approx(0.41589, abs=1e-5)


def test_an_empty_bin_has_a_ten_thousandth_of_the_pixels():
    # Shares of 10000 / 10001 and 1 / 10001; their logarithms to 1/2 are -0.693047 and 8.517293.
    # (0.5 - 0.9999) * -0.693047 + (0.5 - 0.0001) * 8.517293 = 0.346454 + 4.257795
    index = stability_index(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    assert index == pytest.approx(4.604249, abs=1e-5)


def test_means_and_deviations_by_hand():
    one, other = (
        Distribution(
            statistics=BandStatistics.from_pixels(np.array(v, np.uint16)[:, None], ["B02"]),
            class_fractions={},
        )
        for v in ([1, 3], [1, 7])
    )
    (band,) = compare(one, other).bands
    assert (band.expected_mean, band.expected_std) == (2, 1)
    assert (band.observed_mean, band.observed_std) == (4, 3)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.integers(0, 99))
def test_stability_index_is_symmetric_and_not_negative(shares, seed):
    e = np.array(shares) + 1e-3
    o = np.random.default_rng(seed).permutation(e)
    e, o = e / e.sum(), o / o.sum()
    index = stability_index(e, o)
    assert index >= 0 and index == pytest.approx(stability_index(o, e))
    assert stability_index(e, e) == 0


def test_same_population_is_stable_and_another_is_not():
    expected = distribution(pixels(0), c10=0.5, c20=0.5)
    same = compare(expected, distribution(pixels(1), c10=0.48, c20=0.52))
    assert max(band.stability_index for band in same.bands) < 0.01
    assert same.class_shift == pytest.approx(0.02)
    unknown = distribution(pixels(1))
    assert compare(expected, unknown).class_shift is compare(unknown, expected).class_shift is None
    # The band is shifted by one standard deviation.
    other = compare(expected, distribution(pixels(1, shift=200), c20=0.9, c30=0.1))
    assert other.worst_band.name == "B02"
    assert other.worst_band.stability_index > 0.5
    assert other.bands[1].stability_index < 0.01
    assert other.class_shift == pytest.approx(0.5)  # (0.5 + 0.4 + 0.1) / 2
    assert other.class_fractions == {10: (0.5, 0.0), 20: (0.5, 0.9), 30: (0.0, 0.1)}


def test_a_shift_of_a_normal_by_its_deviation_has_the_known_divergence():
    # The symmetric divergence of N(0, 1) and N(1, 1) is 1; ten classes lose a few percent.
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (200_000, 1))
    statistics = [BandStatistics.from_pixels(v, ["B02"]) for v in (values, values + 1)]
    drift = compare(*(Distribution(statistics=s, class_fractions={}) for s in statistics))
    assert 0.85 < drift.bands[0].stability_index < 1.0
    assert drift.class_shift is None


@pytest.mark.parametrize("sign", [1, -1])
def test_values_beyond_a_common_extreme_are_another_population(sign):
    """They were counted with the least value: the index was 0."""
    rng = np.random.default_rng(0)
    expected = np.where(rng.random(20_000) < 0.3, 1000, rng.integers(1001, 3000, 20_000))
    observed = np.where(expected == 1000, 500, expected)
    drift = compare(*(
        Distribution(statistics=BandStatistics.from_pixels(sign * v[:, None], ["B02"]),
                     class_fractions={})
        for v in (expected, observed)
    ))  # fmt: skip
    (band,) = drift.bands
    assert band.outside_fraction == pytest.approx(0.3, abs=0.02)
    # 0.3 of the pixels enter a bin that had none: 0.3 * ln(0.3 / 1e-4) = 2.4, and they left others.
    assert band.stability_index > 2.4


def test_other_bands_are_refused():
    other = Distribution(
        statistics=BandStatistics.from_pixels(pixels(0), ("B02", "B03")), class_fractions={}
    )
    with pytest.raises(DatasetError, match="expected requests of bands B02, B08, got B02, B03"):
        compare(distribution(pixels(0)), other)
    empty = Distribution(statistics=BandStatistics.empty(BANDS), class_fractions={})
    with pytest.raises(DatasetError, match="the log has no pixel with data"):
        compare(distribution(pixels(0)), empty)


def test_pixels_outside_the_training_range():
    statistics = BandStatistics.from_pixels(pixels(0), BANDS)
    image = np.full((4, 4, 2), 2500, np.uint16)
    assert outside_fraction(image, statistics, 0) == 0
    image[:2, :, 1] = 9000
    image[3] = 0  # No data does not count.
    assert outside_fraction(image, statistics, 0) == pytest.approx(8 / 12)
    assert math.isnan(outside_fraction(np.zeros((2, 2, 2), np.uint16), statistics, 0))
