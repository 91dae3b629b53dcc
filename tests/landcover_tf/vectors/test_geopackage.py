"""GeoPackages against the standard's own rules and against GDAL-like variants of geometries."""

import sqlite3
import struct

import numpy as np
import pytest
from fakes.full_disks import full_disk
from rasterio.crs import CRS

from landcover_tf.errors import OutputError, SampleError
from landcover_tf.vectors.geopackage import Layer, point_blob, read_points, write_layer

COLUMNS = {"id": "INTEGER NOT NULL", "note": "TEXT"}


def write(path, crs, rows=((1, "a", 500_005.0, 4_399_995.0), (2, None, 1.5, -2.5))):
    layer = Layer(name="points", geometry="POINT", columns=COLUMNS, crs=crs, bounds=(0, 0, 1, 1))
    blobs = [(point_blob(x, y, layer.srs_id), i, note) for i, note, x, y in rows]
    assert write_layer(path, layer, blobs) == len(rows)
    return path


@pytest.mark.parametrize("name", ["EPSG:32634", "EPSG:4326", None])
def test_points_come_back(tmp_path, name):
    crs = None if name is None else CRS.from_user_input(name)
    found = read_points(write(tmp_path / "a.gpkg", crs))
    assert found.crs == crs
    assert (found.x, found.y) == ([500_005.0, 1.5], [4_399_995.0, -2.5])
    assert [row["note"] for row in found.rows] == ["a", None]
    assert [row["id"] for row in found.rows] == [1, 2]


def test_a_system_without_epsg_code_is_kept_as_text(tmp_path):
    crs = CRS.from_proj4("+proj=laea +lat_0=51 +lon_0=9 +x_0=1 +y_0=2 +ellps=GRS80 +units=m")
    path = write(tmp_path / "a.gpkg", crs)
    assert read_points(path).crs == crs
    ids = sqlite3.connect(path).execute("SELECT srs_id FROM gpkg_spatial_ref_sys").fetchall()
    assert (100_000,) in ids


def test_what_the_standard_asks_for(tmp_path):
    connection = sqlite3.connect(write(tmp_path / "a.gpkg", CRS.from_epsg(32634)))

    def ask(sql):
        return connection.execute(sql).fetchall()

    assert ask("PRAGMA application_id") == [(0x47504B47,)]
    assert ask("PRAGMA foreign_key_check") == []
    assert ask("PRAGMA integrity_check") == [("ok",)]
    # Requirement 11: these three systems are always defined.
    assert {-1, 0, 4326} <= {row[0] for row in ask("SELECT srs_id FROM gpkg_spatial_ref_sys")}
    assert ask("SELECT geometry_type_name, srs_id FROM gpkg_geometry_columns") == [("POINT", 32634)]


def test_equal_layers_are_equal_files(tmp_path):
    first, second = (write(tmp_path / f"{n}.gpkg", CRS.from_epsg(32634)) for n in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    # No file may grow beyond 8 kB: SQLite is told that the disk is full.
    with (
        full_disk(8192),
        pytest.raises(OutputError, match=r"cannot write .*a\.gpkg: "),
    ):
        write(tmp_path / "a.gpkg", CRS.from_epsg(32634))
    assert not list(tmp_path.iterdir())


def test_geometries_that_other_programs_write(tmp_path):
    path = write(tmp_path / "a.gpkg", CRS.from_epsg(32634))
    header = struct.pack("<2sBBi", b"GP", 0, 0b11, 32634) + struct.pack("<4d", 7, 7, 8, 8)
    multi = struct.pack("<BII", 1, 4, 1) + struct.pack("<BI2d", 1, 1, 7, 8)
    high = struct.pack(">2sBBi", b"GP", 0, 0, 32634) + struct.pack(">BI3d", 0, 1001, 3, 4, 99)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE points SET geom = ? WHERE id = 1", (header + multi,))
        connection.execute("UPDATE points SET geom = ? WHERE id = 2", (high,))
    found = read_points(path)
    assert (found.x, found.y) == ([7, 3], [8, 4])


@pytest.mark.parametrize("geometry", ["NULL", "X'475000110000000001010000000000000000'"])
def test_a_feature_without_geometry_has_no_position(tmp_path, geometry):
    path = write(tmp_path / "a.gpkg", CRS.from_epsg(32634))
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE points SET geom = {geometry} WHERE id = 2")
    found = read_points(path)
    assert np.isnan([found.x, found.y]).tolist() == [[False, True], [False, True]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("DELETE FROM gpkg_geometry_columns", "one layer of points, it has: none"),
        ("UPDATE gpkg_geometry_columns SET srs_id = 99", "does not define it"),
        ("UPDATE gpkg_geometry_columns SET column_name = 'shape'", "no column 'shape'"),
        (
            "UPDATE gpkg_spatial_ref_sys SET organization = 'NONE', definition = X'00'",
            "unknown reference system",
        ),
        ("UPDATE points SET geom = 7", "whose geometry is none"),
        ("UPDATE points SET geom = X'4750'", "geometry is damaged"),
        ("UPDATE points SET geom = X'4750000100000000'", "geometry is damaged"),
        ("UPDATE points SET geom = X'47500001000000000101000000'", "geometry is damaged"),
        # An envelope of code 5 does not exist.
        ("UPDATE points SET geom = X'4750000B000000000101000000'", "geometry is damaged"),
    ],
)
def test_what_is_no_layer_of_points(tmp_path, change, message):
    path = write(tmp_path / "a.gpkg", CRS.from_epsg(32634))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(change)
    with pytest.raises(SampleError, match=message):
        read_points(path)


def test_polygons_and_other_files_are_refused(tmp_path):
    path = write(tmp_path / "a.gpkg", None)
    line = struct.pack("<2sBBi", b"GP", 0, 1, -1) + struct.pack("<BII", 1, 2, 2)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE points SET geom = ?", (line,))
    with pytest.raises(SampleError, match="not one point"):
        read_points(path)
    (tmp_path / "b.gpkg").write_text("no database at all, but long enough to be read as one")
    with pytest.raises(SampleError, match="not a GeoPackage"):
        read_points(tmp_path / "b.gpkg")
