"""What the network sees of stored values."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from landcover_tf.datasets.dataset_info import BandInfo
from landcover_tf.input_pipeline import geometric
from landcover_tf.input_pipeline.decoding import BLACK, reflectance


def test_black_pixels_are_not_taken_for_missing_ones(build):
    """Half an 8-bit image is black, a corner has no data; turned a little, both stay apart."""
    info, _ = build("none")
    info = replace(info, bands=(BandInfo(name="gray", scale=1 / 255),), dtype="uint8", nodata=255.0)
    stored = np.full((1, 16, 16, 1), 51, np.uint8)
    stored[:, :, :8], stored[:, :4, :4] = 0, 255
    got = reflectance(tf.constant(stored), info)
    expected = np.where(stored == 255, 0, np.where(stored == 0, BLACK, 0.2))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    label = tf.constant((stored[..., 0] == 0).astype(np.uint8))
    _, turned = geometric.scale_rotate_shift(
        got,
        label,
        tf.constant([1, 2], tf.int64),
        probability=1.0,
        max_scale=0.0,
        max_rotation_deg=1.0,
        max_shift=0.0,
    )
    assert (turned.numpy() == 1).sum() > 0.7 * (stored == 0).sum()


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", 255), ("uint16", 0), ("int16", -9999), ("float32", 0), ("float32", float("nan"))],
)
@pytest.mark.parametrize(
    ("scale", "offset"),
    [((1e-4,) * 3, (-0.1,) * 3), ((0.5, 0.25, 1.0), (-1.0,) * 3), ((1.0,) * 3, (0.0,) * 3)],
)
def test_reflectance_is_what_numpy_gives(build, dtype, nodata, scale, offset):
    """Missing pixels, black ones (2, 4, 1 of the second scales) and those with some zeros."""
    info, _ = build("none")
    bands = [BandInfo(name=str(n), scale=scale[n], offset=offset[n]) for n in range(3)]
    info = replace(info, bands=tuple(bands), dtype=dtype, nodata=float(nodata))
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 3, (2, 9, 9, 3)).astype(dtype)
    for value in (nodata, (2, 4, 1), 0):
        stored[rng.random((2, 9, 9)) < 0.2] = np.array(value, dtype)
    scaled = stored * np.array(scale, np.float32) + np.array(offset, np.float32)
    held = np.isnan(stored) if np.isnan(nodata) else stored == nodata
    scaled[held.all(axis=-1)] = 0
    scaled[(scaled == 0).all(axis=-1) & ~held.all(axis=-1)] = BLACK
    np.testing.assert_array_equal(reflectance(tf.constant(stored), info), scaled)
    mapped = tf.data.Dataset.from_tensors(stored).map(lambda batch: reflectance(batch, info))
    np.testing.assert_array_equal(next(iter(mapped)), scaled)
