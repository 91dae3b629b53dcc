import json
from functools import reduce
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.histograms import FAR, MAX_BINS, Histogram


def of(values):
    if values.dtype.kind == "f":
        return Histogram.of_floats(values)
    return Histogram.of_integers(*np.unique(values, return_counts=True))


def floats(largest):
    return st.floats(-largest, largest, width=32, allow_subnormal=False)


numbers = st.one_of(
    st.lists(st.lists(st.integers(-70_000, 70_000), min_size=1), min_size=3, max_size=3),
    st.lists(
        st.lists(floats(2.0**127) | floats(1), min_size=1),
        min_size=3,
        max_size=3,
    ),
)


@settings(max_examples=60)
@given(numbers)
def test_parts_merge_to_the_whole_in_any_order(parts):
    arrays = [np.array(part) for part in parts]
    with pytest.MonkeyPatch.context() as patch:
        # So that a few values are too many.
        patch.setattr("landcover_tf.datasets.histograms.MAX_BINS", 4)
        whole = of(np.concatenate(arrays))
        assert sum(-FAR <= number * whole.width < FAR for number, _ in whole.bins) <= 4
        for order in permutations([of(array) for array in arrays]):
            assert reduce(Histogram.merge, order) == whole
    values, width = np.concatenate(arrays), whole.width
    assert np.log2(width) % 1 == 0
    edges = np.array([number for number, _ in whole.bins], float) * width
    bins = np.searchsorted(edges, values, side="right") - 1
    assert np.bincount(bins).tolist() == [count for _, count in whole.bins]
    # Bins are a width wide, those beyond FAR up to a 31st of their values.
    widest = np.where(np.abs(values) < FAR, width, np.maximum(np.abs(values) / 31, width))
    assert (values - edges[bins] <= widest).all()


def test_the_width_follows_the_values_and_not_their_type():
    random = np.random.default_rng(0)
    reflectance = random.uniform(0, 1, 100_000)
    assert Histogram.of_floats(reflectance).width == 2**-9
    assert Histogram.of_floats(reflectance * 8192).width == 16
    # One pixel of a fault does not press the others into one bin.
    assert Histogram.of_floats(np.append(reflectance, 1e6)).width == 2**-8
    assert of(random.integers(-19, -1, 1000)).width == 1
    assert of(random.integers(0, 2048, 100_000)).width == 4
    assert max(len(Histogram.of_floats(random.normal(0, s, 10**5)).bins) for s in (1, 1e9)) <= (
        MAX_BINS
    )


def test_zeros_and_nothing():
    zeros = Histogram.of_floats(np.zeros(3))
    assert zeros.bins == ((0, 3),)
    assert zeros.merge(of(np.array([7]))).bins == ((0, 3), (7, 1))
    assert Histogram.of_floats(np.zeros(0)).bins == ()


@pytest.mark.parametrize("fill", [1e9, 1e12, -1e12, 1e20, np.finfo(np.float32).min])
def test_an_undeclared_fill_value_leaves_the_percentiles_of_the_others(fill):
    reflectance = np.random.default_rng(0).uniform(0, 1, 20_000).astype(np.float32)
    stray = np.float32(fill)
    # Resampling blurs it: a thousand numbers between it and the others.
    blurred = stray / 2 ** np.linspace(0, 20, 1000, dtype=np.float32) if abs(fill) > 1e15 else []
    pixels = np.concatenate([reflectance, [stray], blurred]).astype(np.float32)
    statistics = BandStatistics.from_pixels(pixels[:, None], ("B02",))
    expected = np.percentile(pixels, 50)
    assert abs(statistics.percentile(50)[0] - expected) < 0.004
    assert BandStatistics.from_dict(json.loads(json.dumps(statistics.to_dict()))) == statistics
    parts = [BandStatistics.from_pixels(p[:, None], ("B02",)) for p in np.split(pixels, [7, 10**4])]
    assert reduce(BandStatistics.merge, parts).histogram == statistics.histogram


def test_values_far_out_are_told_to_three_per_cent_among_themselves():
    values = np.random.default_rng(0).normal(5e12, 1e12, 10_000)
    histogram = Histogram.of_floats(values)
    assert len(histogram.bins) < MAX_BINS
    middle = histogram.numbers[np.searchsorted(histogram.counts.cumsum(), 5000)]
    np.testing.assert_allclose(middle * histogram.width, np.median(values), rtol=1 / 31)
