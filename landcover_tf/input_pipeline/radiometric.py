"""Augmentations that change reflectance and leave the label as it is.

Every function takes reflectance (float32 [batch, size, size, bands]) and a random key (integer
[2]) and returns changed reflectance; `keep_nodata` restores the zeros of missing pixels.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from landcover_tf.bands import BAND_NAMES, band, sentinel2_names
from landcover_tf.input_pipeline.geometric import choose, on_chosen
from landcover_tf.input_pipeline.pixels import affine_bands, clear, for_each_band, missing_pixels

# Ångström's exponent of continental aerosol: optical depth falls with the wavelength to the 1.3.
ANGSTROM_EXPONENT = 1.3
BLUE_NM = 492.7
# Thick aerosol and thin cloud reflect about this much at every wavelength.
HAZE_REFLECTANCE = 0.45
# Grid cells of the random fields: haze and cloud banks are a few to a patch of 2.5 km.
FIELD_CELLS = 5


def keep_nodata(before: tf.Tensor, after: tf.Tensor) -> tf.Tensor:
    """Returns `after`, with 0 in all bands where `before` has 0 in all bands."""
    return clear(after, missing_pixels(before))


def jitter(
    image: tf.Tensor, key: tf.Tensor, *, probability: float, gain_std: float, offset_std: float
) -> tf.Tensor:
    """Multiplies and shifts every band by its own normal random amounts.

    Half of the variance is common to all bands, as sun height and haze are.

    Args:
        image: Reflectance.
        key: Random key.
        probability: Share of examples that are changed.
        gain_std: Standard deviation of the gain about 1.
        offset_std: Standard deviation of the offset, in reflectance.
    """
    keys = tf.unstack(tf.random.split(key, 3))

    def change(image: tf.Tensor) -> tf.Tensor:
        gain = 1 + gain_std * _half_common_normal(keys[1], image)
        return affine_bands(image, gain, offset_std * _half_common_normal(keys[2], image))

    return on_chosen(choose(keys[0], image, probability), change, image)


def drop_bands(
    image: tf.Tensor, key: tf.Tensor, *, probability: float, fraction: float
) -> tf.Tensor:
    """Sets some bands to 0 throughout a patch, never all of them.

    Args:
        image: Reflectance.
        key: Random key.
        probability: Share of examples that lose bands.
        fraction: Chance of each band of such an example to be lost.
    """
    keys = tf.unstack(tf.random.split(key, 2))
    draws = tf.random.stateless_uniform(_per_band(image), keys[1])
    # The band with the largest draw always stays.
    kept = (draws >= fraction) | (draws == tf.reduce_max(draws, axis=-1, keepdims=True))
    kept |= ~choose(keys[0], image, probability)[:, None]
    return affine_bands(image, tf.cast(kept, image.dtype))


def noise(image: tf.Tensor, key: tf.Tensor, *, probability: float, std: float) -> tf.Tensor:
    """Adds noise, independent for pixels and bands and nearly normal; see `fast_normal`.

    Args:
        image: Reflectance.
        key: Random key.
        probability: Share of examples that are changed.
        std: Largest standard deviation, in reflectance; each example draws its own up to it.
    """
    keys = tf.unstack(tf.random.split(key, 3))

    def change(image: tf.Tensor) -> tf.Tensor:
        level = _uniform_per_example(keys[1], image, 0.0, std)[..., None]
        return image + fast_normal(tf.shape(image), keys[2], level)

    return on_chosen(choose(keys[0], image, probability), change, image)


def haze(
    image: tf.Tensor,
    key: tf.Tensor,
    *,
    probability: float,
    max_haze: float,
    band_names: Sequence[str],
) -> tf.Tensor:
    """Mixes in a bright veil that is thickest in the blue.

    reflectance (1 - t) + 0.45 t with the veil's opacity t = amount * field * weight(band).

    Args:
        image: Reflectance.
        key: Random key.
        probability: Share of examples that are changed.
        max_haze: Largest opacity in the blue band, in [0, 1].
        band_names: Gives the wavelengths; unknown bands count as blue.
    """
    keys = tf.unstack(tf.random.split(key, 3))
    weights = tf.constant(haze_weights(band_names))

    def change(image: tf.Tensor) -> tf.Tensor:
        amount = _uniform_per_example(keys[1], image, 0.0, max_haze)
        opacity = for_each_band(amount * smooth_field(keys[2], image), weights)
        return image + opacity * (HAZE_REFLECTANCE - image)

    return on_chosen(choose(keys[0], image, probability), change, image)


def cloud_shadow(
    image: tf.Tensor,
    key: tf.Tensor,
    *,
    probability: float,
    max_darkening: float,
    band_names: Sequence[str],
) -> tf.Tensor:
    """Darkens soft-edged patches of ground; skylight fills the blue more than the infrared.

    Args:
        image: Reflectance.
        key: Random key.
        probability: Share of examples that are changed.
        max_darkening: Largest share of the light that is lost, in [0, 1].
        band_names: Gives the wavelengths; unknown bands count as blue.
    """
    keys = tf.unstack(tf.random.split(key, 3))
    direct = tf.constant(1 - 0.4 * haze_weights(band_names))

    def change(image: tf.Tensor) -> tf.Tensor:
        darkening = _uniform_per_example(keys[1], image, 0.3 * max_darkening, max_darkening)
        shadow = tf.sigmoid(25 * (smooth_field(keys[2], image) - 0.6))
        return image * (1 - for_each_band(darkening * shadow, direct))

    return on_chosen(choose(keys[0], image, probability), change, image)


def haze_weights(band_names: Sequence[str]) -> np.ndarray:
    """Returns the opacity of haze in each band over that in the blue, at most 1, float32."""
    known = sentinel2_names(band_names)
    wavelengths = [band(name).center_nm if name in BAND_NAMES else BLUE_NM for name in known]
    weights = (BLUE_NM / np.array(wavelengths)) ** ANGSTROM_EXPONENT
    return weights.clip(max=1).astype(np.float32)


def smooth_field(key: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Returns a random field from 0 to 1 for each example, float32 [batch, size, size].

    Random knots on a coarse grid, joined by half waves of a cosine along both axes.
    """
    batch, size = tf.shape(image)[0], tf.shape(image)[1]
    knots = tf.random.stateless_uniform([batch, FIELD_CELLS, FIELD_CELLS], key)
    place = tf.linspace(0.0, FIELD_CELLS - 1.0, size)[:, None]
    distance = tf.minimum(tf.abs(place - tf.range(FIELD_CELLS, dtype=tf.float32)), 1.0)
    blend = 0.5 + 0.5 * tf.cos(np.pi * distance)
    field = blend @ knots @ tf.transpose(blend)
    low = tf.reduce_min(field, axis=(1, 2), keepdims=True)
    high = tf.reduce_max(field, axis=(1, 2), keepdims=True)
    return (field - low) / tf.maximum(high - low, 1e-6)


def fast_normal(shape: tf.Tensor, key: tf.Tensor, std: tf.Tensor | float) -> tf.Tensor:
    """Returns independent numbers of mean 0, nearly normal, float32 of a shape.

    Each is std (n - 16) / sqrt(8) of the number n of ones among 32 random bits, which is binomial:
    steps of 0.35 std, excess kurtosis -1/16. TensorFlow's own takes most of its time for logarithms
    and sines.

    Args:
        shape: int32 [dimensions].
        key: Random key.
        std: Standard deviation, of any shape that fits.
    """
    bits = tf.random.stateless_uniform(shape, key, minval=None, maxval=None, dtype=tf.int32)
    ones = tf.raw_ops.PopulationCount(x=bits)
    return std / 8**0.5 * (tf.cast(ones, tf.float32) - 16)


def _per_band(image: tf.Tensor) -> list[tf.Tensor | int]:
    return [tf.shape(image)[0], tf.shape(image)[3]]


def _half_common_normal(key: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    keys = tf.unstack(tf.random.split(key, 2))
    common = tf.random.stateless_normal([tf.shape(image)[0], 1], keys[0])
    own = tf.random.stateless_normal(_per_band(image), keys[1])
    return (common + own) * 0.5**0.5


def _uniform_per_example(key: tf.Tensor, image: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return tf.random.stateless_uniform([tf.shape(image)[0], 1, 1], key, low, high)
