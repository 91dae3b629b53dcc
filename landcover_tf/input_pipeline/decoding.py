"""Batches of serialised records to reflectance and dense labels, in graph."""

import numpy as np
import tensorflow as tf

from landcover_tf.datasets import records
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.input_pipeline.pixels import affine_bands, holds, look_up, overwritten
from landcover_tf.legend import IGNORED

# Reflectance of pixels of exactly 0: far below the unit of any sensor's counts, 1e-4.
BLACK = 1e-6


def stored_rasters(
    serialized: tf.Tensor, info: DatasetInfo
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns stored values, label and validity of one record or of a batch.

    Args:
        serialized: string scalar, or string [batch].
        info: The dataset.

    Returns:
        [(batch,) size, size, bands] of the dataset's dtype; twice uint8 [(batch,) size, size].
    """
    patch = records.parse(
        serialized,
        patch_size=info.patch_grid.patch_size,
        bands=len(info.bands),
        dtype=info.dtype,
    )
    return patch["image"], patch["label"], patch["validity"]


def decode_batch(
    stored: tf.Tensor, label: tf.Tensor, validity: tf.Tensor, info: DatasetInfo
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns what the network sees and learns from a batch of `stored_rasters`, whole or cut.

    Args:
        stored: [batch, size, size, bands] of the dataset's dtype.
        label: Codes, uint8 [batch, size, size].
        validity: Bits, uint8 [batch, size, size].
        info: The dataset.

    Returns:
        Reflectance, float32 [batch, size, size, bands], 0 in all bands where there is no data and
        nowhere else; dense class index, uint8 [batch, size, size], IGNORED where the label or the
        pixel is unusable; whether the pixel is usable, bool of the same shape.
    """
    usable = tf.equal(tf.bitwise.bitwise_and(validity, np.uint8(info.invalid_bits)), 0)
    dense = look_up(label, info.legend.index_of_code)
    return reflectance(stored, info), tf.where(usable, dense, np.uint8(IGNORED)), usable


def reflectance(stored: tf.Tensor, info: DatasetInfo) -> tf.Tensor:
    """Returns stored values as reflectance.

    Args:
        stored: [batch, size, size, bands] of the dataset's dtype.
        info: The dataset.

    Returns:
        float32 of the same shape, 0 in all bands where all hold the no-data value. Augmentations
        tell by that which pixels are missing, so black pixels have BLACK in its place.
    """
    scale, offset = _of_bands(info.scale), _of_bands(info.offset)
    scaled = affine_bands(tf.cast(stored, tf.float32), scale, offset)
    # Only pixels whose first band may be of either kind are looked at further: few, as a rule.
    first = stored[..., 0]
    zero = tf.cast(first, tf.float32) * scale[0] + offset[0] == 0
    pixels, values = (tf.reshape(r, [-1, len(info.bands)]) for r in (stored, scaled))
    suspects = tf.where(tf.reshape(holds(first, info.nodata) | zero, [-1]))[:, 0]
    empty = tf.reduce_all(holds(tf.gather(pixels, suspects), info.nodata), axis=-1)
    missing, present = tf.boolean_mask(suspects, empty), tf.boolean_mask(suspects, ~empty)
    black = tf.boolean_mask(present, tf.reduce_all(tf.gather(values, present) == 0, axis=-1))
    values = overwritten(overwritten(values, missing, 0.0), black, BLACK)
    return tf.ensure_shape(tf.reshape(values, tf.shape(stored)), stored.shape)


def _of_bands(values: tuple[float, ...]) -> tf.Tensor:
    """Returns values of the bands, or the one that all have, which is multiplied much faster."""
    return tf.constant(values[:1] if len(set(values)) == 1 else values, tf.float32)
