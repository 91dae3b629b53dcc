import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_tf.grid import PatchGrid, Window, kept_gap_px

sizes = st.integers(1, 700)


@settings(max_examples=60)
@given(sizes, sizes, st.integers(1, 96), st.data())
def test_windows_cover_every_pixel_and_share_the_overlap(height, width, patch_size, data):
    overlap = data.draw(st.integers(0, patch_size - 1).filter(lambda o: patch_size - o > 7))
    grid = PatchGrid(patch_size=patch_size, patch_overlap=overlap)
    covered = np.zeros((height, width), bool)
    windows = list(grid.windows(height, width))
    for window in windows:
        assert window.row_off % grid.stride == 0 and window.col_off % grid.stride == 0
        inside = window.clip(height, width)
        assert inside is not None, "a window without a pixel is a wasted computation"
        covered[inside.slices] = True
    assert covered.all()
    rows = sorted({w.row_off for w in windows})
    assert all(b - a == patch_size - overlap for a, b in itertools.pairwise(rows))


# 10980 = 160 * 68 + 100: 69 patches of 256/96 a side, 4761 in all (Sentinel-2 tile).
def test_count_on_a_full_tile():
    assert sum(1 for _ in PatchGrid().windows(10980, 10980)) == 4761


def test_an_image_smaller_than_a_patch_has_one_window():
    assert list(PatchGrid().windows(1, 31)) == [Window(row_off=0, col_off=0, height=256, width=256)]


def test_an_exact_fit_needs_no_further_patch():
    # 256 + 160 = 416: two patches a side; one pixel more needs a third.
    assert [PatchGrid().count(n) for n in (256, 257, 416, 417)] == [1, 2, 2, 3]


@pytest.mark.parametrize("overlap", [-1, 256, 300])
def test_overlap_out_of_range(overlap):
    with pytest.raises(ValueError, match=rf"in \[0, patch_size=256\), got {overlap}"):
        PatchGrid(patch_size=256, patch_overlap=overlap)


def test_clip_expand_and_padding():
    window = Window(row_off=2, col_off=3, height=4, width=5).expand(4)
    assert window == Window(row_off=-2, col_off=-1, height=12, width=13)
    assert window.clip(8, 10) == Window(row_off=0, col_off=0, height=8, width=10)
    assert window.padding_inside(8, 10) == ((2, 2), (1, 2))
    for row_off, col_off in ((10, 0), (0, 10)):
        assert Window(row_off=row_off, col_off=col_off, height=1, width=1).clip(10, 10) is None


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0)])
def test_nothing_is_no_raster_and_no_window(height, width):
    with pytest.raises(ValueError, match=f"a raster has at least one pixel, got {height}x{width}"):
        next(PatchGrid().windows(height, width))
    with pytest.raises(ValueError, match=f"at least one pixel, got {height}x{width}"):
        Window(row_off=0, col_off=0, height=height, width=width)


def test_a_window_counted_from_another():
    window = Window(row_off=7, col_off=2, height=3, width=4)
    origin = Window(row_off=5, col_off=6, height=1, width=9)
    assert window.relative_to(origin) == Window(row_off=2, col_off=-4, height=3, width=4)


@given(sizes, st.integers(-20, 20), st.integers(1, 800))
def test_strips_cover_a_window_from_top_to_bottom(height, row_off, rows):
    window = Window(row_off=row_off, col_off=3, height=height, width=5)
    strips = list(window.strips(rows))
    assert [row for s in strips for row in range(s.row_off, s.row_end)] == list(
        range(row_off, row_off + height)
    )
    assert all(s.height == rows for s in strips[:-1])
    assert {(s.col_off, s.width) for s in strips} == {(3, 5)}


@given(sizes, sizes, st.integers(1, 800), st.integers(1, 800))
def test_blocks_cover_a_window_once(height, width, rows, cols):
    covered = np.zeros((height, width), int)
    for block in Window(row_off=0, col_off=0, height=height, width=width).blocks(rows, cols):
        assert block.height <= rows and block.width <= cols
        covered[block.slices] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("split", "gap", "kept"),
    [
        ("blocks", None, 64),
        ("given", None, 64),
        ("zones", 0, 0),
        ("blocks", 7, 7),
        ("random", 7, 0),
    ],
)
def test_a_split_keeps_the_gap_asked_for_or_a_patch_and_a_random_one_none(split, gap, kept):
    assert kept_gap_px(split, gap, patch_size=64) == kept
