"""Strata with enough points, and those with too few."""

import numpy as np
import pytest

from landcover_tf.accuracy.strata import arrange
from landcover_tf.errors import SampleError

POINTS = np.array([10, 10, 20])
IDS = ("1", "2", "3")


def test_a_stratum_of_one_pixel_needs_no_second_point():
    strata = arrange(POINTS, {10: 500, 20: 1}, (), IDS)
    assert strata.codes == (10, 20)
    assert strata.of_point.tolist() == [0, 0, 1]


def test_one_point_of_two_pixels_is_too_few():
    with pytest.raises(SampleError, match=r"stratum 20 \(2 px\) has 1 labelled point; label more"):
        arrange(POINTS, {10: 500, 20: 2}, (), IDS)
