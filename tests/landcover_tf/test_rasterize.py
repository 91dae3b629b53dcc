"""Pixels of polygons, against shapely and by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fakes.full_disks import full_disk
from fakes.polygon_files import ISLAND, RING, SQUARE, TRIANGLE, UTM, run_rasterize, write_polygons
from rasterio.transform import from_origin
from rasterio.warp import transform, transform_geom

from landcover_tf.vectors import label_burning

shapely = pytest.importorskip("shapely")


def test_a_pixel_has_the_class_of_the_last_polygon_around_its_centre(tmp_path, monkeypatch):
    monkeypatch.setattr(label_burning, "BLOCK_PX", 48)  # The grid of 200 px has 5 x 5 blocks.
    features = [(SQUARE, "Forests"), (RING, "water bodies"), (TRIANGLE, "40"), (ISLAND, " 10")]
    code, output = run_rasterize(
        write_polygons(tmp_path / "a.gpkg", [*features, (None, "forests")])
    )
    assert code == 0
    with rasterio.open(output) as raster:
        assert raster.crs.to_epsg() == 32634 and raster.nodata == 0 and raster.dtypes == ("uint8",)
        assert raster.transform == from_origin(600_000, 4_200_000, 5, 5)
        assert raster.tags()["legend"] == "landcover9"
        labels = raster.read(1)
    rows, cols = np.indices(labels.shape)
    centres = shapely.points(600_002.5 + 5 * cols, 4_199_997.5 - 5 * rows)
    expected = np.zeros(labels.shape, np.uint8)
    for (shape, _), value in zip(features, (20, 60, 40, 10), strict=True):
        expected[shapely.contains(shape, centres)] = value
    # GDAL may count a centre on an edge either way; of these edges only the triangle's meet some.
    on_edge = shapely.distance(TRIANGLE.boundary, centres) < 1e-6
    np.testing.assert_array_equal(labels[~on_edge], expected[~on_edge])


def test_the_last_of_many_polygons_counts_whatever_the_index_of_the_file_says(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(label_burning, "BLOCK_PX", 100)
    rng = np.random.default_rng(0)
    west, south = 600_000 + rng.integers(0, 180, (2, 2000)) * 5
    boxes = shapely.box(west, south + 3_599_000, west + 100, south + 3_599_100)
    classes = rng.choice([10, 20, 60], len(boxes))
    code, output = run_rasterize(
        write_polygons(tmp_path / "a.gpkg", list(zip(boxes, classes, strict=True)))
    )
    assert code == 0
    with rasterio.open(output) as raster:
        labels, grid = raster.read(1), raster.transform
    expected = np.zeros_like(labels)
    for box, value in zip(boxes, classes, strict=True):
        left, bottom, right, top = box.bounds
        rows = slice(round((grid.f - top) / 5), round((grid.f - bottom) / 5))
        expected[rows, round((left - grid.c) / 5) : round((right - grid.c) / 5)] = value
    np.testing.assert_array_equal(labels, expected)


def test_a_disk_that_fills_at_the_end_keeps_the_raster_that_was_there(
    tmp_path, monkeypatch, capsys
):
    """GDAL reports no error of the blocks that it writes as it closes the file."""
    monkeypatch.setattr(label_burning, "BLOCK_PX", 512)  # Of 2000 px, 4 x 4 blocks.
    rng = np.random.default_rng(0)
    west, south = rng.integers(0, 9900, (2, 3000))
    boxes = shapely.box(west, south, west + 100, south + 100)
    path = write_polygons(
        tmp_path / "a.gpkg", [(b, 10 + 10 * (i % 6)) for i, b in enumerate(boxes)]
    )
    code, output = run_rasterize(path)
    assert code == 0
    before = output.read_bytes()
    capsys.readouterr()
    with full_disk(len(before) * 9 // 10):
        code, _ = run_rasterize(path, "--overwrite")
    assert code == 2
    assert "is the disk full?" in capsys.readouterr().err
    assert output.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "a.tif"]


def test_an_open_ring_is_closed_and_areas_are_those_on_the_ground(tmp_path, capsys):
    ring = [[0, 8_000_000], [2000, 8_000_000], [2000, 8_002_000], [0, 8_002_000]]
    feature = {
        "type": "Feature",
        "properties": {"class": 10},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    collection = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "EPSG:3857"}},
        "features": [feature],
    }
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(collection))
    assert run_rasterize(path)[0] == 0
    # 400 ha times the square of cos(58.3 degrees), about.
    assert "111.7 ha" in capsys.readouterr().out


def test_degrees_come_to_the_grid_of_another_raster(tmp_path):
    wide = shapely.box(600_000, 4_190_000, 630_000, 4_200_000)
    degrees = shapely.geometry.shape(
        transform_geom(UTM, "EPSG:4326", shapely.segmentize(wide, 50).__geo_interface__)
    )
    path = write_polygons(
        tmp_path / "a.geojson", [(degrees, 60)], crs="EPSG:4326", driver="GeoJSON"
    )
    like = tmp_path / "like.tif"
    with rasterio.open(
        like, "w", driver="GTiff", width=3100, height=1100, count=1, dtype="uint8", crs=UTM,
        transform=from_origin(599_500, 4_200_500, 10, 10),
    ):  # fmt: skip
        pass
    code, output = run_rasterize(path, "--like", like)
    assert code == 0
    with rasterio.open(output) as raster:
        labels = raster.read(1)
    assert labels.shape == (1100, 3100)
    assert (labels[50:1050, 50:3050] == 60).all()
    assert np.count_nonzero(labels) == 1000 * 3000


@pytest.mark.parametrize("ending", [("gpkg", "GPKG"), ("geojson", "GeoJSON")], ids=lambda e: e[0])
def test_polygons_in_degrees_on_both_sides_of_the_antimeridian(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(label_burning, "BLOCK_PX", 40)  # The second of three blocks lies across.
    suffix, driver = ending
    columns = (
        (179.96, 179.99, 10),
        (179.985, 180, 20),
        (-180, -179.985, 20),
        (-179.99, -179.96, 60),
    )
    first, left, right, last = (shapely.box(west, -17.03, east, -17) for west, east, _ in columns)
    features = [(first, 10), (shapely.union(left, right), 20), (last, 60)]
    path = write_polygons(
        tmp_path / f"a.{suffix}", features, crs="EPSG:4326", driver=driver, kind="Unknown"
    )  # fmt: skip
    zone = "EPSG:32760"
    (x,), (y,) = transform("EPSG:4326", zone, [180], [-17])
    like = tmp_path / "like.tif"
    with rasterio.open(
        like, "w", driver="GTiff", width=120, height=40, count=1, dtype="uint8", crs=zone,
        transform=from_origin(x - 6000, y + 100, 100, 100),
    ) as raster:  # fmt: skip
        rows, cols = np.indices(raster.shape)
        lon, lat = transform(
            zone, "EPSG:4326", *raster.transform @ (cols.ravel() + 0.5, rows.ravel() + 0.5)
        )
    assert run_rasterize(path, "--like", like)[0] == 0
    with rasterio.open(path.with_suffix(".tif")) as raster:
        labels = raster.read(1)
    expected = np.zeros(labels.size, np.uint8)
    for west, east, value in columns:
        inside = (np.array(lon) >= west) & (np.array(lon) <= east)
        expected[inside & (np.abs(np.array(lat) + 17.015) < 0.015)] = value
    assert all(np.count_nonzero(expected == value) > 300 for value in (10, 20, 60))
    assert np.count_nonzero(labels.ravel() != expected) < 20


@pytest.mark.parametrize("ending", [("gpkg", "GPKG"), ("geojson", "GeoJSON")], ids=lambda e: e[0])
def test_rows_of_the_other_raster_may_run_north(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(label_burning, "BLOCK_PX", 48)
    suffix, driver = ending
    path = write_polygons(tmp_path / f"a.{suffix}", [(SQUARE, 20), (ISLAND, 60)], driver=driver)
    found = []
    for name, north, top in (("down", -10, 4_200_000), ("up", 10, 4_199_000)):
        like = tmp_path / f"{name}.tif"
        with rasterio.open(
            like, "w", driver="GTiff", width=100, height=100, count=1, dtype="uint8", crs=UTM,
            transform=rasterio.Affine(10, 0, 600_000, 0, north, top),
        ):  # fmt: skip
            pass
        code, output = run_rasterize(path, "--like", like, "--overwrite")
        assert code == 0
        with rasterio.open(output) as raster:
            found.append(raster.read(1))
    assert np.count_nonzero(found[0]) == 50 * 100
    np.testing.assert_array_equal(found[1], found[0][::-1])


def test_a_straight_edge_in_degrees_is_bent_in_the_utm_zone_of_its_middle(tmp_path):
    box = shapely.box(19.0, 60.0, 21.0, 60.5)
    path = write_polygons(tmp_path / "a.fgb", [(box, 20)], crs="EPSG:4326", driver="FlatGeobuf")
    code, output = run_rasterize(path, "--pixel-size", 200)
    assert code == 0
    with rasterio.open(output) as raster:
        labels, grid = raster.read(1), raster.transform
        assert raster.crs.to_epsg() == 32634 and raster.res == (200, 200)
    rows, cols = np.indices(labels.shape)
    x, y = grid @ (cols.ravel() + 0.5, rows.ravel() + 0.5)
    lon, lat = transform(UTM, "EPSG:4326", x, y)
    inside = (np.abs(np.array(lon) - 20) < 1) & (np.abs(np.array(lat) - 60.25) < 0.25)
    # A chord of the parallel strays from it by hundreds of metres, its pieces by far less than a
    # pixel.
    differing = inside.reshape(labels.shape) != (labels == 20)
    assert inside.sum() > 100_000 and np.count_nonzero(differing) < 10


def test_polygons_come_to_the_grid_of_a_raster_in_degrees(tmp_path, capsys):
    like = tmp_path / "like.tif"
    box = shapely.box(20.001, 37.992, 20.006, 37.998)
    path = write_polygons(tmp_path / "a.geojson", [(box, 60)], crs="EPSG:4326", driver="GeoJSON")
    with rasterio.open(
        like, "w", driver="GTiff", width=100, height=100, count=1, dtype="uint8", crs="EPSG:4326",
        transform=from_origin(20, 38, 1e-4, 1e-4),
    ):  # fmt: skip
        pass
    code, output = run_rasterize(path, "--like", like)
    assert code == 0
    expected = np.zeros((100, 100), np.uint8)
    expected[20:80, 10:60] = 60
    with rasterio.open(output) as raster:
        assert raster.crs.to_epsg() == 4326
        np.testing.assert_array_equal(raster.read(1), expected)
    with rasterio.open(
        like, "w", driver="GTiff", width=9, height=9, count=1, dtype="uint8",
        transform=from_origin(20, 38, 1e-4, 1e-4),
    ):  # fmt: skip
        pass
    assert run_rasterize(path, "--like", like, "--overwrite")[0] == 2
    assert "like.tif has no CRS; take --crs and --pixel-size" in capsys.readouterr().err


def test_of_a_collection_the_polygons_are_burnt(tmp_path, capsys):
    line = shapely.LineString([(600_000, 4_198_000), (601_000, 4_198_000)])
    inner = shapely.GeometryCollection([shapely.MultiPolygon([RING]), line])
    parts = [(shapely.GeometryCollection([SQUARE, inner, ISLAND.centroid]), "forests")]
    path = write_polygons(tmp_path / "a.gpkg", parts, kind="Unknown")
    code, output = run_rasterize(path)
    assert code == 0
    with rasterio.open(output) as raster:
        hectares = np.count_nonzero(raster.read(1) == 20) * 25e-4
    assert hectares == 50 + 24  # Of SQUARE, and of RING, which has a hole of 1 ha.
    lines = [(shapely.GeometryCollection([line]), "forests")]
    assert run_rasterize(write_polygons(tmp_path / "b.gpkg", lines, kind="Unknown"))[0] == 2
    assert "holds a GeometryCollection; polygons are expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("driver", "suffix"),
    [("GPKG", ".gpkg"), ("GeoJSON", ".geojson")],
    ids=["indexed", "read whole"],
)
def test_polygons_that_have_no_pixel_are_counted(tmp_path, capsys, monkeypatch, driver, suffix):
    monkeypatch.setattr(label_burning, "BLOCK_PX", 10)  # Polygons lie in several of the blocks.
    like = tmp_path / "like.tif"
    with rasterio.open(
        like, "w", driver="GTiff", width=100, height=100, count=1, dtype="uint8", crs=UTM,
        transform=from_origin(600_000, 4_200_000, 10, 10),
    ):  # fmt: skip
        pass
    near = shapely.box(600_011, 4_199_981, 600_014, 4_199_984)  # No centre, which end in 5.
    far = shapely.box(700_000, 4_199_000, 700_100, 4_199_100)
    features = [(ISLAND, "water bodies"), (SQUARE, "forests"), (RING, "forests"), (RING, None)]
    features += [(None, "forests"), (near, "forests"), (far, "forests"), (far, "forests")]
    path = write_polygons(tmp_path / f"a{suffix}", features, driver=driver)
    assert run_rasterize(path, "--like", like)[0] == 0
    told = capsys.readouterr()
    # SQUARE covers ISLAND, which comes before it.
    assert (
        "left out: 1 without a value of class, 1 without geometry, 2 outside the raster, "
        "2 in which no pixel's centre lies, or under later ones\n2 of 8 polygons on 100 x 100"
    ) in told.out
    assert f"warning: 1 of 8 polygons of {path} have no value of class" in told.err
    path = write_polygons(
        tmp_path / f"b{suffix}", [(SQUARE, "forests"), (RING, "lava")], driver=driver
    )
    assert run_rasterize(path, "--like", like, "--unknown-labels", "ignore")[0] == 0
    told = capsys.readouterr()
    assert "left out: 1 of no class (lava)\n1 of 2 polygons" in told.out
    assert (
        run_rasterize(
            path, "--like", like, "--class-table", table_of_lava(tmp_path), "--overwrite"
        )[0]
        == 0
    )
    assert "left out" not in capsys.readouterr().out


def table_of_lava(folder: Path) -> Path:
    """Writes a table with two words, one of which is no data."""
    path = folder / "table.csv"
    path.write_text("value,code\nforests,20\nlava,0\n")
    return path
