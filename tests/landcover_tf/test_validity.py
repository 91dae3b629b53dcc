"""Validity bits: their numbers, and the shares of pixels that have them."""

import numpy as np

from landcover_tf.validity import (
    INVALID_FOR_TRAINING,
    ValidityBit,
    fractions_of_counts,
    has_bit,
    usable,
)


def test_bits_are_the_documented_numbers():
    assert [int(b) for b in ValidityBit] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert INVALID_FOR_TRAINING == 1 | 2 | 4 | 8 | 16 | 32 | 128


def test_snow_stays_usable():
    values = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128, 65], np.uint8)
    assert usable(values).tolist() == [True] + [False] * 6 + [True, False, False]
    assert usable(values, 1).sum() == 8


def test_a_bit_is_found_beside_others():
    values = np.array([0, 1, 32, 33, 223], np.uint8)
    assert has_bit(values, ValidityBit.SHADOW).tolist() == [False, False, True, True, False]


def test_fractions():
    values = np.array([[0, 1], [9, 64]], np.uint8)
    shares = fractions_of_counts(np.bincount(values.ravel(), minlength=256))
    assert shares["nodata"] == 0.5 and shares["cloud"] == 0.25 and shares["snow"] == 0.25
    assert shares["unusable"] == 0.5
