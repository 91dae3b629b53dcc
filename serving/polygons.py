"""Class polygons as a GeoPackage, written with SQLite alone.

A GeoPackage is a SQLite file with a few prescribed tables (OGC 12-128r18); writing it needs
no vector library, which would be a heavy dependency for one output.
"""

import itertools
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import rasterio
from rasterio import features
from rasterio.crs import CRS

from landcover_tf.files import atomic_path
from landcover_tf.legend import Legend

LAYER = "land_cover"
APPLICATION_ID = 0x47504B47  # "GPKG"
USER_VERSION = 10300  # GeoPackage 1.3.0
UNDEFINED_CARTESIAN = -1
ROWS_PER_INSERT = 10_000

_SCHEMA = f"""
CREATE TABLE gpkg_spatial_ref_sys (
  srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY, organization TEXT NOT NULL,
  organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (
  table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
  description TEXT DEFAULT '', last_change DATETIME NOT NULL, min_x DOUBLE, min_y DOUBLE,
  max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
  CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (
  table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL,
  srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
  CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name),
  CONSTRAINT uk_gc_table_name UNIQUE (table_name),
  CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
  CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
CREATE TABLE {LAYER} (
  fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POLYGON, code INTEGER NOT NULL,
  name TEXT NOT NULL, area_ha DOUBLE);
"""


def write_polygons(path: Path, map_path: Path, legend: Legend) -> int:
    """Writes the 4-connected regions of a class map as polygons and returns their number.

    Each has the class code, its name and, in a projected CRS, its area in hectares. The map is
    scanned line by line; the polygons themselves are held in memory.

    Args:
        path: GeoPackage to write, layer `land_cover`.
        map_path: Map of legend codes.
        legend: Names of the codes.
    """
    names = {c.code: c.name for c in legend.classes}
    with rasterio.open(map_path) as dataset, atomic_path(path) as temporary:
        crs, bounds = dataset.crs, dataset.bounds
        hectare = None
        if crs is not None and crs.is_projected:
            hectare = 10_000 / crs.linear_units_factor[1] ** 2
        connection = sqlite3.connect(temporary)
        try:
            srs_id = _create(connection, crs, bounds)
            rows = _rows(dataset, names, legend.nodata, srs_id, hectare)
            count = _insert(connection, rows)
            connection.commit()
        finally:
            connection.close()
    return count


def _create(connection: sqlite3.Connection, crs: CRS | None, bounds: Sequence[float]) -> int:
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {USER_VERSION}")
    connection.executescript(_SCHEMA)
    code = None if crs is None else crs.to_epsg()
    # A CRS without EPSG code gets an id of its own, as the standard asks.
    srs_id = UNDEFINED_CARTESIAN if crs is None else code or 100_000
    systems: list[tuple[Any, ...]] = [
        ("Undefined cartesian", -1, "NONE", -1, "undefined", None),
        ("Undefined geographic", 0, "NONE", 0, "undefined", None),
        ("WGS 84", 4326, "EPSG", 4326, CRS.from_epsg(4326).to_wkt(), None),
    ]
    if crs is not None and srs_id != 4326:
        owner = "EPSG" if code else "NONE"
        systems.append((f"{owner}:{srs_id}", srs_id, owner, srs_id, crs.to_wkt(), None))
    connection.executemany("INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, ?)", systems)
    # A fixed date keeps equal maps equal byte for byte; the file's own date says when.
    changed = "1970-01-01T00:00:00.000Z"
    connection.execute(
        "INSERT INTO gpkg_contents VALUES (?, 'features', ?, '', ?, ?, ?, ?, ?, ?)",
        (LAYER, LAYER, changed, *bounds, srs_id),
    )
    connection.execute(
        "INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', 'POLYGON', ?, 0, 0)", (LAYER, srs_id)
    )
    return srs_id


def _rows(
    dataset: rasterio.DatasetReader,
    names: dict[int, str],
    nodata: int,
    srs_id: int,
    hectare: float | None,
) -> Iterator[tuple[bytes, int, str, float | None]]:
    shapes = features.shapes(rasterio.band(dataset, 1), connectivity=4, transform=dataset.transform)
    for shape, value in shapes:
        code = int(value)
        if code == nodata:
            continue
        rings = shape["coordinates"]
        area = None if hectare is None else _area(rings) / hectare
        yield geometry_blob(rings, srs_id), code, names.get(code, ""), area


def _insert(connection: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> int:
    cursor = connection.executemany(
        f"INSERT INTO {LAYER} (geom, code, name, area_ha) VALUES (?, ?, ?, ?)",
        rows,
    )
    return cursor.rowcount if cursor.rowcount > 0 else 0


def geometry_blob(rings: Sequence[Sequence[tuple[float, float]]], srs_id: int) -> bytes:
    """Returns a polygon in GeoPackage binary: header, envelope, well-known binary.

    Args:
        rings: Outer ring first, each closed.
        srs_id: Reference system.
    """
    xs, ys = zip(*rings[0], strict=True)
    # Flags: little-endian (bit 0), envelope of four doubles (bits 1-3 = 1).
    header = struct.pack("<2sBBi4d", b"GP", 0, 0b11, srs_id, min(xs), max(xs), min(ys), max(ys))
    body = [struct.pack("<BII", 1, 3, len(rings))]  # 1 = little-endian, 3 = polygon.
    for ring in rings:
        flat = [value for point in ring for value in point]
        body.append(struct.pack(f"<I{len(flat)}d", len(ring), *flat))
    return header + b"".join(body)


def _area(rings: Sequence[Sequence[tuple[float, float]]]) -> float:
    """Returns the area of a polygon with holes by the shoelace formula."""
    areas = []
    for ring in rings:
        pairs = itertools.pairwise(ring)
        areas.append(abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2)
    return areas[0] - sum(areas[1:])
