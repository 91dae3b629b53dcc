"""Objects keep their class where pasted, and their surroundings are what they were."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from landcover_tf.input_pipeline import copy_paste as module
from landcover_tf.input_pipeline.mixing import cutmix, cutout, rectangles
from landcover_tf.legend import IGNORED

KEY = tf.constant([3, 4], tf.int64)
RARE = 2


def scene(batch: int = 4, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Returns patches of class 0 whose reflectance is their number; patch 1 has two rare objects.

    They are a 4 x 5 rectangle of reflectance 7 and a single pixel.
    """
    numbers = np.arange(1, batch + 1, dtype=np.float32)
    image = np.ones((batch, size, size, 3), np.float32) * numbers[:, None, None, None]
    label = np.zeros((batch, size, size), np.uint8)
    label[1, 14:18, 13:18] = RARE
    label[1, 2, 2] = RARE
    image[1][label[1] == RARE] = 7
    return image, label


def usable_batch(image: np.ndarray, label: np.ndarray) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns image, label and usable pixels, which are all."""
    return tf.constant(image), tf.constant(label), tf.ones_like(label, tf.bool)


PASTE = {"probability": 1.0, "classes": [RARE], "objects": 3, "smallest_px": 2}


def test_hard_paste_moves_whole_objects_with_their_class():
    image, label = scene()
    pasted, pasted_label = (
        t.numpy()
        for t in module.copy_paste(*usable_batch(image, label), KEY, **PASTE, blend="hard")
    )
    for example in (0, 2, 3):
        new = pasted_label[example] == RARE
        assert new.sum() == 20  # The single pixel is too small to be copied.
        found, count = ndimage.label(new)
        assert count == 1
        rows, cols = ndimage.find_objects(found)[0]
        assert (rows.stop - rows.start, cols.stop - cols.start) == (4, 5)
        assert (pasted[example][new] == 7).all()
        np.testing.assert_array_equal(pasted[example][~new], image[example][~new])


@pytest.mark.parametrize("blend", ["feathered", "poisson"])
def test_soft_blends_change_the_border_and_keep_class_and_core(blend):
    image, label = scene(size=64)
    label[1], image[1] = 0, 2
    label[1, 20:46, 20:46], image[1, 20:46, 20:46] = RARE, 7
    pasted, pasted_label = (
        t.numpy() for t in module.copy_paste(*usable_batch(image, label), KEY, **PASTE, blend=blend)
    )
    new = pasted_label[0] == RARE
    assert new.sum() > 200
    depth = ndimage.distance_transform_edt(np.pad(new, 20))[20:-20, 20:-20]
    np.testing.assert_allclose(pasted[0][depth > 9], 7, atol=1e-4)
    border = pasted[0][(depth == 1) & new]
    assert border.mean() < 6.9 and border.min() >= 4 - 1e-4  # At least half of 7 over 1.
    far = ndimage.distance_transform_edt(~new) > 6
    assert (pasted[0][far] == image[0][far]).all()
    if blend == "poisson":
        assert (pasted[0][~new] == 1).all()


@pytest.mark.parametrize("missing_from", ["source", "target"])
def test_missing_pixels_beside_an_object_are_no_black_surroundings(missing_from):
    """An object at the edge of data in equally bright surroundings stays as bright."""
    images = {name: np.full((1, 64, 64, 3), 0.3, np.float32) for name in ("target", "source")}
    images[missing_from][:, :, :10] = 0
    wanted = np.zeros((1, 64, 64), bool)
    wanted[:, 20:40, 10:30] = True
    label = np.zeros((1, 64, 64), np.uint8)
    pasted, _ = module.paste(
        tf.constant(images["target"]),
        tf.constant(label),
        tf.constant(images["source"]),
        tf.constant(label + RARE),
        tf.constant(wanted),
        tf.ones_like(wanted),
        blend="poisson",
    )
    np.testing.assert_allclose(pasted.numpy()[wanted], 0.3, rtol=1e-5)


@pytest.mark.parametrize("blend", ["feathered", "poisson"])
@pytest.mark.parametrize("cloudy_in", ["source", "target"])
def test_a_cloud_beside_an_object_shows_in_no_pixel_with_a_label(blend, cloudy_in):
    """It brightened ground by up to 0.27, and the poisson blend gave objects -0.15."""
    image = np.full((2, 64, 64, 3), 0.1, np.float32)  # Receives, gives.
    image[1, 20:40, 20:40] = 0.2
    label = np.zeros((2, 64, 64), np.uint8)
    label[1, 20:40, 20:40] = RARE
    usable = np.ones((2, 64, 64), bool)
    # Of the source, all around the object; of the target, all but a corner.
    cloudy = (label[1] != RARE) if cloudy_in == "source" else np.tri(64, k=40, dtype=bool)
    number = 1 if cloudy_in == "source" else 0
    image[number][cloudy], label[number][cloudy], usable[number][cloudy] = 0.8, IGNORED, False
    pasted, pasted_label = (
        t.numpy()[0]
        for t in module.copy_paste(
            tf.constant(image), tf.constant(label), tf.constant(usable), KEY, **PASTE, blend=blend
        )
    )
    object_, ground = pasted_label == RARE, pasted_label == 0
    assert object_.sum() == 400 and ground.sum() > 100
    assert pasted[object_].min() > 0.15 - 1e-6 and pasted[object_].max() < 0.2 + 1e-6
    assert pasted[ground].min() > 0.1 - 1e-6 and pasted[ground].max() < 0.15 + 1e-6


@pytest.mark.parametrize("blend", ["feathered", "poisson"])
def test_ground_without_labels_is_surroundings_like_any_other(blend):
    image, label = scene(batch=2, size=64)
    pasted, _ = module.copy_paste(*usable_batch(image, label), KEY, **PASTE, blend=blend)
    label[label == 0] = IGNORED
    sparse, _ = module.copy_paste(*usable_batch(image, label), KEY, **PASTE, blend=blend)
    assert np.isin(pasted.numpy()[0], [1, 7]).mean() < 1  # There is a soft border.
    np.testing.assert_array_equal(sparse, pasted)


def test_nothing_is_pasted_onto_missing_pixels_or_without_rare_objects():
    image, label = scene()
    image[0], label[0] = 0, IGNORED
    pasted, pasted_label = module.copy_paste(
        *usable_batch(image, label), KEY, **PASTE, blend="feathered"
    )
    assert (pasted.numpy()[0] == 0).all() and (pasted_label.numpy()[0] == IGNORED).all()
    label[1] = 0
    same, same_label = module.copy_paste(*usable_batch(image, label), KEY, **PASTE, blend="hard")
    np.testing.assert_array_equal(same, image)
    np.testing.assert_array_equal(same_label, label)


def test_objects_larger_than_a_quarter_stay_and_those_of_the_least_size_go():
    label = np.zeros((1, 10, 10), np.uint8)
    label[0, :3] = RARE
    label[0, 6:9, 6:9] = RARE
    wanted = module.choose_objects(
        tf.constant(label), tf.constant(label == RARE), KEY, objects=5, smallest_px=9
    ).numpy()
    assert wanted.sum() == 9 and wanted[0, 6:9, 6:9].all()


def test_donors_have_rare_objects_and_are_others():
    has_rare = tf.constant([True, False, True, False])
    donors = np.stack(
        [module.choose_donors(has_rare, tf.constant([i, 0], tf.int64)).numpy() for i in range(40)]
    )
    assert (donors[:, 0] == 2).all() and (donors[:, 2] == 0).all()
    assert set(donors[:, 1]) == set(donors[:, 3]) == {0, 2}
    alone = module.choose_donors(tf.constant([False, True]), KEY).numpy()
    assert alone.tolist() == [1, 1]


def test_box_mean_is_that_of_scipy_inside():
    raster = np.random.default_rng(0).random((1, 20, 20, 2), np.float32)
    expected = ndimage.uniform_filter(raster[0], (5, 5, 0))
    got = module.box_mean(tf.constant(raster), 2).numpy()[0]
    np.testing.assert_allclose(got[2:-2, 2:-2], expected[2:-2, 2:-2], atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("radius", [2, 8])
def test_box_mean_at_edges_is_that_of_the_pixels_there_are(channels, radius):
    raster = np.random.default_rng(1).random((2, 11, 14, channels), np.float32)
    expected = np.empty_like(raster)
    for row, col in np.ndindex(11, 14):
        rows = slice(max(row - radius, 0), row + radius + 1)
        cols = slice(max(col - radius, 0), col + radius + 1)
        expected[:, row, col] = raster[:, rows, cols].mean(axis=(1, 2))
    for mean in (module.box_mean, tf.function(module.box_mean)):
        np.testing.assert_allclose(mean(tf.constant(raster), radius), expected, atol=1e-6)


def test_what_comes_from_beyond_the_edge_is_neither_wanted_nor_usable():
    rng = np.random.default_rng(2)
    image = rng.random((40, 12, 12, 3), np.float32)
    label = rng.integers(0, 9, (40, 12, 12), np.uint8)
    masks = rng.random((2, 40, 12, 12)) < 0.5
    moved = module.shift_at_random(*(tf.constant(v) for v in (image, label, *masks)), KEY)
    moved = [values.numpy() for values in moved]
    shifts = set()
    for example in range(40):
        fitting = []
        for shift in np.ndindex(7, 7):  # A quarter of 12 to each side.
            padded = [np.pad(v[example], 3) for v in (label, *masks)]
            label_, wanted, usable = (v[shift[0] :, shift[1] :][:12, :12] for v in padded)
            inside = np.pad(np.ones((12, 12), bool), 3)[shift[0] :, shift[1] :][:12, :12]
            if not (moved[1][example] != label_)[inside].any():
                fitting.append(shift)
                np.testing.assert_array_equal(moved[2][example], wanted)
                np.testing.assert_array_equal(moved[3][example], usable)
                source = np.pad(image[example], ((3, 3), (3, 3), (0, 0)))
                source = source[shift[0] :, shift[1] :][:12, :12]
                np.testing.assert_array_equal(moved[0][example][inside], source[inside])
        assert len(fitting) == 1
        shifts.update(fitting)
    assert len(shifts) > 20


def test_rectangles_have_areas_up_to_the_limit():
    inside = rectangles(KEY, tf.zeros([300, 64, 64, 1]), 0.25).numpy()
    areas = inside.mean(axis=(1, 2))
    assert areas.max() < 0.27 and areas.min() < 0.02
    assert areas.mean() == pytest.approx(0.125, abs=0.015)
    for one in inside[:20]:
        rows, cols = one.any(axis=1), one.any(axis=0)
        np.testing.assert_array_equal(one, rows[:, None] & cols[None])


def test_cutout_is_missing_and_ignored():
    image, label = scene(batch=8)
    cut, cut_label = (
        t.numpy()
        for t in cutout(
            tf.constant(image), tf.constant(label), KEY, probability=1.0, max_fraction=0.5
        )
    )
    hole = cut_label == IGNORED
    assert 0.05 < hole.mean() < 0.45
    assert (cut[hole] == 0).all()
    np.testing.assert_array_equal(cut[~hole], image[~hole])
    np.testing.assert_array_equal(cut_label[~hole], label[~hole])


@pytest.mark.parametrize("number", range(5))
def test_cutmix_takes_pixels_and_classes_from_one_other_patch(number):
    key = tf.constant([number, 4], tf.int64)
    image, _ = scene(batch=5)
    label = np.broadcast_to(np.arange(5, dtype=np.uint8)[:, None, None], image.shape[:3]).copy()
    image[...] = (label + 1)[..., None]
    mixed, mixed_label = (
        t.numpy()
        for t in cutmix(
            tf.constant(image), tf.constant(label), key, probability=1.0, max_fraction=0.5
        )
    )
    np.testing.assert_array_equal(mixed, (mixed_label + 1.0)[..., None].repeat(3, axis=-1))
    assert all(len(np.unique(one)) == 2 for one in mixed_label)
