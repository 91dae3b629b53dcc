import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.windows import Window as RasterioWindow

from landcover_tf.grid import Window
from landcover_tf.rasters.raster_grid import RasterGrid

UTM = CRS.from_epsg(32634)
TEN_M = Affine(10, 0, 500_000, 0, -10, 4_200_000)


def grid(transform: Affine = TEN_M, crs: CRS | None = UTM, height: int = 30, width: int = 40):
    return RasterGrid(height=height, width=width, crs=crs, transform=transform)


def test_grid_of_a_file(tmp_path):
    with rasterio.open(
        tmp_path / "r.tif", "w", driver="GTiff", count=1, dtype="uint8", **grid().profile
    ) as raster:
        raster.write(np.zeros((1, 30, 40), np.uint8))
    with rasterio.open(tmp_path / "r.tif") as raster:
        found = RasterGrid.of(raster)
        assert found == grid()
        assert found.bounds == tuple(raster.bounds)
    assert found.shape == (30, 40)
    assert found.window == Window(row_off=0, col_off=0, height=30, width=40)
    assert found.pixel_area_m2 == pytest.approx(100)


@pytest.mark.parametrize("east", [10, -10])
@pytest.mark.parametrize("north", [10, -10])
def test_bounds_are_the_least_and_the_greatest_whichever_way_the_rows_run(east, north):
    # 30 rows and 40 columns of 10 m from the corner at 1000, 2000.
    west, south = (1000 if east > 0 else 600), (2000 if north > 0 else 1700)
    found = grid(Affine(east, 0, 1000, 0, north, 2000)).bounds
    assert found == (west, south, west + 400, south + 300)
    turned = grid(Affine(0, north, 1000, east, 0, 2000)).bounds
    assert (turned[2] - turned[0], turned[3] - turned[1]) == (300, 400)


@given(st.integers(-5, 50), st.integers(-5, 50), st.floats(-3, 3))
def test_part_lies_where_rasterio_puts_a_window(row, col, turn):
    whole = grid(TEN_M @ Affine.rotation(turn))
    part = whole.part(Window(row_off=row, col_off=col, height=7, width=9))
    expected = rasterio.windows.transform(RasterioWindow(col, row, 9, 7), whole.transform)
    assert part.transform.almost_equals(expected, 1e-6)
    assert (part.shape, part.crs) == ((7, 9), UTM)


def test_pixels_are_the_same_within_a_hundredth_of_one():
    assert grid().same_pixels(grid(Affine(10, 0, 500_000.09, 0, -10, 4_200_000)))
    assert not grid().same_pixels(grid(Affine(10, 0, 500_000.11, 0, -10, 4_200_000)))
    assert not grid().same_pixels(grid(height=31))
    assert not grid().same_pixels(grid(crs=CRS.from_epsg(32635)))
    assert not grid().same_pixels(grid(crs=None))


def test_small_pixels_in_degrees_are_compared_as_pixels():
    # Sides differ by less than a millionth of a degree, and columns by 0.9e-6 / 1e-4 x 1000 = 9.
    degrees = [grid(Affine(s, 0, 20, 0, -1e-4, 40), CRS.from_epsg(4326), 10, 1000)
               for s in (1e-4, 1.009e-4)]  # fmt: skip
    assert degrees[0].shift_px(degrees[1]) == pytest.approx(9)
    assert not degrees[0].same_pixels(degrees[1])
    assert not degrees[0].fits(degrees[1])


def test_what_does_not_say_where_it_lies_fits_by_its_size():
    picture = grid(Affine.identity(), None)
    assert grid().fits(picture) and picture.fits(grid())
    assert not grid().fits(grid(Affine.identity(), None, width=41))
    # Without a CRS only, its numbers still count.
    assert grid().fits(grid(crs=None))
    moved = grid(TEN_M @ Affine.translation(0.2, 0), None)
    assert not grid().fits(moved) and grid().fits(moved, 0.25)
    assert not grid().fits(grid(crs=CRS.from_epsg(32635)))


def test_a_grid_without_extent_has_no_other_pixels():
    flat = grid(Affine(0, 0, 5, 0, 0, 5))
    assert flat.same_pixels(flat) and not flat.same_pixels(grid())
