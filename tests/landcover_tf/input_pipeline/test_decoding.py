"""What the network sees of stored values."""

from dataclasses import replace

import numpy as np
import tensorflow as tf

from landcover_tf.dataset_info import BandInfo
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
