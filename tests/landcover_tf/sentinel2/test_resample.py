"""Interpolation: pixel-is-area geometry, second libraries, and blocks that equal the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from landcover_tf.grid import Window
from landcover_tf.sentinel2 import resample

METHODS = ("nearest", "bilinear", "bicubic")


def random_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 10000, (height, width)).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ratio", [2, 6])
def test_weights_sum_to_one_and_constants_stay(method, ratio):
    for _, weights in resample.kernel(method, ratio):
        assert weights.sum() == pytest.approx(1, abs=1e-6)
    constant = np.full((5, 7), 1234, np.float32)
    assert np.allclose(resample.upsample(constant, ratio, method), 1234, atol=1e-3)


def test_bilinear_by_hand():
    # Fine pixels of ratio 2 lie at -0.25, 0.25, 0.75, 1.25 of the coarse grid.
    fine = resample.upsample(np.array([[0, 100]], np.float32), 2, "bilinear")
    assert fine[0].tolist() == [0, 25, 75, 100]


def test_bicubic_by_hand():
    # Keys, a = -0.5, at t = 0.75 between the 2nd and 3rd of 1, 2, 4, 8:
    # weights -0.0234375, 0.2265625, 0.8671875, -0.0703125.
    coarse = np.array([[1, 1, 2, 4, 8, 8]], np.float32)
    expected = -0.0234375 * 1 + 0.2265625 * 2 + 0.8671875 * 4 - 0.0703125 * 8
    assert resample.upsample(coarse, 2)[0, 6] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("ratio", [2, 6])
def test_bilinear_matches_scipy_in_pixel_is_area_geometry(ratio):
    coarse = random_image(9, 11)
    rows = (np.arange(9 * ratio) + 0.5) / ratio - 0.5
    cols = (np.arange(11 * ratio) + 0.5) / ratio - 0.5
    expected = ndimage.map_coordinates(
        coarse, np.meshgrid(rows, cols, indexing="ij"), order=1, mode="nearest"
    )
    assert np.allclose(resample.upsample(coarse, ratio, "bilinear"), expected, atol=0.05)


def test_bicubic_matches_gdal(tmp_path):
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.transform import Affine

    coarse = random_image(20, 20)
    with rasterio.open(
        tmp_path / "c.tif", "w", driver="GTiff", height=20, width=20, count=1, dtype="float32",
        transform=Affine(20, 0, 0, 0, -20, 0),
    ) as dataset:  # fmt: skip
        dataset.write(coarse, 1)
    with rasterio.open(tmp_path / "c.tif") as dataset:
        expected = dataset.read(1, out_shape=(40, 40), resampling=Resampling.cubic)
    found = resample.upsample(coarse, 2)
    assert np.allclose(found[6:-6, 6:-6], expected[6:-6, 6:-6], atol=0.5)


def test_a_coarse_pixel_covers_exactly_its_fine_pixels():
    # Row 6r..6r+5 belong to coarse row r: no shift by half a pixel, no aligned corners.
    coarse = np.zeros((7, 7), np.float32)
    coarse[2, 3] = 1
    fine = resample.upsample(coarse, 6, "nearest")
    assert np.argwhere(fine).min(0).tolist() == [12, 18]
    assert np.argwhere(fine).max(0).tolist() == [17, 23]
    for method in ("bilinear", "bicubic"):
        smooth = resample.upsample(coarse, 6, method)
        center = ndimage.center_of_mass(smooth)
        assert np.allclose(center, (14.5, 20.5), atol=1e-4)


@settings(max_examples=30)
@given(
    ratio=st.sampled_from([2, 6]),
    method=st.sampled_from(METHODS),
    row=st.integers(0, 70),
    col=st.integers(0, 70),
    height=st.integers(1, 50),
    width=st.integers(1, 50),
)
def test_a_window_equals_the_crop_of_the_whole(ratio, method, row, col, height, width):
    coarse = random_image(120 // ratio, 120 // ratio, seed=1)
    whole = resample.upsample(coarse, ratio, method)
    window = Window(row_off=row, col_off=col, height=height, width=width)
    covering = resample.covering(window, ratio)
    everything = Window(row_off=0, col_off=0, height=coarse.shape[0], width=coarse.shape[1])
    padded = resample.cut(coarse, everything, covering, resample.MARGIN_PX)
    part = resample.upsample_rounded(padded, ratio, method, scale=1, shift=0, limits=(0, 65535))
    expected = np.clip(np.rint(whole), 0, 65535).astype(np.uint16)
    assert np.array_equal(resample.crop(part, covering, ratio, window), expected[window.slices])


def test_rounding_scales_shifts_and_clips():
    values = np.array([-5000, 0, 1.5, 2.5, 70000], np.float32)
    found = resample.rounded(values, 1.0, 1000.0, (1, 65535))
    assert found.tolist() == [1, 1000, 1002, 1002, 65535]  # Halves go to even.


def test_fill_takes_the_mean_of_valid_neighbours():
    values = np.array([[10, 20, 0, 0, 0, 0]], np.float32)
    filled = resample.fill_invalid(values, values > 0, steps=3)
    assert filled.tolist() == [[10, 20, 20, 20, 20, 0]]


def test_fill_of_a_block_equals_the_whole():
    values = random_image(60, 60, seed=2)
    valid = np.random.default_rng(3).random((60, 60)) > 0.7
    whole = resample.fill_invalid(values, valid, 2)
    part = resample.fill_invalid(values[10:40, 15:45], valid[10:40, 15:45], 2)
    assert np.array_equal(part[2:-2, 2:-2], whole[12:38, 17:43])


def test_block_mean_repeat_and_erode():
    image = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert resample.block_mean(image, 2).tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert resample.repeat(np.array([[1, 2]]), 2).tolist() == [[1, 1, 2, 2]] * 2
    marked = np.ones((5, 5), bool)
    marked[2, 2] = False
    assert resample.erode(marked, 1).sum() == 25 - 9
