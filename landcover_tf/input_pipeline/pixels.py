"""Per-pixel and per-band arithmetic on batches, in the forms that TensorFlow runs fast on a CPU.

Broadcasting along the innermost axis of 13 bands is not vectorised and costs four to six times
what the same arithmetic costs on whole rows, so these functions work on rows of size * bands
values, on an outer product, or on the few pixels concerned.
"""

import math

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


def crop_each(raster: tf.Tensor, origins: tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
    """Returns a square of each example, from its own place.

    Args:
        raster: [batch, height, width] or [batch, height, width, bands].
        origins: First row and column, int32 [batch, 2]; the square lies inside the raster.
        size: Height and width of the square.
    """
    width, steps = tf.shape(raster)[2], tf.range(size)
    rows = (origins[:, :1] + steps) * width
    cols = origins[:, 1:] + steps
    return gather_pixels(raster, rows[:, :, None] + cols[:, None, :])


def affine_bands(
    image: tf.Tensor, gain: tf.Tensor | None = None, offset: tf.Tensor | None = None
) -> tf.Tensor:
    """Returns image * gain + offset.

    Args:
        image: float32 [batch, size, size, bands].
        gain: One factor per band, float32 [bands] or [batch, bands]; None is 1.
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


def missing_pixels(raster: tf.Tensor, nodata: float = 0.0) -> tf.Tensor:
    """Returns True where all bands hold `nodata`, bool [batch, height, width].

    Only pixels whose first band holds it are looked at further; as a rule there are none.

    Args:
        raster: [batch, height, width, bands], any dtype that can be compared with `nodata`.
        nodata: The stored value; NaN is matched as such.
    """

    def absent(values: tf.Tensor) -> tf.Tensor:
        if not math.isnan(nodata):
            return values == tf.cast(nodata, values.dtype)
        return (
            tf.math.is_nan(values) if values.dtype.is_floating else tf.zeros_like(values, tf.bool)
        )

    candidates = absent(raster[..., 0])

    def checked() -> tf.Tensor:
        where = tf.where(candidates)
        missing = tf.reduce_all(absent(tf.gather_nd(raster, where)), axis=-1)
        return tf.tensor_scatter_nd_update(candidates, where, missing)

    return tf.cond(tf.reduce_any(candidates), checked, lambda: candidates)


def clear(raster: tf.Tensor, pixels: tf.Tensor, value: float = 0.0) -> tf.Tensor:
    """Returns the raster ([batch, height, width, bands]) with `value` in all bands of `pixels`."""

    def cleared() -> tf.Tensor:
        where = tf.where(pixels)
        values = tf.fill([tf.shape(where)[0], tf.shape(raster)[-1]], tf.cast(value, raster.dtype))
        return tf.tensor_scatter_nd_update(raster, where, values)

    return tf.ensure_shape(tf.cond(tf.reduce_any(pixels), cleared, lambda: raster), raster.shape)


def _along_row(values: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    values = tf.reshape(values, [-1, tf.shape(values)[-1]])
    return tf.tile(values, [1, width])[:, None, :]
