"""Batches of serialised records to reflectance and dense labels, in graph."""

import numpy as np
import tensorflow as tf

from landcover_tf import records
from landcover_tf.dataset_info import DatasetInfo
from landcover_tf.input_pipeline.pixels import affine_bands, clear, crop_each, missing_pixels
from landcover_tf.legend import IGNORED

# Reflectance of pixels of exactly 0: far below the unit of any sensor's counts, 1e-4.
BLACK = 1e-6


def decode_batch(
    serialized: tf.Tensor, origins: tf.Tensor | None, size: int, info: DatasetInfo
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what the network sees and learns from a batch of records.

    Args:
        serialized: Records, string [batch].
        origins: Row and column of the patch in each record, int32 [batch, 2]; None takes the
            records whole.
        size: Patch height and width in pixels.
        info: The dataset.

    Returns:
        Reflectance, float32 [batch, size, size, bands], 0 in all bands where there is no data and
        nowhere else; dense class index, uint8 [batch, size, size], IGNORED where the label or the
        pixel is unusable.
    """
    patch = records.parse(
        serialized,
        patch_size=info.patch_grid.patch_size,
        bands=len(info.bands),
        dtype=info.dtype,
    )
    stored, label, validity = patch["image"], patch["label"], patch["validity"]
    if origins is not None:
        stored, label, validity = (crop_each(r, origins, size) for r in (stored, label, validity))
    usable = tf.equal(tf.bitwise.bitwise_and(validity, np.uint8(info.invalid_bits)), 0)
    dense = tf.gather(tf.constant(info.legend.index_of_code), tf.cast(label, tf.int32))
    return reflectance(stored, info), tf.where(usable, dense, np.uint8(IGNORED))


def reflectance(stored: tf.Tensor, info: DatasetInfo) -> tf.Tensor:
    """Returns stored values as reflectance.

    Args:
        stored: [batch, size, size, bands] of the dataset's dtype.
        info: The dataset.

    Returns:
        float32 of the same shape, 0 in all bands where all hold the no-data value. Augmentations
        tell by that which pixels are missing, so black pixels have BLACK in its place.
    """
    scaled = affine_bands(
        tf.cast(stored, tf.float32),
        tf.constant(info.scale, tf.float32),
        tf.constant(info.offset, tf.float32),
    )
    missing = missing_pixels(stored, info.nodata)
    black = missing_pixels(scaled) & ~missing
    return clear(clear(scaled, missing), black, BLACK)
