"""Augmentations that move pixels: image and label go through the same map.

Every function takes a batch (reflectance float32 [batch, size, size, bands], dense label uint8
[batch, size, size]) and a random key (integer [2]) and returns a batch of the same shapes.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

from landcover_tf.input_pipeline.pixels import clear, gather_pixels, missing_pixels
from landcover_tf.legend import IGNORED

Batch = tuple[tf.Tensor, tf.Tensor]
Some = TypeVar("Some")


def choose(key: tf.Tensor, like: tf.Tensor, probability: float) -> tf.Tensor:
    """Returns True for each example with the given probability, bool [batch]."""
    return tf.random.stateless_uniform([tf.shape(like)[0]], key) < probability


def on_chosen(chosen: tf.Tensor, operation: Callable[[Some], Some], batch: Some) -> Some:
    """Returns the batch with `operation` done to the chosen examples alone.

    What is not chosen costs a copy and no computation, so a rare augmentation is a cheap one.

    Args:
        chosen: bool [batch].
        operation: From the chosen examples to the same shapes.
        batch: Image and label, or the image alone.
    """
    where = tf.where(chosen)
    each = tf.nest.map_structure

    def some() -> Any:
        changed = operation(each(lambda part: tf.gather(part, where[:, 0]), batch))
        return each(lambda part, new: tf.tensor_scatter_nd_update(part, where, new), batch, changed)

    result = tf.cond(tf.size(where) > 0, some, lambda: batch)
    shaped: Some = each(lambda old, new: tf.ensure_shape(new, old.shape), batch, result)
    return shaped


def flip_and_turn(
    image: tf.Tensor,
    label: tf.Tensor,
    flip_key: tf.Tensor,
    turn_key: tf.Tensor,
    *,
    flip: float,
    turn: float,
) -> Batch:
    """Mirrors and turns by quarters, which reaches all eight symmetries of the square.

    Args:
        image: Reflectance, float32 [batch, size, size, bands].
        label: Dense classes, uint8 [batch, size, size].
        flip_key: Random key of the mirrors.
        turn_key: Random key of the turns.
        flip: Probability of a mirror image, for rows and for columns.
        turn: Probability of a turn, then by one, two or three quarters alike.
    """
    rows_key, cols_key = tf.unstack(tf.random.split(flip_key, 2))
    keys = tf.unstack(tf.random.split(turn_key, 2))
    quarters = tf.random.stateless_uniform([tf.shape(image)[0]], keys[0], 1, 4, tf.int32)
    quarters = tf.where(choose(keys[1], image, turn), quarters, 0)
    return reorient(
        image, label, choose(rows_key, image, flip), choose(cols_key, image, flip), quarters
    )


def reorient(
    image: tf.Tensor,
    label: tf.Tensor,
    mirror_rows: tf.Tensor,
    mirror_cols: tf.Tensor,
    quarters: tf.Tensor,
) -> Batch:
    """Returns each example mirrored, then turned counter-clockwise, in one gather.

    Args:
        image: Reflectance, float32 [batch, size, size, bands].
        label: Dense classes, uint8 [batch, size, size].
        mirror_rows: Upside down, bool [batch].
        mirror_cols: Left for right, bool [batch].
        quarters: Quarter turns, int32 [batch], 0 to 3.
    """
    size = tf.shape(image)[1]
    forwards = tf.range(size)[None, :]
    odd = (quarters % 2 == 1)[:, None]
    # A quarter turn takes row r, column c from row c, column size - 1 - r of the original.
    backwards_rows = ((quarters >= 2) ^ mirror_rows)[:, None]
    backwards_cols = ((quarters == 1) | (quarters == 2)) ^ mirror_cols
    from_row = tf.where(backwards_rows, size - 1 - forwards, forwards) * size
    from_col = tf.where(backwards_cols[:, None], size - 1 - forwards, forwards)
    down, across = tf.where(odd, from_col, from_row), tf.where(odd, from_row, from_col)
    index = down[:, :, None] + across[:, None, :]
    moved = gather_pixels(image, index), gather_pixels(label, index)
    return tf.ensure_shape(moved[0], image.shape), tf.ensure_shape(moved[1], label.shape)


def scale_rotate_shift(
    image: tf.Tensor,
    label: tf.Tensor,
    key: tf.Tensor,
    *,
    probability: float,
    max_scale: float,
    max_rotation_deg: float,
    max_shift: float,
) -> Batch:
    """Scales, rotates and shifts about the centre.

    Images are interpolated bilinearly, labels taken from the nearest pixel. What comes from
    outside, and pixels mixed with no data, become no data and IGNORED.

    Args:
        image: Reflectance, float32 [batch, size, size, bands].
        label: Dense classes, uint8 [batch, size, size].
        key: Random key.
        probability: Share of examples that are moved.
        max_scale: 0.25 draws magnifications in [1/1.25, 1.25], evenly in the logarithm.
        max_rotation_deg: Largest rotation in degrees, both ways.
        max_shift: Largest shift along each axis as a share of the size.
    """
    keys = tf.unstack(tf.random.split(key, 2))

    def move(batch: Batch) -> Batch:
        image, label = batch
        draws = tf.random.stateless_uniform([tf.shape(image)[0], 4], keys[1], -1.0, 1.0)
        magnification = tf.exp(draws[:, 0] * math.log1p(max_scale))
        angle = draws[:, 1] * math.radians(max_rotation_deg)
        shift = draws[:, 2:] * max_shift * tf.cast(tf.shape(image)[1], tf.float32)
        return warp(image, label, affine_coefficients(magnification, angle, shift, image))

    return on_chosen(choose(keys[0], image, probability), move, (image, label))


def affine_coefficients(
    magnification: tf.Tensor, angle: tf.Tensor, shift: tf.Tensor, image: tf.Tensor
) -> tf.Tensor:
    """Returns the map from output to input pixels, float32 [batch, 8] as `warp` wants it.

    Args:
        magnification: Size of things in the output over that in the input, [batch].
        angle: Counter-clockwise rotation as seen on the picture, radians [batch].
        shift: Rows and columns by which the content moves down and right, [batch, 2].
        image: Gives the size.
    """
    centre = (tf.cast(tf.shape(image)[1], tf.float32) - 1) / 2
    cos, sin = tf.cos(angle) / magnification, tf.sin(angle) / magnification
    # x_in = cos (x - cx - dx) - sin (y - cy - dy) + cx; y_in = sin (..) + cos (..) + cy.
    x_zero, y_zero = centre + shift[:, 1], centre + shift[:, 0]
    zero = tf.zeros_like(cos)
    return tf.stack(
        [
            cos,
            -sin,
            centre - cos * x_zero + sin * y_zero,
            sin,
            cos,
            centre - sin * x_zero - cos * y_zero,
            zero,
            zero,
        ],
        axis=1,
    )


def warp(image: tf.Tensor, label: tf.Tensor, coefficients: tf.Tensor) -> Batch:
    """Returns the batch seen through projective maps from output to input pixels.

    Args:
        image: Reflectance, float32 [batch, size, size, bands].
        label: Dense classes, uint8 [batch, size, size].
        coefficients: a0, a1, a2, b0, b1, b2, c0, c1 of
            x_in = (a0 x + a1 y + a2) / (c0 x + c1 y + 1), y_in likewise; float32 [batch, 8].
    """
    has_data = tf.cast(~missing_pixels(image), image.dtype)
    weight = _transform(has_data[..., None], coefficients, "BILINEAR", 0.0)[..., 0]
    # A pixel partly made of no data would have a reflectance that nothing on the ground has.
    partial = weight <= 0.999
    image = clear(_transform(image, coefficients, "BILINEAR", 0.0), partial)
    label = _transform(label[..., None], coefficients, "NEAREST", float(IGNORED))[..., 0]
    return image, tf.where(partial, tf.constant(IGNORED, tf.uint8), label)


def _transform(
    raster: tf.Tensor, coefficients: tf.Tensor, interpolation: str, fill: float
) -> tf.Tensor:
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=raster,
        transforms=coefficients,
        output_shape=tf.shape(raster)[1:3],
        fill_value=fill,
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )
