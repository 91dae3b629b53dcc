"""Copy-paste of rare objects: connected pixels of one rare class move to another patch.

After Ghiasi et al. (Simple Copy-Paste, CVPR 2021), with land-cover segments for instances. All
of it runs in graph; the objects come from the patches of the same batch.
"""

from collections.abc import Sequence
from functools import reduce

import tensorflow as tf

from landcover_tf.input_pipeline.components import connected_components
from landcover_tf.input_pipeline.geometric import Batch, choose, on_chosen
from landcover_tf.input_pipeline.pixels import for_each_band, gather_pixels, missing_pixels

# Width of the soft border, in pixels: about the point spread of a 20 m band on the 10 m grid.
FEATHER_PX = 2
# Reach of the brightness correction of the poisson blend into the object.
MEMBRANE_PX = 8
# An object that covers more than this share of a patch would replace the patch.
LARGEST_OBJECT_FRACTION = 0.25


def copy_paste(
    image: tf.Tensor,
    label: tf.Tensor,
    usable: tf.Tensor,
    key: tf.Tensor,
    *,
    probability: float,
    classes: Sequence[int],
    objects: int,
    smallest_px: int,
    blend: str,
) -> Batch:
    """Pastes objects of rare classes from other patches of the batch.

    Args:
        image: Reflectance, float32 [batch, size, size, bands].
        label: Dense classes, uint8 [batch, size, size].
        usable: False for pixels that show no ground, such as clouds, bool [batch, size, size].
        key: Random key.
        probability: Share of examples that receive objects.
        classes: Dense indices of the rare classes.
        objects: Largest number of objects for one example.
        smallest_px: Objects of fewer pixels stay where they are.
        blend: `hard` replaces pixels; `feathered` softens the border; `poisson` lets the
            object's border take half of the brightness difference to its new surroundings.
    """
    keys = tf.unstack(tf.random.split(key, 4))
    rare = is_class(label, classes)
    has_rare = tf.reduce_any(rare, axis=(1, 2))
    chosen = choose(keys[0], image, probability) & tf.reduce_any(has_rare)
    donors = choose_donors(has_rare, keys[1])

    def paste_into(targets: Batch) -> Batch:
        source = tf.boolean_mask(donors, chosen)
        source_label = tf.gather(label, source)
        wanted = choose_objects(
            source_label, tf.gather(rare, source), keys[2], objects=objects, smallest_px=smallest_px
        )
        donor, donor_label, donor_wanted, donor_usable = shift_at_random(
            tf.gather(image, source), source_label, wanted, tf.gather(usable, source), keys[3]
        )
        both_usable = tf.boolean_mask(usable, chosen) & donor_usable
        return paste(*targets, donor, donor_label, donor_wanted, both_usable, blend=blend)

    return on_chosen(chosen, paste_into, (image, label))


def is_class(label: tf.Tensor, classes: Sequence[int]) -> tf.Tensor:
    """Returns True where a dense label is one of `classes`, bool of the same shape."""
    table = tf.scatter_nd(
        [[c] for c in classes] or tf.zeros([0, 1], tf.int32), tf.ones(len(classes), tf.int32), [256]
    )
    return tf.gather(table, tf.cast(label, tf.int32)) > 0


def choose_donors(has_rare: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Returns for each example one with rare objects, another than itself where there is one.

    Args:
        has_rare: bool [batch].
        key: Random key.

    Returns:
        int64 [batch].
    """
    batch = tf.size(has_rare)
    draws = tf.random.stateless_uniform([batch, batch], key)
    itself = tf.eye(batch, dtype=tf.bool)
    return tf.argmax(tf.where(has_rare, tf.where(itself, -1.0, draws), -2.0), axis=1)


def choose_objects(
    label: tf.Tensor, rare: tf.Tensor, key: tf.Tensor, *, objects: int, smallest_px: int
) -> tf.Tensor:
    """Returns the pixels of up to `objects` random connected objects of each example.

    Args:
        label: Dense classes, uint8 [batch, size, size].
        rare: True for pixels of rare classes, bool [batch, size, size].
        key: Random key.
        objects: Largest number of objects.
        smallest_px: Least number of pixels of an object.

    Returns:
        bool [batch, size, size].
    """
    component = connected_components(label, rare)
    shape = tf.shape(component)
    batch, pixels = shape[0], shape[1] * shape[2]
    flat = tf.reshape(component, [batch, pixels])
    number = tf.reshape(tf.range(batch * pixels), [batch, pixels])
    # One more place takes the pixels of no component, number -1.
    area = tf.math.bincount(tf.reshape(flat, [-1]) + 1, minlength=batch * pixels + 1)
    area = tf.gather(area, flat + 1)
    largest = tf.cast(LARGEST_OBJECT_FRACTION * tf.cast(pixels, tf.float32), tf.int32)
    eligible = (flat == number) & (area >= smallest_px) & (area <= largest)
    draws = tf.where(eligible, tf.random.stateless_uniform([batch, pixels], key), -1.0)
    best = tf.math.top_k(draws, k=objects)
    numbers = tf.where(best.values >= 0, tf.gather(number, best.indices, batch_dims=1), -2)
    wanted = tf.reduce_any(flat[:, None, :] == numbers[:, :, None], axis=1)
    return tf.reshape(wanted, shape)


def shift_at_random(
    image: tf.Tensor, label: tf.Tensor, wanted: tf.Tensor, usable: tf.Tensor, key: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns all four moved by the same up to a quarter of their size.

    Where a pixel comes from beyond the edge, it is neither wanted nor usable; image and label
    repeat the edge there, which costs less than to clear it.
    """
    size = tf.shape(image)[1]
    reach = size // 4
    origins = tf.random.stateless_uniform([tf.shape(image)[0], 2], key, 0, 2 * reach + 1, tf.int32)
    places = origins[:, :, None] - reach + tf.range(size)
    nearest = tf.clip_by_value(places, 0, size - 1)
    index = nearest[:, 0, :, None] * size + nearest[:, 1, None, :]
    known = places == nearest
    inside = known[:, 0, :, None] & known[:, 1, None, :]
    image, label, wanted, usable = (
        gather_pixels(raster, index) for raster in (image, label, wanted, usable)
    )
    return image, label, wanted & inside, usable & inside


def paste(
    target: tf.Tensor,
    target_label: tf.Tensor,
    source: tf.Tensor,
    source_label: tf.Tensor,
    wanted: tf.Tensor,
    usable: tf.Tensor,
    *,
    blend: str,
) -> Batch:
    """Returns the target with the wanted pixels of the source on top; no data stays no data.

    Soft borders and brightness come from pixels that are usable in both images, so that a cloud
    beside an object is neither mixed into ground with a label nor taken for its surroundings.
    Ground without a label counts: where labels are sparse, most surroundings are such.

    Args:
        target: Reflectance that receives, float32 [batch, size, size, bands].
        target_label: Its dense classes, uint8 [batch, size, size].
        source: Reflectance of the same shape.
        source_label: Its dense classes.
        wanted: Pixels of the source to paste, bool [batch, size, size].
        usable: Pixels that show ground in both images, bool [batch, size, size].
        blend: `hard`, `feathered` or `poisson`.
    """
    both = ~missing_pixels(target) & ~missing_pixels(source)
    wanted &= both
    usable &= both
    inside = tf.cast(wanted, tf.float32)[..., None]
    if blend == "poisson":
        source += _membrane(target - source, inside, tf.cast(usable, tf.float32)[..., None])
    alpha = inside
    if blend == "feathered":
        soft = box_mean(box_mean(inside, FEATHER_PX), FEATHER_PX)
        # A pixel shows at least half of what its label says, however thin the object is.
        alpha = tf.where(wanted[..., None], tf.maximum(soft, 0.5), tf.minimum(soft, 0.5))
        alpha = tf.where(usable[..., None], alpha, inside)
    image = target + for_each_band(alpha[..., 0], tf.ones(tf.shape(target)[-1:])) * (
        source - target
    )
    return image, tf.where(wanted, source_label, target_label)


def box_mean(raster: tf.Tensor, radius: int) -> tf.Tensor:
    """Returns the mean of the square around each pixel, edges repeated inwards by fewer pixels.

    Args:
        raster: float32 [batch, height, width, channels].
        radius: Pixels on each side of the centre.
    """
    if raster.shape[-1] > 1:
        width = 2 * radius + 1
        rows = tf.nn.avg_pool2d(raster, [width, 1], 1, "SAME")
        return tf.nn.avg_pool2d(rows, [1, width], 1, "SAME")
    # Pooling runs over channels; of one channel, sums of whole images are many times as fast.
    rows = _mean_of_rows(raster[..., 0], radius)
    return tf.transpose(_mean_of_rows(tf.transpose(rows, [0, 2, 1]), radius), [0, 2, 1])[..., None]


def _mean_of_rows(raster: tf.Tensor, radius: int) -> tf.Tensor:
    """Returns the mean of up to `radius` rows on each side, float32 [batch, height, width]."""
    height = tf.shape(raster)[1]

    def total(rows: tf.Tensor) -> tf.Tensor:
        padded = tf.pad(rows, [[0, 0], [radius, radius], [0, 0]])
        return reduce(tf.add, [padded[:, i : i + height] for i in range(2 * radius + 1)])

    return total(raster) / total(tf.ones([1, height, 1]))


def _membrane(difference: tf.Tensor, inside: tf.Tensor, usable: tf.Tensor) -> tf.Tensor:
    """Returns what to add to an object so that its border nears its new surroundings.

    The difference just outside the object is spread inwards by normalised convolution, which
    stands in for the Poisson equation's membrane, and fades with depth: an object keeps the
    spectrum of its class, so at most half of the difference is taken over. Where one of the two
    images shows no ground, there is no difference.

    Args:
        difference: Target less source, float32 [batch, size, size, bands].
        inside: 1 for pixels of objects, else 0, [batch, size, size, 1].
        usable: 1 where both images show ground, else 0, of the same shape.
    """
    ring = (tf.nn.max_pool2d(inside, 3, 1, "SAME") - inside) * usable
    spread = box_mean(tf.concat([difference * ring, ring], axis=-1), MEMBRANE_PX)
    mean = spread[..., :-1] / tf.maximum(spread[..., -1:], 1e-6)
    depth = box_mean(inside, MEMBRANE_PX)
    return mean * tf.clip_by_value(1 - depth, 0.0, 0.5)
