"""Weights of blended windows and what the mergers make of them."""

import numpy as np
import pytest

from landcover_tf.grid import PatchGrid
from serving.blending import WEIGHT_FLOOR, BlendMerger, CropMerger, patch_weights
from serving.windows import Layout, blend_layout, exact_layout


def _largest_step(weights: np.ndarray, overlap: int) -> float:
    """Largest share of the mix that changes between neighbouring pixels on a regular grid."""
    size = len(weights)
    stride, period = size - overlap, 3 * size
    shares = []
    for row in range(-size, 2 * size, stride):
        for col in range(-size, 2 * size, stride):
            plane = np.zeros((period, period))
            r, c = row + size, col + size
            part = weights[: period - r, : period - c]
            plane[r : r + part.shape[0], c : c + part.shape[1]] = part
            shares.append(plane)
    mix = np.stack(shares)
    middle = slice(size, 2 * size)
    mix = mix[:, middle, middle] / mix.sum(axis=0)[middle, middle]
    steps = [np.abs(np.diff(mix, axis=axis)).sum(axis=0).max() / 2 for axis in (1, 2)]
    return float(max(steps))


@pytest.mark.parametrize("kind", ["radial", "cosine", "uniform"])
def test_weights_are_symmetric_and_positive(kind: str) -> None:
    weights = patch_weights(kind, 256, 96)
    assert weights.dtype == np.float32
    assert weights.min() >= WEIGHT_FLOOR
    np.testing.assert_array_equal(weights, weights[::-1])
    np.testing.assert_array_equal(weights, weights.T)


def test_radial_weight_by_hand() -> None:
    weights = patch_weights("radial", 256, 96)
    # Pixel (127, 127): centre offset 0.5 px on both axes, r = hypot(0.5, 0.5) / 128.
    assert weights[127, 127] == pytest.approx(1 - np.hypot(0.5, 0.5) / 128)
    assert weights[0, 0] == np.float32(WEIGHT_FLOOR)  # r > 1 in the corners.


# The margin is 16 pixels, or a quarter of a smaller overlap; the ramp is as long as the rest.
@pytest.mark.parametrize(
    ("size", "overlap", "margin", "ramp"), [(256, 96, 16, 64), (64, 32, 8, 16)]
)
def test_cosine_weight_by_hand(size: int, overlap: int, margin: int, ramp: int) -> None:
    line = patch_weights("cosine", size, overlap)[size // 2]
    assert (line[:margin] == np.float32(WEIGHT_FLOOR)).all()
    middle = margin + ramp // 2
    assert line[middle] == pytest.approx(0.5 - 0.5 * np.cos(np.pi * (ramp // 2 + 0.5) / ramp))
    assert (line[margin + ramp : size - margin - ramp] == 1).all()


def test_cosine_weights_sum_to_one_on_the_patch_grid() -> None:
    line = patch_weights("cosine", 256, 96)[128]  # Row 128 has the row ramp at 1.
    total = line[:96][16:80] + line[160:256][16:80]
    np.testing.assert_allclose(total, 1, atol=2e-3)  # But for the floor.


def test_smooth_weights_step_far_less_than_uniform_ones() -> None:
    # Geometry measured for 64/24 patches, the shape of 256/96.
    steps = {k: _largest_step(patch_weights(k, 64, 24), 24) for k in ("radial", "uniform")}
    assert steps["radial"] < 0.15
    assert steps["uniform"] >= 0.5


def _layout(mode: str, height: int, width: int) -> Layout:
    if mode == "blend":
        return blend_layout(height, width, PatchGrid(patch_size=64, patch_overlap=32), 32)
    layout = exact_layout(
        height,
        width,
        margin_px=16,
        align=32,
        memory_bytes=lambda h, w: h * w,
        limit_bytes=96 * 96,
    )
    assert layout is not None
    return layout


@pytest.mark.parametrize("mode", ["exact", "blend"])
def test_merged_windows_of_one_raster_give_the_raster(mode: str) -> None:
    height, width = 150, 201
    truth = np.random.default_rng(0).random((height + 128, width + 128, 3), np.float32)
    layout = _layout(mode, height, width)
    merger = (
        CropMerger(layout, 3, np.float32)
        if mode == "exact"
        else BlendMerger(layout, 3, patch_weights("radial", 64, 32))
    )
    bands = []
    for row in range(len(layout.rows)):
        for col in range(len(layout.cols)):
            window = layout.window(row, col)
            merger.add(row, col, truth[window.slices])
        bands.append(merger.finish(row))
    np.testing.assert_allclose(np.concatenate(bands), truth[:height, :width], atol=1e-6)


def test_windows_left_out_do_not_darken_their_neighbours() -> None:
    layout = _layout("blend", 64, 96)
    merger = BlendMerger(layout, 1, patch_weights("radial", 64, 32))
    merger.add(0, 0, np.ones((64, 64, 1), np.float32))
    band = merger.finish(0)
    assert (band[:, :64] == 1).all()
    assert (band[:, 64:] == 0).all()
