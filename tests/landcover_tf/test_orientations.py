"""The mean over flips and quarter turns."""

import numpy as np

from landcover_tf.orientations import mean_over_orientations


def test_what_moves_with_the_image_comes_back_unmoved():
    image = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    seen = []

    def run(turned):
        seen.append(turned.shape)
        return turned[..., :2] * 2

    found = mean_over_orientations(run, image)
    np.testing.assert_allclose(found, image[..., :2] * 2, rtol=1e-6)
    assert found.dtype == np.float32
    assert sorted(seen) == [(2, 3, 5, 4)] * 4 + [(2, 5, 3, 4)] * 4


def test_what_favours_a_corner_is_shared_by_the_eight_places():
    """One marked pixel: each orientation brings it back to another place of the same orbit."""
    size = 5

    def mark(turned):
        answer = np.zeros((1, size, size, 1), np.float32)
        answer[0, 0, 1] = 8
        return answer

    found = mean_over_orientations(mark, np.zeros((1, size, size, 1)))[0, ..., 0]
    expected = np.zeros((size, size))
    for row, col in ((0, 1), (0, 3), (4, 1), (4, 3)):
        expected[row, col] = expected[col, row] = 1
    np.testing.assert_array_equal(found, expected)
