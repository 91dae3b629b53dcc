"""Finer labels give each pixel the class of its largest part."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from fakes.label_rasters import CRS, GRID, IMAGE, SIDE, warp, write
from rasterio.transform import Affine
from rasterio.warp import transform, transform_bounds
from scipy import ndimage

from landcover_tf.crosswalk import load_crosswalk
from landcover_tf.grid import Window
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.sentinel2 import majority
from landcover_tf.sentinel2.label_rasters import find_label_rasters, overlapping
from landcover_tf.sentinel2.labels import warp_labels


def test_finer_labels_take_the_most_frequent_class(tmp_path):
    # Each 10 m pixel holds 5 x 5 labels: 13 of one class, 12 of another.
    block = np.full((5, 5), 20)
    block.ravel()[:12] = 60
    codes = np.tile(block, (SIDE, SIDE))
    path = write(tmp_path / "fine.tif", codes, Affine(2, 0, 499980, 0, -2, 4200000))
    found = warp(path)
    assert found.methods == ("mode",)
    assert (found.codes == 20).all()


def landscape(height, width):
    """Returns patches of four classes, some ten labels wide, [height, width]."""
    noise = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(4, height, width)),
                                    (0, 5, 5))  # fmt: skip
    return np.array([10, 20, 60, 90])[noise.argmax(axis=0)]


def assert_largest_areas(found, areas):
    """`areas`: of each class in each pixel, as parts of it, [classes, height, width]."""
    order = np.sort(areas, axis=0)
    clear = order[-1] - order[-2] > 0.1
    assert clear.mean() > 0.85
    expected = np.array([10, 20, 60, 90])[areas.argmax(axis=0)]
    assert np.array_equal(found[clear], expected[clear])


@pytest.mark.parametrize("side", [9.3, 8, 7, 3])
def test_finer_labels_of_no_whole_ratio_count_by_area(tmp_path, side):
    codes = landscape(int(SIDE * 10 / side) + 1, int(SIDE * 10 / side) + 1)
    path = write(tmp_path / "l.tif", codes, Affine(side, 0, 499980, 0, -side, 4200000))
    # Metres of each label [label] in each pixel [pixel] along one axis.
    pixels, steps = np.arange(SIDE)[:, None] * 10, np.arange(len(codes)) * side
    metres = np.minimum(pixels + 10, steps + side) - np.maximum(pixels, steps)
    metres = np.maximum(metres, 0)
    areas = np.stack([metres @ (codes == c) @ metres.T / 100 for c in (10, 20, 60, 90)])
    assert_largest_areas(warp(path).codes, areas)


def test_finer_labels_in_degrees_count_by_area(tmp_path):
    # 1/12000 degree at 38 N is 9.3 m x 7.3 m. Points of half a metre measure the areas.
    west, south, east, north = transform_bounds(
        CRS, "EPSG:4326", 499980, 4200000 - 600, 499980 + 600, 4200000
    )
    step = 1 / 12000
    codes = landscape(int((north - south) / step) + 12, int((east - west) / step) + 12)
    place = Affine(step, 0, west - 5.3 * step, 0, -step, north + 5.7 * step)
    path = write(tmp_path / "wc.tif", codes, place, crs="EPSG:4326")
    along = (np.arange(SIDE * 20) + 0.5) / 2
    x, y = np.meshgrid(499980 + along, 4200000 - along)
    lon, lat = transform(CRS, "EPSG:4326", x.ravel(), y.ravel())
    cols = ((np.array(lon) - place.c) / step).astype(int)
    rows = ((place.f - np.array(lat)) / step).astype(int)
    at = codes[rows, cols].reshape(SIDE, 20, SIDE, 20)
    areas = np.stack([(at == c).mean(axis=(1, 3)) for c in (10, 20, 60, 90)])
    assert_largest_areas(warp(path).codes, areas)


def test_ties_neither_enlarge_a_class_nor_move_its_border(tmp_path):
    # Stripes of 10 m, half a pixel off: each pixel is half of either class.
    codes = np.tile([10, 20, 20, 10], (2 * SIDE, SIDE // 2))
    path = write(tmp_path / "tie.tif", codes, Affine(5, 0, 499980, 0, -5, 4200000))
    found = warp(path).codes
    assert (found == 10).mean() == 0.5 and (found[:, 0::2] == 10).mean() == 0.5
    # The same wherever a window starts.
    part = warp_labels(
        find_label_rasters(path), load_crosswalk("landcover9", "landcover9"),
        grid=IMAGE.part(Window(row_off=8, col_off=5, height=20, width=20)),
    )  # fmt: skip
    assert np.array_equal(part.codes, found[8:28, 5:25])
    # And of a grid whose origin was rounded to a little less than whole pixels.
    rounded = warp_labels(
        find_label_rasters(path), load_crosswalk("landcover9", "landcover9"),
        grid=replace(IMAGE, transform=Affine.translation(-1e-7, 0) @ GRID),
    )  # fmt: skip
    assert np.array_equal(rounded.codes, found)


@pytest.mark.parametrize("side", [10, 7, 5])
def test_a_turned_map_gets_the_classes_of_its_pixels(tmp_path, side):
    # Columns lead south and rows east: the transposed image. Of 5 m stripes half are ties.
    codes = landscape(int(SIDE * 10 / side) + 1, int(SIDE * 10 / side) + 1)
    codes = np.tile([10, 20, 20, 10], (2 * SIDE, SIDE // 2)) if side == 5 else codes
    path = write(tmp_path / "l.tif", codes, Affine(side, 0, 499980, 0, -side, 4200000))
    turned = warp_labels(
        find_label_rasters(path), load_crosswalk("landcover9", "landcover9"),
        grid=replace(IMAGE, transform=Affine(0, 10, 499980, -10, 0, 4200000)), rows_at_once=25,
    )  # fmt: skip
    upright = warp(path)
    assert turned.methods == upright.methods
    assert np.array_equal(turned.codes, upright.codes.T)
    # Labels of a turned raster are those of its pixels, too.
    other = write(tmp_path / "t.tif", codes.T, Affine(0, side, 499980, -side, 0, 4200000))
    assert np.array_equal(warp(other).codes, upright.codes)


def test_parts_and_positions_between_exact_ones_do_not_show(tmp_path, monkeypatch):
    codes = np.random.default_rng(7).choice([0, 10, 20, 60, 90], (3 * SIDE, 3 * SIDE))
    west, south, east, north = transform_bounds(
        CRS, "EPSG:4326", 499980, 4200000 - 600, 499980 + 600, 4200000
    )
    place = Affine((east - west) / 150, 0, west - 1e-4, 0, (south - north) / 150, north)
    path = write(tmp_path / "l.tif", codes, place, "EPSG:4326")
    whole = warp(path)
    monkeypatch.setattr(majority, "_PIXELS_AT_ONCE", 1)
    assert np.array_equal(warp(path).codes, whole.codes)
    monkeypatch.setattr(majority, "_STEP", 1)
    assert (warp(path).codes == whole.codes).mean() > 0.999


def test_fine_labels_across_the_antimeridian_have_no_gap(tmp_path):
    # Tile 01LAC, Fiji, pixels of 300 m, labels of 0.001 degrees in stripes along the meridians.
    crs, grid = rasterio.CRS.from_epsg(32701), Affine(300, 0, 99960, 0, -300, 8300020)
    stripes = np.repeat([10, 20], 100)
    for left in (177, -180):
        codes = np.broadcast_to(np.tile(stripes, 15), (1400, 3000))
        place = Affine(0.001, 0, left, 0, -0.001, -15)
        write(tmp_path / f"{left}.tif", codes, place, "EPSG:4326")
    image = RasterGrid(height=366, width=366, crs=crs, transform=grid)
    rasters = overlapping(find_label_rasters(tmp_path), image)
    found = warp_labels(rasters, load_crosswalk("landcover9", "landcover9"), grid=image)
    assert found.methods == ("mode", "mode")
    row, col = np.mgrid[:366, :366] + 0.5
    lon, _ = transform(crs, "EPSG:4326", 99960 + 300 * col.ravel(), 8300020 - 300 * row.ravel())
    at = (np.array(lon) * 10 % 2).reshape(366, 366)
    clear = np.abs(at % 1 - 0.5) < 0.48
    assert np.array_equal(found.codes[clear], np.where(at < 1, 10, 20)[clear])


def test_pixels_that_the_labels_projection_cannot_express_have_no_class():
    asked = []

    def positions(cols, rows):
        asked.append(len(cols))
        return np.where(cols > 40, np.inf, cols * 2), rows * 2

    found = majority.largest_class(
        np.full((200, 200), 20, np.uint8), positions, nodata=0, place=GRID, shape=(100, 100),
        min_labelled_fraction=0.5,
    )  # fmt: skip
    # Exact positions are 16 pixels apart, and few: others than these would take long to find.
    assert (found[:, :32] == 20).all() and (found[:, 41:] == 0).all()
    assert sum(asked) < 100


def test_sparse_fine_labels_need_half_of_a_pixel(tmp_path):
    # Of the 4 x 4 labels in each 10 m pixel, 7, 8 or 1 have a class.
    block = np.zeros((3, 4, 4))
    for pixel, labelled in zip(block, (7, 8, 1), strict=True):
        pixel.ravel()[:labelled] = 20
    codes = np.tile(np.hstack(block), (SIDE, SIDE // 3))
    path = write(tmp_path / "sparse.tif", codes, Affine(2.5, 0, 499980, 0, -2.5, 4200000))
    found = warp(path)
    assert (found.codes == np.tile([0, 20, 0], (SIDE, SIDE // 3))).all()
    assert (warp(path, min_labelled_fraction=0.0).codes == 20).all()


def test_mode_counts_target_classes_and_not_source_codes(tmp_path):
    # WorldCover 90 and 95 are both wetlands: 5 + 5 of 25 beat 8 of water, 7 of trees.
    block = np.repeat([90, 95, 80, 10], [5, 5, 8, 7]).reshape(5, 5)
    codes = np.tile(block, (SIDE, SIDE))
    path = write(tmp_path / "fine.tif", codes, Affine(2, 0, 499980, 0, -2, 4200000))
    assert (warp(path, "worldcover").codes == 50).all()
