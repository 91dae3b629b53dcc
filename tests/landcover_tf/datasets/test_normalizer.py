"""Each kind of normalizer by hand and by what it promises."""

import json

import numpy as np
import pytest

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.normalizer import Normalizer, outside_reflectance
from landcover_tf.errors import DatasetError


def test_each_kind_by_hand():
    # Stored 1000, 2000, 3000 with scale 1e-4 and offset -0.1: reflectance 0.0, 0.1, 0.2.
    stats = BandStatistics.from_pixels(np.array([[1000], [2000], [3000]], np.uint16), ("B02",))

    def normalized(kind, reflectance):
        normalizer = Normalizer.fit(kind, stats, [1e-4], [-0.1])
        again = Normalizer.from_dict(json.loads(json.dumps(normalizer.to_dict())))
        assert again == normalizer
        return float(normalizer.apply(np.array([[reflectance]], np.float32))[0, 0])

    assert normalized("reflectance", 0.3) == pytest.approx(0.3)
    assert normalized("reflectance", -0.02) == 0
    assert normalized("reflectance", 1.4) == 1
    # Mean 0.1, population standard deviation sqrt(2/3) * 0.1 = 0.0816497.
    assert normalized("standardize", 0.2) == pytest.approx(0.1 / 0.0816497, rel=1e-5)
    assert normalized("standardize", 9.0) == pytest.approx(10)  # Clipped at ten deviations.
    assert normalized("minmax", 0.05) == pytest.approx(0.25, rel=1e-5)
    assert normalized("minmax", 9.0) == pytest.approx(1)
    assert normalized("percentile", 0.1) == pytest.approx(0.5, abs=0.02)


def test_percentiles_are_the_1st_and_the_99th():
    stats = BandStatistics.from_pixels(np.arange(1001, dtype=np.uint16)[:, None], ("a",))
    normalizer = Normalizer.fit("percentile", stats, [1e-3], [0])
    limits = (*normalizer.clip_min, *normalizer.clip_max)
    assert limits == pytest.approx((0.01, 0.99), abs=0.001)


@pytest.mark.parametrize("kind", ["standardize", "log", "minmax", "percentile"])
def test_a_band_of_one_value_stays_finite(kind):
    stats = BandStatistics.from_pixels(np.full((2, 1), 7, np.uint16), ("a",))
    normalizer = Normalizer.fit(kind, stats, [1e-4], [0])
    assert np.isfinite(normalizer.apply(np.array([[0], [7e-4], [0.5]]))).all()


def test_logarithms_are_of_clipped_reflectance():
    # Reflectance -0.05, 0.1 and 3.9, of which 0.02, 0.12 and 2.02 is taken the logarithm.
    stats = BandStatistics.from_pixels(np.array([[500], [2000], [40000]], np.uint16), ("a",))
    normalizer = Normalizer.fit("log", stats, [1e-4], [-0.1])
    expected = np.log([0.02, 0.12, 2.02])
    assert normalizer.shift[0] == pytest.approx(expected.mean())
    assert 1 / normalizer.factor[0] == pytest.approx(expected.std())


def test_logarithms_of_training_pixels_have_mean_0_and_deviation_1():
    values = np.random.default_rng(0).gamma(3, 700, (20000, 2)).astype(np.uint16) + 1000
    stats = BandStatistics.from_pixels(values, ("a", "b"))
    normalizer = Normalizer.fit("log", stats, [1e-4] * 2, [-0.1] * 2)
    assert Normalizer.from_dict(json.loads(json.dumps(normalizer.to_dict()))) == normalizer
    reflectance = values * 1e-4 - 0.1
    out = normalizer.apply(reflectance)
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(out.std(axis=0), 1, atol=0.01)
    # Where nothing is clipped, a surface under half the light moves by nearly log(2) deviations
    # of the logarithm: by exactly that for reflectance + 0.02.
    logarithm = np.log(reflectance + 0.02)
    halved = normalizer.apply((reflectance + 0.02) / 2 - 0.02)[reflectance.min(axis=1) > 0.03]
    moved = (out[reflectance.min(axis=1) > 0.03] - halved).mean(axis=0)
    np.testing.assert_allclose(moved, np.log(2) / logarithm.std(axis=0), rtol=0.01)
    low, high = normalizer.apply(np.array([[-0.5, -0.5], [9, 9]], np.float32))
    np.testing.assert_array_equal(low, normalizer.apply(np.zeros((1, 2), np.float32))[0])
    np.testing.assert_array_equal(high, normalizer.apply(np.full((1, 2), 2, np.float32))[0])


@pytest.mark.parametrize("kind", ["reflectance", "log"])
def test_kinds_that_clip_reflectance_refuse_counts(kind):
    stats = BandStatistics.from_pixels(np.full((5, 1), 90, np.uint8), ("red",))
    with pytest.raises(DatasetError, match="band red has a median of 90"):
        Normalizer.fit(kind, stats, [1], [0])


def test_kinds_that_clip_reflectance_refuse_bands_below_it():
    pixels = np.array([[0.1, -12.0], [0.2, -15.0], [0.3, -9.0]], np.float32)
    stats = BandStatistics.from_pixels(pixels, ("B02", "VV"))
    with pytest.raises(DatasetError, match=r"band VV has a median of -12.* and 100% of its tr"):
        Normalizer.fit("reflectance", stats, [1, 1], [0, 0])
    assert outside_reflectance(stats, [1, 0.005], [0, 0]).tolist() == [0, 0]
    # -0.12, -0.15 and -0.09: two of them below -0.1.
    assert outside_reflectance(stats, [1, 0.01], [0, 0]).tolist() == [0, 2]


def test_two_fifths_of_the_pixels_outside_of_reflectance_are_too_many():
    pixels = np.array([[0.1], [0.2], [-12.0], [0.3], [-9.0]], np.float32)
    with pytest.raises(DatasetError, match="and 40% of its training pixels"):
        Normalizer.fit("reflectance", BandStatistics.from_pixels(pixels, ("VV",)), [1], [0])


def test_a_fitted_kind_needs_pixels():
    with pytest.raises(DatasetError, match="'standardize' needs valid training pixels"):
        Normalizer.fit("standardize", BandStatistics.empty(("a",)), [1], [0])
