"""Ground truth is warped onto the image's grid and remapped, with every code accounted for."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from fakes.label_rasters import CRS, GRID, IMAGE, SIDE, warp, write
from rasterio.transform import Affine
from rasterio.warp import transform, transform_bounds

from landcover_tf.crosswalk import load_crosswalk
from landcover_tf.errors import LabelError
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.sentinel2 import labels
from landcover_tf.sentinel2.label_rasters import find_label_rasters, overlapping, rasters_of
from landcover_tf.sentinel2.labels import warp_labels


def test_same_grid_is_copied_exactly(tmp_path):
    codes = np.random.default_rng(0).choice([0, 10, 20, 60], (SIDE, SIDE))
    found = warp(write(tmp_path / "l.tif", codes, GRID))
    assert np.array_equal(found.codes, codes)
    assert found.methods == ("nearest",)
    assert found.labelled_fraction == (codes != 0).mean()


def test_zero_is_a_class_in_a_legend_with_another_nodata(tmp_path):
    codes = np.zeros((SIDE, SIDE))  # Water; a quarter without class.
    codes[:15] = 255
    path = write(tmp_path / "l.tif", codes, GRID, nodata=255)
    found = warp(path, "dynamicworld", target="dynamicworld")
    assert found.labelled_fraction == 0.75


def test_coarser_labels_are_repeated(tmp_path):
    codes = np.random.default_rng(1).choice([10, 20, 60], (6, 6))
    path = write(tmp_path / "c.tif", codes, Affine(100, 0, 499980, 0, -100, 4200000))
    found = warp(path)
    assert found.methods == ("nearest",)
    assert np.array_equal(found.codes, codes.repeat(10, 0).repeat(10, 1))


def test_worldcover_in_degrees_crossing_the_tile_edge(tmp_path):
    # 1/12000 degree at 38 N is 9.3 m x 7.3 m: finer, so mode. It covers the left half only.
    bounds = (499980, 4200000 - 600, 499980 + 600, 4200000)
    west, _south, east, north = transform_bounds(CRS, "EPSG:4326", *bounds)
    step = 1 / 12000
    width = int((east - west) / 2 / step)
    codes = np.full((120, width + 40), 10)
    codes[:, : 40 + width // 2] = 80
    grid = Affine(step, 0, west - 40 * step, 0, -step, north + 20 * step)
    path = write(tmp_path / "wc.tif", codes, grid, crs="EPSG:4326", nodata=0)
    found = warp(path, "worldcover")
    assert found.methods == ("mode",)
    row = found.codes[30]
    assert (row[:13] == 60).all() and (row[17:28] == 20).all() and (row[32:] == 0).all()
    assert 0.4 < found.labelled_fraction < 0.55


@pytest.mark.parametrize(
    ("left", "share"),
    [
        # At 15.87 S, 180 lies 3 x 111.32 x cos(15.87) x 0.9996 = 321.1 km west of the zone's
        # meridian, at easting 178.9 km: (178.9 - 99.96) / 109.8 = 0.72 of the tile's width.
        (177, 0.72),
        (-180, 0.28),
        (None, 1.0),
    ],
)
def test_labels_in_degrees_across_the_antimeridian(tmp_path, left, share):
    # Tile 01LAC, Fiji. A raster of the whole Earth, and the two WorldCover cells that meet there.
    west, east = (-180, 180) if left is None else (left, left + 3)
    codes = np.full((300, (east - west) * 100), 20)
    path = write(tmp_path / "l.tif", codes, Affine(0.01, 0, west, 0, -0.01, -15), "EPSG:4326")
    crs, grid = rasterio.CRS.from_epsg(32701), Affine(300, 0, 99960, 0, -300, 8300020)
    image = RasterGrid(height=366, width=366, crs=crs, transform=grid)
    rasters = overlapping(find_label_rasters(path), image)
    found = warp_labels(rasters, load_crosswalk("landcover9", "landcover9"), grid=image)
    assert found.labelled_fraction == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize(
    ("west", "step"), [(177, 0.01), (177, 1 / 400), (-183, 0.01), (-183, 1 / 400)]
)
def test_a_raster_that_reaches_over_the_antimeridian_labels_both_sides(tmp_path, west, step):
    codes = np.full((round(3 / step), round(6 / step)), 20)
    path = write(tmp_path / "l.tif", codes, Affine(step, 0, west, 0, -step, -15), "EPSG:4326")
    crs, grid = rasterio.CRS.from_epsg(32701), Affine(300, 0, 99960, 0, -300, 8300020)
    image = RasterGrid(height=366, width=366, crs=crs, transform=grid)
    rasters = overlapping(find_label_rasters(path), image)
    found = warp_labels(rasters, load_crosswalk("landcover9", "landcover9"), grid=image)
    assert found.methods == ("nearest" if step == 0.01 else "mode",)
    assert found.labelled_fraction == 1


def test_longitudes_may_count_to_360(tmp_path):
    (west,), (north,) = transform("EPSG:32618", "EPSG:4326", [5e5], [44.1e5])
    grid = Affine(0.001, 0, west + 359.9, 0, -0.001, north + 0.1)
    path = write(tmp_path / "l.tif", np.full((400, 400), 20), grid, "EPSG:4326")
    zone, place = rasterio.CRS.from_epsg(32618), Affine(10, 0, 5e5, 0, -10, 44.1e5)
    image = replace(IMAGE, crs=zone, transform=place)
    (raster,) = overlapping(find_label_rasters(path), image)
    found = warp_labels([raster], load_crosswalk("landcover9", "landcover9"), grid=image)
    assert found.labelled_fraction == 1


def test_turned_labels_of_10_m_are_those_at_the_centres(tmp_path):
    # As wide as a tile, over which GDAL's warp interpolates positions.
    image = replace(IMAGE, width=6000, height=20)
    x, y = transform(CRS, "EPSG:3035", [529980], [4199900])
    codes = np.random.default_rng(4).choice([10, 20, 60], (4000, 6400)).astype(np.uint8)
    grid = Affine(10, 0, x[0] - 32000, 0, -10, y[0] + 20000)
    path = write(tmp_path / "l.tif", codes, grid, "EPSG:3035")
    found = warp_labels(
        find_label_rasters(path), load_crosswalk("landcover9", "landcover9"), grid=image
    )
    cols, rows = np.meshgrid(np.arange(6000) + 0.5, np.arange(20) + 0.5)
    x, y = transform(CRS, "EPSG:3035", *(v.ravel() for v in image.transform @ (cols, rows)))
    cols, rows = (np.floor(v).astype(int) for v in ~grid @ (np.array(x), np.array(y)))
    assert found.methods == ("nearest",)
    assert (found.codes.ravel() == codes[rows, cols]).mean() > 0.998


@pytest.mark.parametrize("degrees", [0, 30])
def test_labels_of_a_metre_are_read_in_small_parts(tmp_path, monkeypatch, degrees):
    codes = np.random.default_rng(3).choice([10, 20, 60], (2 * SIDE, 2 * SIDE)).repeat(10, 0)
    grid = Affine.translation(500280, 4199700) @ Affine.rotation(degrees)
    grid @= Affine.scale(1, -1) @ Affine.translation(-600, -600)
    path = write(tmp_path / "f.tif", codes.repeat(10, 1), grid)
    whole = warp(path)
    monkeypatch.setattr(labels, "_PIXELS_AT_ONCE", 20_000)  # Of 360,000 under the image.
    parts = []
    read = labels.read_window
    monkeypatch.setattr(
        labels, "read_window", lambda r, w: parts.append(w.height * w.width) or read(r, w)
    )
    assert np.array_equal(warp(path).codes, whole.codes)
    # The box around a square that is turned by 30 degrees is (cos 30 + sin 30)^2 = 1.87 as large.
    assert len(parts) > 10 and max(parts) < 3 * 20_000


def test_strips_do_not_show(tmp_path):
    codes = np.random.default_rng(2).choice([10, 20, 60], (200, 200))
    path = write(tmp_path / "f.tif", codes, Affine(7, 0, 499900, 0, -7, 4200100))
    whole, strips = warp(path), warp(path, rows_at_once=7)
    assert np.array_equal(whole.codes, strips.codes)


def test_unknown_codes_are_counted_and_refused_or_ignored(tmp_path):
    codes = np.full((SIDE, SIDE), 10)
    codes[0, :5] = 33
    codes[1, :2] = 250
    path = write(tmp_path / "l.tif", codes, GRID)
    with pytest.raises(LabelError, match=r"does not know: 33 \(5 px\), 250 \(2 px\)"):
        warp(path)
    found = warp(path, unknown="ignore")
    assert found.unknown == {33: 5, 250: 2}
    assert (found.codes == 0).sum() == 7


def test_unknown_codes_beyond_the_image_are_not_its_own(tmp_path):
    codes = np.full((SIDE + 10, SIDE + 10), 33)
    codes[5:-5, 5:-5] = 10
    around = Affine(10, 0, 499930, 0, -10, 4200050)
    path = write(tmp_path / "l.tif", codes, around)
    assert warp(path).unknown == {}
    codes[5, 5:8] = 33
    assert warp(write(path, codes, around), unknown="ignore").unknown == {33: 3}


def test_a_coarse_unknown_pixel_that_meets_the_image_is_refused(tmp_path):
    # Its centre lies 20 m outside; three columns of the image take it.
    codes = np.full((8, 8), 10)
    codes[3, 0] = 33
    path = write(tmp_path / "c.tif", codes, Affine(100, 0, 499910, 0, -100, 4200000))
    with pytest.raises(LabelError, match=r"does not know: 33 \(1 px\)"):
        warp(path)


@pytest.mark.parametrize(("step", "rows"), [(1 / 12000, 7), (1 / 2000, 7), (1 / 12000, 1024)])
def test_unknown_pixels_count_once_whatever_the_blocks(tmp_path, monkeypatch, step, rows):
    if rows < SIDE:
        monkeypatch.setattr(labels, "_PIXELS_AT_ONCE", 16)  # Blocks of 16 or 32 of 60 columns.
    west, south, east, north = transform_bounds(
        CRS, "EPSG:4326", 499980, 4200000 - 600, 499980 + 600, 4200000
    )
    codes = np.full((int((north - south) / step) + 20, int((east - west) / step) + 20), 33)
    grid = Affine(step, 0, west - 10 * step, 0, -step, north + 10 * step)
    path = write(tmp_path / "u.tif", codes, grid, crs="EPSG:4326")
    cols, row = np.meshgrid(np.arange(codes.shape[1]) + 0.5, np.arange(len(codes)) + 0.5)
    x, y = transform("EPSG:4326", CRS, *(np.ravel(v) for v in grid * (cols, row)))
    side = labels._relative_side(find_label_rasters(path)[0].grid, IMAGE)
    half = 0.495 * side * 10
    beyond = np.maximum(np.abs(np.array(x) - 500280), np.abs(np.array(y) - 4199700)) - 300
    found = warp(path, unknown="ignore", rows_at_once=rows)
    assert found.unknown == {33: (beyond <= half).sum()}


def test_the_rasters_own_nodata_is_not_an_unknown_code(tmp_path):
    codes = np.full((SIDE, SIDE), 10)
    codes[:, :30] = 255
    found = warp(write(tmp_path / "l.tif", codes, GRID, nodata=255))
    assert (found.codes[:, :30] == 0).all() and (found.codes[:, 30:] == 10).all()


@pytest.mark.parametrize(("dtype", "nodata"), [(np.int32, -(2**31)), (np.uint32, 2**32 - 1)])
def test_nodata_far_from_the_codes(tmp_path, dtype, nodata):
    codes = np.full((SIDE, SIDE), nodata, dtype)
    path = write(tmp_path / "empty.tif", codes, GRID, nodata=nodata, dtype=dtype)
    assert warp(path).labelled_fraction == 0
    codes[:, 30:] = 10
    found = warp(write(tmp_path / "l.tif", codes, GRID, nodata=nodata, dtype=dtype))
    assert (found.codes[:, :30] == 0).all() and (found.codes[:, 30:] == 10).all()


def test_sixteen_bit_and_negative_codes(tmp_path):
    codes = np.full((SIDE, SIDE), 311, np.int16)
    codes[0, 0] = -128
    path = write(tmp_path / "clc.tif", codes, GRID, nodata=-128, dtype=np.int16)
    found = warp(path, "corine")
    assert found.codes[0, 0] == 0 and (found.codes.ravel()[1:] == 20).all()


def test_floats_of_whole_codes_are_codes(tmp_path):
    codes = np.full((SIDE, SIDE), 20.0)
    codes[:10], codes[10:20] = np.nan, -3.4028234663852886e38
    path = write(tmp_path / "l.tif", codes, GRID, dtype=np.float32, nodata=-3.4028234663852886e38)
    assert (warp(path).codes == np.where(np.arange(SIDE) < 20, 0, 20)[:, None]).all()


@pytest.mark.parametrize("code", [-2147483648, 2**19])
def test_an_unknown_code_may_be_far_from_the_others(tmp_path, code):
    codes = np.full((SIDE, SIDE), 20)
    codes[0, :7] = code
    path = write(tmp_path / "l.tif", codes, GRID, dtype=np.int32)
    with pytest.raises(LabelError, match=rf"l\.tif has codes .* know: {code} \(7 px\); name"):
        warp(path)
    found = warp(path, unknown="ignore")
    assert found.unknown == {code: 7}
    assert (found.codes == np.where(codes == 20, 20, 0)).all()


def test_mosaic_first_with_a_class_wins(tmp_path):
    first, second = np.zeros((SIDE, SIDE)), np.full((SIDE, SIDE), 60)
    first[:, :20] = 10
    write(tmp_path / "a.tif", first, GRID)
    write(tmp_path / "b.tif", second, GRID)
    write(tmp_path / "far.tif", second, Affine(10, 0, 600000, 0, -10, 4200000))
    found = warp(tmp_path)
    assert found.sources == ("a.tif", "b.tif")
    assert (found.codes[:, :20] == 10).all() and (found.codes[:, 20:] == 60).all()


def test_raster_with_the_products_name_is_used_alone(tmp_path):
    codes = np.full((SIDE, SIDE), 60)
    write(tmp_path / "a.tif", codes, GRID)
    write(tmp_path / "PRODUCT.tif", codes, GRID)
    rasters = find_label_rasters(tmp_path)
    own = rasters_of(rasters, "PRODUCT", IMAGE)
    assert [r.path.name for r in own] == ["PRODUCT.tif"]
    assert len(rasters_of(rasters, "OTHER", IMAGE)) == 2


def test_a_folder_of_worldcover_has_its_tiles_in_folders_beside_quality(tmp_path, capsys):
    for name in ("N36E021", "N36E024"):
        folder = tmp_path / f"ESA_WorldCover_10m_2021_v200_{name}"
        folder.mkdir()
        write(folder / f"{name}_Map.tif", np.full((SIDE, SIDE), 10), GRID)
    quality = folder / "InputQuality.tif"
    with rasterio.open(folder / f"{name}_Map.tif") as tile:
        profile = tile.profile | {"count": 3}
    with rasterio.open(quality, "w", **profile) as raster:
        raster.write(np.full((3, SIDE, SIDE), 70, np.uint8))
    found = find_label_rasters(tmp_path)
    assert [raster.path.name for raster in found] == ["N36E021_Map.tif", "N36E024_Map.tif"]
    assert capsys.readouterr().err.splitlines() == [
        f"note: 2 label rasters of 2 folders in {tmp_path} are used as well, "
        f"{found[0].path.parent} first; of rasters that overlap, the first with a class counts",
        "note: 1 rasters of several bands, or that predict or assess compare wrote, are no labels "
        f"and left out, {quality} first",
    ]
    with pytest.raises(LabelError, match=r"InputQuality\.tif has 3 bands; expected one"):
        find_label_rasters(quality)


def test_rasters_of_a_folder_count_before_those_in_its_folders(tmp_path, capsys):
    old, linked = tmp_path / "archive_2018", tmp_path / "elsewhere"
    labels = tmp_path / "labels"
    for folder in (old, linked, labels):
        folder.mkdir()
    write(labels / "tile.tif", np.full((SIDE, SIDE), 20), GRID)
    write(old / "tile.tif", np.full((SIDE, SIDE), 60), GRID)
    old.rename(labels / old.name)
    write(linked / "more.tif", np.full((SIDE, SIDE), 60), GRID)
    (labels / "link").symlink_to(linked)
    (labels / "link" / "round").symlink_to(labels)
    found = [str(raster.path.relative_to(labels)) for raster in find_label_rasters(labels)]
    assert found == ["tile.tif", "archive_2018/tile.tif", "link/more.tif"]
    assert f"2 label rasters of 2 folders in {labels} are used as" in capsys.readouterr().err
    assert (warp(labels).codes == 20).all()


def test_maps_in_a_folder_of_labels_are_no_labels(tmp_path, capsys):
    write(tmp_path / "worldcover.tif", np.full((SIDE, SIDE), 10), GRID)
    maps = tmp_path / "maps"
    maps.mkdir()
    for name in ("map", "confidence", "agreement"):
        path = write(maps / f"{name}.tif", np.full((SIDE, SIDE), 60), GRID)
        with rasterio.open(path, "r+") as raster:
            if name == "agreement":
                raster.set_band_description(1, "agreement")
            else:
                raster.update_tags(model_sha256="1")
    assert [r.path.name for r in find_label_rasters(tmp_path)] == ["worldcover.tif"]
    note = capsys.readouterr().err
    assert note.startswith("note: 3 rasters of several bands, or that predict or assess compare")
    with pytest.raises(LabelError, match="maps holds no label raster, only ones of several bands"):
        find_label_rasters(maps)
    # Who names a map means it.
    assert len(find_label_rasters(maps / "map.tif")) == 1


def test_of_a_prepared_scene_its_labels_are_taken(tmp_path):
    codes = np.full((SIDE, SIDE), 10)
    (tmp_path / "scene.json").write_text("{}")
    write(tmp_path / "validity.tif", codes, GRID)
    with pytest.raises(
        LabelError, match=r"is a prepared scene without labels\.tif; prepare it with"
    ):
        find_label_rasters(tmp_path)
    write(tmp_path / "labels.tif", codes, GRID)
    assert [raster.path.name for raster in find_label_rasters(tmp_path)] == ["labels.tif"]


def test_what_is_no_label_in_a_folder_of_labels_is_not_searched(tmp_path):
    codes = np.full((SIDE, SIDE), 10)
    write(tmp_path / "l.tif", codes, GRID)
    for other in (
        "products/P.SAFE/GRANULE/MSK_CLASSI_B00.tif",
        "products/without_suffix/T34SEH_B02.jp2",
        "scenes/P/labels.tif",
        ".trash/old.tif",
    ):
        file = tmp_path / other
        file.parent.mkdir(parents=True)
        write(file, codes, GRID)
    scene = tmp_path / "scenes" / "P"
    (scene / "scene.json").write_text("{}")
    assert [raster.path for raster in find_label_rasters(tmp_path)] == [tmp_path / "l.tif"]
    # Who names such a folder itself means what is in it.
    assert [raster.path for raster in find_label_rasters(scene)] == [scene / "labels.tif"]


def test_the_same_numbers_mean_other_classes_in_another_legend(tmp_path):
    # 10 is tree cover in WorldCover and agricultural areas in landcover9.
    path = write(tmp_path / "l.tif", np.full((SIDE, SIDE), 10), GRID)
    assert (warp(path, "worldcover").codes == 20).all()
    assert (warp(path, "landcover9").codes == 10).all()


def test_unfit_rasters_are_named(tmp_path):
    with pytest.raises(LabelError, match="does not exist"):
        find_label_rasters(tmp_path / "none.tif")
    with pytest.raises(LabelError, match="holds no label raster"):
        find_label_rasters(tmp_path)
    text = tmp_path / "text.tif"
    text.write_text("x")
    with pytest.raises(LabelError, match=r"cannot read the label raster .*text\.tif"):
        find_label_rasters(text)
    floats = write(tmp_path / "f.tif", np.full((SIDE, SIDE), 10.5), GRID, dtype=np.float32)
    with pytest.raises(
        LabelError, match=r"f\.tif holds 10\.5 at rows 0 to 60; class codes are whole"
    ):
        warp(floats)
    nowhere = write(tmp_path / "n.tif", np.ones((5, 5)), GRID, crs=None)
    with pytest.raises(LabelError, match="has no CRS; georeference"):
        find_label_rasters(nowhere)
    site = 'LOCAL_CS["site",UNIT["metre",1]]'
    with pytest.raises(LabelError, match=r"s\.tif has no CRS but a local one; georeference"):
        find_label_rasters(write(tmp_path / "s.tif", np.ones((5, 5)), GRID, crs=site))
    far = write(tmp_path / "far.tif", np.ones((5, 5)), Affine(10, 0, 9e5, 0, -10, 0))
    with pytest.raises(LabelError, match="no label raster overlaps"):
        warp(far)
