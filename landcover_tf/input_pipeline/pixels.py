"""Per-pixel and per-band arithmetic on batches, in the forms that TensorFlow runs fast on a CPU.

Broadcasting along the innermost axis of 13 bands is not vectorised and costs four to six times
what the same arithmetic costs on whole rows, so these functions work on rows of size * bands
values, on an outer product, or on the few pixels concerned.
"""

import math

import numpy as np
import tensorflow as tf


def gather_pixels(raster: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Returns pixels by their number within each example.

    Args:
        raster: [batch, height, width] or [batch, height, width, bands].
        index: row * width + column, int32 [batch, rows, columns].

    Returns:
        [batch, rows, columns] or [batch, rows, columns, bands].
    """
    shape = tf.shape(raster)
    flat = tf.reshape(raster, tf.concat([[shape[0], shape[1] * shape[2]], shape[3:]], axis=0))
    gathered = tf.gather(flat, index, axis=1, batch_dims=1)
    return tf.ensure_shape(gathered, [*index.shape, *raster.shape[3:]])


def affine_bands(
    image: tf.Tensor, gain: tf.Tensor | None = None, offset: tf.Tensor | None = None
) -> tf.Tensor:
    """Returns image * gain + offset.

    Args:
        image: float32 [batch, size, size, bands].
        gain: One factor per band, float32 [bands] or [batch, bands]; or [1] for all; None is 1.
        offset: One summand per band, likewise; None is 0.
    """
    shape = tf.shape(image)
    rows = tf.reshape(image, [shape[0], shape[1], shape[2] * shape[3]])
    if gain is not None:
        rows *= _along_row(gain, shape[2])
    if offset is not None:
        rows += _along_row(offset, shape[2])
    return tf.ensure_shape(tf.reshape(rows, shape), image.shape)


def for_each_band(field: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns field * weights, float32 [..., bands], of a field [...] and weights [bands]."""
    return tf.matmul(field[..., None], weights[None, :])


def missing_pixels(raster: tf.Tensor) -> tf.Tensor:
    """Returns True where all bands hold 0, bool [batch, height, width].

    Only pixels whose first band holds it are looked at further; as a rule there are none.

    Args:
        raster: [batch, height, width, bands], of numbers.
    """
    candidates = raster[..., 0] == 0

    def checked() -> tf.Tensor:
        where = tf.where(candidates)
        missing = tf.reduce_all(tf.gather_nd(raster, where) == 0, axis=-1)
        return tf.tensor_scatter_nd_update(candidates, where, missing)

    return tf.cond(tf.reduce_any(candidates), checked, lambda: candidates)


def holds(values: tf.Tensor, nodata: float) -> tf.Tensor:
    """Returns which values are `nodata`, NaN among them, bool of the same shape."""
    if not math.isnan(nodata):
        return values == tf.cast(nodata, values.dtype)
    return tf.math.is_nan(values) if values.dtype.is_floating else tf.zeros_like(values, tf.bool)


def look_up(codes: tf.Tensor, table: np.ndarray) -> tf.Tensor:
    """Returns `table[codes]`.

    Args:
        codes: uint8 [batch, height, width].
        table: One value for each code, uint8 [256].
    """
    height, width = codes.shape[1:]
    if height * width % 2:
        return tf.gather(tf.constant(table), tf.cast(codes, tf.int32))
    # TensorFlow copies value by value, two bytes as fast as one: pairs halve the time.
    pairs = table[np.arange(65536, dtype=np.uint16).view(np.uint8)].view(np.uint16)
    both = tf.bitcast(tf.reshape(codes, [-1, height * width // 2, 2]), tf.uint16)
    found = tf.gather(tf.constant(pairs), tf.cast(both, tf.int32))
    return tf.reshape(tf.bitcast(found, tf.uint8), [-1, height, width])


def clear(raster: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Returns the raster ([batch, height, width, bands]) with 0 in all bands of `pixels`."""

    def cleared() -> tf.Tensor:
        where = tf.where(pixels)
        values = tf.zeros([tf.shape(where)[0], tf.shape(raster)[-1]], raster.dtype)
        return tf.tensor_scatter_nd_update(raster, where, values)

    return tf.ensure_shape(tf.cond(tf.reduce_any(pixels), cleared, lambda: raster), raster.shape)


def overwritten(pixels: tf.Tensor, where: tf.Tensor, value: float) -> tf.Tensor:
    """Returns `pixels`, with `value` in all bands of some, and changes the tensor itself.

    `tf.tensor_scatter_nd_update` always copies the whole on a CPU (TensorFlow 2.21). So what is
    given must be a result that nothing else reads.

    Args:
        pixels: float32 [pixels, bands].
        where: Their numbers, int64 [n].
        value: What they get.
    """
    values = tf.fill([tf.size(where), tf.shape(pixels)[1]], value)
    return tf.raw_ops.InplaceUpdate(x=pixels, i=tf.cast(where, tf.int32), v=values)


def _along_row(values: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    repeats = 1 if values.shape[-1] == 1 else width
    return tf.tile(tf.reshape(values, [-1, tf.shape(values)[-1]]), [1, repeats])[:, None, :]
