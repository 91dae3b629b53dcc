import json
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landcover_tf.errors import DatasetError
from landcover_tf.normalizer import BandStatistics, Normalizer

pixels = hnp.arrays(np.uint16, st.tuples(st.integers(0, 40), st.just(2)))


@given(pixels, pixels, pixels)
def test_merging_is_exact_in_any_order(a, b, c):
    stats = [BandStatistics.from_pixels(x, ("B02", "B03")) for x in (a, b, c)]
    whole = BandStatistics.from_pixels(np.concatenate([a, b, c]), ("B02", "B03"))
    assert stats[0].merge(stats[1]).merge(stats[2]) == whole
    assert stats[2].merge(stats[0].merge(stats[1])) == whole


@given(hnp.arrays(np.uint16, st.tuples(st.integers(1, 60), st.just(3))))
def test_moments_agree_with_numpy(values):
    stats = BandStatistics.from_pixels(values, ("a", "b", "c"))
    np.testing.assert_allclose(stats.mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(stats.std, values.astype(float).std(axis=0), rtol=1e-9, atol=1e-9)


def test_percentiles_are_within_a_bin_of_numpys():
    values = np.random.default_rng(0).integers(500, 9000, (20000, 2)).astype(np.uint16)
    stats = BandStatistics.from_pixels(values, ("a", "b"))
    for q in (1, 50, 99):
        np.testing.assert_allclose(
            stats.percentile(q), np.percentile(values, q, axis=0), atol=stats.bin_width
        )


def test_statistics_survive_json():
    values = np.random.default_rng(0).normal(0.2, 0.1, (100, 2)).astype(np.float32)
    for stats in (
        BandStatistics.from_pixels(values, ("a", "b")),
        BandStatistics.empty(("a", "b")),
    ):
        assert BandStatistics.from_dict(json.loads(json.dumps(stats.to_dict()))) == stats


def test_other_bands_do_not_merge():
    a, b = (BandStatistics.from_pixels(np.ones((1, 1), np.uint8), (n,)) for n in "ab")
    with pytest.raises(DatasetError, match="cannot merge statistics of bands"):
        a.merge(b)


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
    assert normalized("minmax", 0.05) == pytest.approx(0.25, rel=1e-5)
    assert normalized("minmax", 9.0) == pytest.approx(1)
    assert normalized("percentile", 0.1) == pytest.approx(0.5, abs=0.02)


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


def test_a_fitted_kind_needs_pixels():
    with pytest.raises(DatasetError, match="'standardize' needs valid training pixels"):
        Normalizer.fit("standardize", BandStatistics.empty(("a",)), [1], [0])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_many_integers_are_counted_to_the_same_statistics_as_few(dtype):
    limits = np.iinfo(dtype)
    random = np.random.default_rng(0)
    pixels = random.integers(limits.min, limits.max, (9000, 2), dtype, endpoint=True)
    pixels[:2] = [[limits.min], [limits.max]]
    parts = [BandStatistics.from_pixels(part, ("a", "b")) for part in np.split(pixels, 9)]
    merged = reduce(BandStatistics.merge, parts)
    assert BandStatistics.from_pixels(pixels, ("a", "b")) == merged
    expected = np.histogram(pixels[:, 1], np.arange(limits.min, limits.max + 2.0, 32))[0]
    assert [count for _, count in merged.histogram[1]] == expected[expected > 0].tolist()
