"""The whole chain is the same eagerly and in Dataset.map, and keeps its promises."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from landcover_tf.errors import ConfigError
from landcover_tf.input_pipeline.augment import augment
from landcover_tf.input_pipeline.augmentation_settings import (
    PRESETS,
    PROBABILITIES,
    AugmentationSettings,
)
from landcover_tf.input_pipeline.sampling import rare_classes, repeat_factors, times_seen
from landcover_tf.legend import IGNORED

BANDS = ("B02", "B03", "B04", "B08")
KEY = tf.constant([5, 6], tf.int64)


def batch(count: int = 4, size: int = 16) -> tuple[tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(0)
    image = rng.uniform(0.05, 0.6, (count, size, size, len(BANDS))).astype(np.float32)
    label = np.repeat(np.repeat(rng.integers(0, 3, (count, size // 4, size // 4)), 4, 1), 4, 2)
    image[:, :2], label[:, :2] = 0, IGNORED
    return tf.constant(image), tf.constant(label.astype(np.uint8))


def only(name: str, probability: float = 1.0) -> AugmentationSettings:
    return AugmentationSettings(**{name: probability})


def run(image, label, settings, key=KEY):
    usable = tf.ones_like(label, tf.bool)
    return augment(image, label, usable, key, settings, band_names=BANDS, rare_classes=(2,))


@pytest.mark.parametrize("settings", [*map(only, PROBABILITIES), PRESETS["strong"]])
def test_eager_and_mapped_agree(settings):
    image, label = batch()
    eager = run(image, label, settings)

    dataset = tf.data.Dataset.from_tensors((image, label, KEY))
    mapped = next(iter(dataset.map(lambda image, label, key: run(image, label, settings, key))))
    for one, other in zip(eager, mapped, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert mapped[0].shape == image.shape and mapped[1].shape == label.shape
    assert mapped[0].dtype == tf.float32 and mapped[1].dtype == tf.uint8


@pytest.mark.parametrize("name", PROBABILITIES)
def test_each_changes_something_and_keeps_the_contract(name):
    image, label = batch()
    new_image, new_label = (t.numpy() for t in run(image, label, only(name)))
    assert not (
        np.array_equal(new_image, image.numpy()) and np.array_equal(new_label, label.numpy())
    )
    assert np.isfinite(new_image).all()
    missing = (new_image == 0).all(axis=-1)
    assert (new_label[missing] == IGNORED).all()
    assert set(np.unique(new_label)) <= {0, 1, 2, IGNORED}


@pytest.mark.parametrize("name", ["jitter", "haze", "cloud_shadow", "noise"])
def test_pixels_without_data_are_not_relit(name):
    image, label = batch()
    new_image = run(image, label, only(name))[0].numpy()
    assert not new_image[:, :2].any() and new_image[:, 2:].all()


def test_none_changes_nothing():
    image, label = batch()
    for new, old in zip(run(image, label, PRESETS["none"]), (image, label), strict=True):
        np.testing.assert_array_equal(new, old)


def test_batches_of_one_and_of_unknown_size():
    image, label = batch(count=5)
    dataset = tf.data.Dataset.from_tensor_slices((image, label)).batch(2)
    mapped = dataset.map(lambda image, label: run(image, label, PRESETS["strong"]))
    assert [len(i) for i, _ in mapped] == [2, 2, 1]


def test_switching_one_off_leaves_the_others_as_they_were():
    image, label = batch()
    both = AugmentationSettings(flip=0.5, turn=1.0, jitter=0.0)
    lit = replace(both, jitter=1.0)
    np.testing.assert_array_equal(run(image, label, both)[1], run(image, label, lit)[1])


def test_presets_grow_stronger():
    names = ("none", "light", "standard", "strong")
    levels = [sum(getattr(PRESETS[n], p) for p in PROBABILITIES) for n in names]
    assert levels == sorted(levels) and len(set(levels)) == 4


def test_repeat_factors_by_hand():
    # Shares of the patches: class 0 in all, class 1 in 1 of 4, class 2 in 2 of 4, class 3 nowhere.
    pixels = np.array([[5, 0, 0, 0], [5, 1, 0, 0], [5, 0, 9, 0], [5, 0, 9, 0]])
    root2 = np.sqrt(2)
    np.testing.assert_allclose(repeat_factors(pixels, 0.5), [1, root2, 1, 1])
    np.testing.assert_allclose(repeat_factors(pixels, 1.0), [1, 2, root2, root2])
    np.testing.assert_allclose(repeat_factors(pixels, 0.0), 1)
    with pytest.raises(ConfigError, match="oversampling"):
        repeat_factors(pixels, 1.1)


def test_systematic_rounding_keeps_means_and_totals():
    factors = np.array([1.0, 2.3, 1.25, 3.14])
    offsets = (np.arange(1000) + 0.5) / 1000
    seen = np.stack([times_seen(factors, tf.constant(o, tf.float64)).numpy() for o in offsets])
    np.testing.assert_allclose(seen.mean(axis=0), factors, atol=0.01)
    assert set(seen.sum(axis=1)) == {7, 8}
    assert (np.abs(seen - factors) < 1).all()


def test_rare_classes_have_less_than_half_of_an_even_share(dataset):
    info, _ = dataset
    # Three classes: less than a sixth of the pixels. Class 30 has 4 of some 1600.
    assert rare_classes(info) == (2,)
