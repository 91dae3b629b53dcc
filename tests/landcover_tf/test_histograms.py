from functools import reduce
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_tf.histograms import MAX_BINS, Histogram


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


@settings(max_examples=60, deadline=None)
@given(numbers)
def test_parts_merge_to_the_whole_in_any_order(parts):
    arrays = [np.array(part) for part in parts]
    with pytest.MonkeyPatch.context() as patch:
        # So that a few values are too many.
        patch.setattr("landcover_tf.histograms.MAX_BINS", 4)
        whole = of(np.concatenate(arrays))
        assert len(whole.bins) <= 4
        for order in permutations([of(array) for array in arrays]):
            assert reduce(Histogram.merge, order) == whole
    values, width = np.concatenate(arrays), whole.width
    assert np.log2(width) % 1 == 0
    for number, count in whole.bins:
        inside = (values >= number * width) & (values < (number + 1) * width)
        assert inside.sum() == count


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
