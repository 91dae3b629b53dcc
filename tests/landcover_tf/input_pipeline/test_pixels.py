"""The fast forms give what plain NumPy gives."""

import numpy as np
import pytest
import tensorflow as tf

from landcover_tf.input_pipeline import pixels

RNG = np.random.default_rng(0)


def test_gather_pixels():
    raster = RNG.integers(0, 60000, (3, 9, 7, 2)).astype(np.uint16)
    index = RNG.integers(0, 63, (3, 4, 5)).astype(np.int32)
    expected = np.array([one.reshape(63, 2)[i] for one, i in zip(raster, index, strict=True)])
    np.testing.assert_array_equal(pixels.gather_pixels(tf.constant(raster), index), expected)
    flat = pixels.gather_pixels(tf.constant(raster[..., 0]), index)
    np.testing.assert_array_equal(flat, expected[..., 0])


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 3)])
def test_affine_bands(shape):
    image = RNG.random((2, 4, 4, 3), np.float32)
    gain, offset = RNG.random((2, *shape), np.float32)
    wide = (lambda v: v.reshape(-1, 1, 1, 3)) if len(shape) == 2 else (lambda v: v)
    got = pixels.affine_bands(tf.constant(image), tf.constant(gain), tf.constant(offset))
    np.testing.assert_allclose(got, image * wide(gain) + wide(offset), rtol=1e-6)
    only_gain = pixels.affine_bands(tf.constant(image), tf.constant(gain))
    np.testing.assert_allclose(only_gain, image * wide(gain), rtol=1e-6)


def test_for_each_band():
    field, weights = RNG.random((2, 4, 4), np.float32), RNG.random(3, np.float32)
    got = pixels.for_each_band(tf.constant(field), tf.constant(weights))
    np.testing.assert_allclose(got, field[..., None] * weights, rtol=1e-6)


def test_missing_pixels_need_all_bands():
    raster = RNG.random((2, 4, 4, 3)).astype(np.float32) + 1
    assert not pixels.missing_pixels(tf.constant(raster)).numpy().any()
    raster[0, 1, 1] = raster[1, 3, 0] = 0
    raster[0, 2, 2, 0] = raster[1, 0, 0, 2] = 0
    missing = pixels.missing_pixels(tf.constant(raster)).numpy()
    assert np.argwhere(missing).tolist() == [[0, 1, 1], [1, 3, 0]]


def test_clear():
    raster = RNG.random((2, 4, 4, 3), np.float32)
    gone = RNG.random((2, 4, 4)) < 0.3
    got = pixels.clear(tf.constant(raster), tf.constant(gone))
    np.testing.assert_array_equal(got, np.where(gone[..., None], 0, raster))
    np.testing.assert_array_equal(pixels.clear(tf.constant(raster), tf.zeros_like(gone)), raster)


@pytest.mark.parametrize("size", [5, 6])
def test_look_up(size):
    codes, table = RNG.integers(0, 256, (3, size, size)), RNG.integers(0, 256, 256)
    codes, table = codes.astype(np.uint8), table.astype(np.uint8)
    np.testing.assert_array_equal(pixels.look_up(tf.constant(codes), table), table[codes])
    mapped = tf.data.Dataset.from_tensor_slices(codes).batch(2)
    found = np.concatenate(list(mapped.map(lambda one: pixels.look_up(one, table))))
    np.testing.assert_array_equal(found, table[codes])


def test_overwritten():
    rows = RNG.random((6, 3), np.float32)
    expected = rows.copy()
    expected[[1, 4]] = 0.5
    got = pixels.overwritten(tf.constant(rows) * 1, tf.constant([1, 4], tf.int64), 0.5)
    np.testing.assert_array_equal(got, expected)
