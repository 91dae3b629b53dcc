"""Laws of the window layouts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_tf.errors import ConfigError
from landcover_tf.grid import PatchGrid
from serving.windows import Layout, blend_layout, exact_layout, exact_spans

ALIGN = 32


def _exact(height: int, width: int, margin: int, limit: int) -> Layout:
    layout = exact_layout(
        height,
        width,
        margin_px=margin,
        align=ALIGN,
        memory_bytes=lambda h, w: h * w,
        limit_bytes=limit,
    )
    assert layout is not None
    return layout


def _check_cover(layout: Layout) -> None:
    for length, spans in ((layout.height, layout.rows), (layout.width, layout.cols)):
        kept = [p for s in spans for p in range(s.keep_start, s.keep_stop)]
        assert kept == list(range(length))  # Every pixel, once.
        for span in spans:
            assert span.start % ALIGN == 0
            assert span.size % ALIGN == 0
            assert span.start <= span.keep_start
            assert span.keep_stop <= span.stop
        assert len({s.size for s in spans}) == 1


@given(
    length=st.integers(1, 3000),
    count=st.integers(1, 6),
    margin=st.integers(0, 150),
)
@settings(max_examples=200)
def test_exact_spans_keep_every_pixel_a_margin_from_inner_edges(
    length: int, count: int, margin: int
) -> None:
    padded = -(-length // ALIGN) * ALIGN
    if count > 1 and (padded - 2 * margin) // ALIGN < 2 * count:
        return  # Such short rasters get fewer windows.
    spans = exact_spans(length, count, margin, ALIGN)
    for span in spans:
        assert span.start % ALIGN == 0
        assert span.start == 0 or span.keep_start - span.start >= margin
        assert span.stop == padded or span.stop - span.keep_stop >= margin
    assert spans[-1].stop == padded  # The network sees the raster's end where it really is.


@given(
    height=st.integers(1, 1200),
    width=st.integers(1, 1200),
    margin=st.integers(0, 64),
)
@settings(max_examples=40)
def test_exact_layouts_cover_the_raster_within_the_limit(
    height: int, width: int, margin: int
) -> None:
    layout = _exact(height, width, margin, limit=320 * 320)
    _check_cover(layout)
    assert layout.window_height * layout.window_width <= 320 * 320


@pytest.mark.parametrize("shape", [(1, 1), (31, 31), (257, 1025), (1025, 257), (256, 256)])
def test_blended_patches_lie_on_the_stride_grid_and_are_never_shifted(
    shape: tuple[int, int],
) -> None:
    layout = blend_layout(*shape, PatchGrid(patch_size=256, patch_overlap=96), ALIGN)
    _check_cover(layout)
    assert [s.start for s in layout.cols] == [160 * i for i in range(len(layout.cols))]


def test_less_memory_is_worth_a_hundredth_more_computing() -> None:
    # Three windows of 1760 x 4096 px compute 3 * 1760 / 4096 = 1.289 px per px, four of 2336 px
    # (2 * 2336 / 4096)^2 = 1.301, which is 0.9 % more for three quarters of the pixels at once.
    layout = _exact(4096, 4096, 288, limit=1760 * 4096)
    assert (layout.window_height, layout.window_width) == (2336, 2336)


def test_a_whole_tile_in_exact_mode_computes_less_than_half_again() -> None:
    # 5 x 5 windows of 2688 px: (5 * 2688)^2 / 10980^2 = 1.498, by hand.
    layout = _exact(10980, 10980, 277, limit=2688 * 2688)
    assert (len(layout.rows), layout.window_height) == (5, 2688)
    assert layout.computed_fraction == pytest.approx((5 * 2688) ** 2 / 10980**2)
    assert layout.computed_fraction <= 1.5
    blended = blend_layout(10980, 10980, PatchGrid(patch_size=256, patch_overlap=96), ALIGN)
    # tiled_prediction: 69 x 69 patches, 2.588 computed pixels per output pixel.
    assert blended.count == 4761
    assert blended.computed_fraction == pytest.approx(2.588, abs=1e-3)


def test_bands_of_blended_rows_start_where_the_next_row_starts() -> None:
    layout = blend_layout(500, 100, PatchGrid(patch_size=128, patch_overlap=96), ALIGN)
    # 128 px patches every 32 px: rows 96..127 are final with the fourth window row.
    assert layout.band(3) == (96, 128)
    assert layout.first_row_of(3) == 0
    assert layout.first_row_of(4) == 1
    assert np.sum([b - a for a, b in map(layout.band, range(len(layout.rows)))]) == 500


def test_a_raster_of_one_pixel_is_one_window() -> None:
    layout = _exact(1, 1, 277, limit=10**9)
    assert (layout.window_height, layout.window_width, layout.count) == (32, 32, 1)


def test_too_little_memory_is_told() -> None:
    with pytest.raises(ConfigError, match=r"exact mode .* raise --memory-gb or use --mode blend"):
        _exact(5000, 5000, 277, limit=500 * 500)


def test_patch_sizes_off_the_stride_grid_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiples of 32 px"):
        blend_layout(500, 500, PatchGrid(patch_size=256, patch_overlap=100), ALIGN)
