"""The pixels that the baseline learns from."""

import numpy as np
import pytest

from landcover_tf.accuracy.baseline import sample_pixels
from landcover_tf.errors import DatasetError
from landcover_tf.legend import IGNORED


def drawn(labels: list[np.ndarray], pixels: int) -> tuple[np.ndarray, np.ndarray]:
    patches = [(np.dstack([label, label]).astype(np.float32), label) for label in labels]
    count = sum(int((label != IGNORED).sum()) for label in labels)
    return sample_pixels(patches, pixels=pixels, labelled_pixels=count, context=0, seed=0)


def test_sparse_labels_give_as_many_pixels_as_full_ones():
    rng = np.random.default_rng(1)
    full = [rng.integers(0, 3, (128, 128)).astype(np.uint8) for _ in range(4)]
    sparse = [np.where(rng.random(f.shape) < 0.05, f, np.uint8(IGNORED)) for f in full]
    for labels in (full, sparse):
        features, found = drawn(labels, 1000)
        # A standard deviation is at most 32.
        assert len(found) == pytest.approx(1000, abs=130)
        np.testing.assert_array_equal(features[:, 0], found)


def test_all_labelled_pixels_are_the_most():
    label = np.array([[0, IGNORED], [1, 2]], np.uint8)
    features, found = drawn([label], 10**6)
    assert found.tolist() == [0, 1, 2] and features.shape == (3, 2)
    with pytest.raises(DatasetError, match="there are none"):
        drawn([np.full((2, 2), IGNORED, np.uint8)], 10)
