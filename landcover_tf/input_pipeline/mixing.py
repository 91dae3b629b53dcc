"""Augmentations that cut rectangles out of patches or exchange them.

MixUp is left out: a mean of two patches has no class index, and a label of two classes with
weights would change the record, the losses and the metrics for one augmentation. CutMix keeps
every pixel's own class.
"""

import tensorflow as tf

from landcover_tf.input_pipeline.geometric import Batch, choose
from landcover_tf.input_pipeline.pixels import clear
from landcover_tf.legend import IGNORED


def cutout(
    image: tf.Tensor, label: tf.Tensor, key: tf.Tensor, *, probability: float, max_fraction: float
) -> Batch:
    """Makes a rectangle no data and IGNORED, so that nothing is learnt from a hole.

    Args:
        image: Reflectance, float32 [batch, size, size, bands].
        label: Dense classes, uint8 [batch, size, size].
        key: Random key.
        probability: Share of examples with a hole.
        max_fraction: Largest share of the patch's area.
    """
    keys = tf.unstack(tf.random.split(key, 2))
    hole = rectangles(keys[1], image, max_fraction)
    hole &= choose(keys[0], image, probability)[:, None, None]
    return clear(image, hole), tf.where(hole, tf.constant(IGNORED, tf.uint8), label)


def cutmix(
    image: tf.Tensor, label: tf.Tensor, key: tf.Tensor, *, probability: float, max_fraction: float
) -> Batch:
    """Replaces a rectangle, pixels and classes, by that of another patch of the batch.

    Args:
        image: Reflectance, float32 [batch, size, size, bands].
        label: Dense classes, uint8 [batch, size, size].
        key: Random key.
        probability: Share of examples that receive a rectangle.
        max_fraction: Largest share of the patch's area.
    """
    keys = tf.unstack(tf.random.split(key, 3))
    batch = tf.shape(image)[0]
    distance = tf.random.stateless_uniform([], keys[2], 1, tf.maximum(batch, 2), tf.int32)
    received = rectangles(keys[1], image, max_fraction)
    received &= choose(keys[0], image, probability)[:, None, None]
    where = tf.where(received)
    donor = tf.gather_nd(tf.roll(image, distance, axis=0), where)
    mixed = tf.tensor_scatter_nd_update(image, where, donor)
    return mixed, tf.where(received, tf.roll(label, distance, axis=0), label)


def rectangles(key: tf.Tensor, image: tf.Tensor, max_fraction: float) -> tf.Tensor:
    """Returns True inside a random rectangle of each example, bool [batch, size, size].

    The area is drawn evenly up to `max_fraction` of the patch, the ratio of the sides up to 2,
    the place anywhere that holds the whole rectangle.
    """
    size = tf.shape(image)[1]
    draws = tf.random.stateless_uniform([4, tf.shape(image)[0]], key)
    side = tf.sqrt(draws[0] * max_fraction)
    stretch = 2.0 ** (draws[1] - 0.5)
    inside = []
    for extent, place in ((side * stretch, draws[2]), (side / stretch, draws[3])):
        extent = tf.minimum(extent, 1.0)
        start = place * (1 - extent)
        at = (tf.range(tf.cast(size, tf.float32)) + 0.5) / tf.cast(size, tf.float32)
        inside.append((at >= start[:, None]) & (at < (start + extent)[:, None]))
    return inside[0][:, :, None] & inside[1][:, None, :]
