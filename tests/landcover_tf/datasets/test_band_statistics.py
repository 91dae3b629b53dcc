"""Statistics against numpy, and merged in any order."""

import json
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.normalizer import Normalizer
from landcover_tf.errors import DatasetError

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
    for q in (0, 1, 50, 99, 100):
        np.testing.assert_allclose(
            stats.percentile(q), np.percentile(values, q, axis=0), atol=stats.histogram[0].width
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


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_many_integers_are_counted_to_the_same_statistics_as_few(dtype):
    limits = np.iinfo(dtype)
    random = np.random.default_rng(0)
    pixels = random.integers(limits.min, limits.max, (9000, 2), dtype, endpoint=True)
    pixels[:2] = [[limits.min], [limits.max]]
    parts = [BandStatistics.from_pixels(part, ("a", "b")) for part in np.split(pixels, 9)]
    merged = reduce(BandStatistics.merge, parts)
    assert BandStatistics.from_pixels(pixels, ("a", "b")) == merged
    # 512 bins hold 8 bits one by one, and 16 bits by 128.
    width = 1 if limits.bits == 8 else 128
    assert merged.histogram[1].width == width
    expected = np.histogram(pixels[:, 1], np.arange(limits.min, limits.max + 1.0 + width, width))[0]
    assert [count for _, count in merged.histogram[1].bins] == expected[expected > 0].tolist()


def test_percentiles_of_decibels_are_not_their_limits():
    # 9 of 994 pixels, less than 1 %, are at each end, where minmax has its limits.
    values = np.repeat(np.arange(-19, -1), [9, *[61] * 16, 9]).astype(np.int16)
    stats = BandStatistics.from_pixels(values[:, None], ("VV",))
    limits = [Normalizer.fit(kind, stats, [1], [0]) for kind in ("percentile", "minmax")]
    assert [(n.clip_min[0], n.clip_max[0]) for n in limits] == [(-18, -3), (-19, -2)]
