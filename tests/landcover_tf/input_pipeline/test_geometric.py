"""Pixels and classes move together, and where they should."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from landcover_tf.input_pipeline import geometric
from landcover_tf.legend import IGNORED

KEY = tf.constant([3, 4], tf.int64)


def coded_batch(batch: int = 6, size: int = 12) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns labels 1..100 at random and an image whose first band repeats them."""
    rng = np.random.default_rng(0)
    label = rng.integers(1, 100, (batch, size, size)).astype(np.uint8)
    image = np.stack([label.astype(np.float32), rng.random(label.shape, np.float32) + 1], axis=-1)
    return tf.constant(image), tf.constant(label)


def symmetries(array: np.ndarray) -> list[np.ndarray]:
    return [np.rot90(side, k) for side in (array, array[::-1]) for k in range(4)]


def which(moved: np.ndarray, original: np.ndarray) -> int:
    found = [i for i, s in enumerate(symmetries(original)) if np.array_equal(moved, s)]
    assert len(found) == 1
    return found[0]


def test_flips_and_turns_reach_all_eight_symmetries_and_move_labels_along():
    image, label = coded_batch(batch=200, size=4)
    keys = tf.random.split(KEY, 2)
    moved = geometric.flip_and_turn(image, label, keys[0], keys[1], flip=0.5, turn=0.75)
    np.testing.assert_array_equal(moved[0][..., 0].numpy(), moved[1].numpy())
    seen = [which(m, o) for m, o in zip(moved[1].numpy(), label.numpy(), strict=True)]
    counts = np.bincount(seen, minlength=8)
    # 200 draws of 8 even outcomes: 25 +- 4.7.
    assert counts.min() > 8 and counts.max() < 45


def test_turn_alone_never_mirrors():
    image, label = coded_batch(batch=60, size=4)
    _, turned = geometric.flip_and_turn(image, label, KEY, KEY, flip=0.0, turn=1.0)
    seen = [which(m, o) for m, o in zip(turned.numpy(), label.numpy(), strict=True)]
    assert set(seen) == {1, 2, 3}


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirror", [(False, False), (True, False), (False, True), (True, True)])
def test_reorient_mirrors_first_and_turns_then(quarters, mirror):
    image, label = coded_batch(batch=3, size=5)
    rows, cols = (tf.fill([3], side) for side in mirror)
    moved = geometric.reorient(image, label, rows, cols, tf.fill([3], quarters))
    for new, old in zip(moved, (image.numpy(), label.numpy()), strict=True):
        old = old[:, ::-1] if mirror[0] else old
        old = old[:, :, ::-1] if mirror[1] else old
        np.testing.assert_array_equal(new, np.rot90(old, quarters, axes=(1, 2)))


def coefficients(image, magnification=1.0, angle=0.0, shift=(0.0, 0.0)) -> tf.Tensor:
    batch = image.shape[0]
    return geometric.affine_coefficients(
        tf.fill([batch], magnification),
        tf.fill([batch], angle),
        tf.constant([shift] * batch, tf.float32),
        image,
    )


def test_whole_pixel_shift_fills_with_ignored():
    image, label = coded_batch()
    moved, moved_label = geometric.warp(image, label, coefficients(image, shift=(2.0, -3.0)))
    np.testing.assert_array_equal(moved_label[:, 2:, :-3], label[:, :-2, 3:])
    np.testing.assert_allclose(moved[:, 2:, :-3], image[:, :-2, 3:], rtol=1e-6)
    assert (moved_label.numpy()[:, :2] == IGNORED).all() and (moved.numpy()[:, :2] == 0).all()
    assert (moved_label.numpy()[:, :, -3:] == IGNORED).all()


def test_quarter_turn_is_counter_clockwise():
    image, label = coded_batch()
    moved, moved_label = geometric.warp(image, label, coefficients(image, angle=np.pi / 2))
    inner = slice(1, -1)  # Rounding may put the rim a hair outside.
    np.testing.assert_array_equal(
        moved_label[:, inner, inner], np.rot90(label, axes=(1, 2))[:, inner, inner]
    )
    np.testing.assert_allclose(
        moved[:, inner, inner], np.rot90(image, axes=(1, 2))[:, inner, inner], rtol=1e-4
    )


def test_general_map_agrees_with_scipy():
    rng = np.random.default_rng(1)
    image = ndimage.gaussian_filter(rng.random((1, 40, 40, 1)), (0, 2, 2, 0)).astype(np.float32) + 1
    label = (image[..., 0] * 50).astype(np.uint8)
    magnification, angle, shift = 1.2, 0.3, np.array([1.5, -2.25])
    moved, moved_label = geometric.warp(
        tf.constant(image),
        tf.constant(label),
        coefficients(image, magnification, angle, tuple(shift)),
    )
    # Counter-clockwise on the picture, where rows grow downwards: input = M (output - c - s) + c.
    cos, sin = np.cos(angle) / magnification, np.sin(angle) / magnification
    matrix = np.array([[cos, sin], [-sin, cos]])
    centre = np.array([19.5, 19.5])
    offset = centre - matrix @ (centre + shift)
    expected = ndimage.affine_transform(image[0, ..., 0], matrix, offset, order=1, cval=0)
    whole = moved.numpy()[0, ..., 0] != 0
    assert whole.mean() > 0.8
    np.testing.assert_allclose(moved.numpy()[0, ..., 0][whole], expected[whole], atol=1e-4)
    nearest = ndimage.affine_transform(label[0], matrix, offset, order=0, cval=IGNORED)
    assert (moved_label.numpy()[0] == nearest)[whole].mean() > 0.99  # Ties may round either way.


def test_magnification_grows_things():
    image = np.ones((1, 41, 41, 1), np.float32)
    label = np.zeros((1, 41, 41), np.uint8)
    label[0, 15:26, 15:26] = 1  # 121 px about the centre
    _, moved = geometric.warp(tf.constant(image), tf.constant(label), coefficients(image, 2.0))
    assert 400 <= (moved.numpy() == 1).sum() <= 560


def test_missing_pixels_do_not_bleed():
    image, label = (t.numpy() for t in coded_batch())
    image[:, 4:8, 4:8] = 0
    label[:, 4:8, 4:8] = IGNORED
    moved, moved_label = geometric.warp(
        tf.constant(image), tf.constant(label), coefficients(image, shift=(0.5, 0.0))
    )
    # Half a pixel down: row 4 is now half row 3, half missing.
    assert (moved.numpy()[:, 4:9, 4:8] == 0).all()
    assert (moved_label.numpy()[:, 4:9, 4:8] == IGNORED).all()


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_only_chosen_examples_change(probability):
    image, label = coded_batch(batch=20)
    settings = {"max_scale": 0.3, "max_rotation_deg": 30.0, "max_shift": 0.2}
    moved, _ = geometric.scale_rotate_shift(image, label, KEY, probability=probability, **settings)
    changed = (moved.numpy() != image.numpy()).any(axis=(1, 2, 3))
    if probability in (0, 1):
        assert (changed == bool(probability)).all()
    else:
        assert 3 < changed.sum() < 17
