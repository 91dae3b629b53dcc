"""Components are those that scipy finds."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from landcover_tf.input_pipeline.components import connected_components


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    """Returns whether two numberings group the pixels alike."""
    pairs = {(x, y) for x, y in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)}
    return len(pairs) == len({x for x, _ in pairs}) == len({y for _, y in pairs})


@settings(max_examples=25)
@given(arrays(np.uint8, (2, 9, 7), elements=st.integers(0, 3)))
def test_components_are_those_of_scipy(label):
    component = connected_components(tf.constant(label), tf.constant(label > 0)).numpy()
    assert ((component == -1) == (label == 0)).all()
    for example in range(2):
        expected = np.zeros_like(label[example], np.int32)
        for code in (1, 2, 3):
            found, _ = ndimage.label(label[example] == code)
            expected += np.where(found > 0, found + expected.max(), 0)
        assert same_partition(component[example], expected)
    for number in set(component.ravel()) - {-1}:  # That of the last of its pixels.
        assert number == np.flatnonzero(component == number)[-1]


def test_components_of_a_spiral():
    spiral = np.zeros((1, 21, 21), np.uint8)
    row, col, step = 0, 0, 20
    for turn in range(20):
        d_row, d_col = ((0, 1), (1, 0), (0, -1), (-1, 0))[turn % 4]
        for _ in range(step):
            spiral[0, row, col] = 1
            row, col = row + d_row, col + d_col
        step -= 2 if turn % 2 and turn > 1 else 0
        if step <= 0:
            break
    found, _ = ndimage.label(spiral[0])
    component = connected_components(tf.constant(spiral), tf.constant(spiral > 0)).numpy()
    assert same_partition(component[0], found)
