"""GeoPackage layers of polygons and points, with SQLite alone.

A GeoPackage is a SQLite file with a few prescribed tables (OGC 12-128r18); it needs no vector
library, which would be a heavy dependency for one layer.
"""

import math
import sqlite3
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rasterio.crs import CRS
from rasterio.errors import CRSError

from landcover_tf.errors import OutputError, SampleError
from landcover_tf.system.files import atomic_path

APPLICATION_ID = 0x47504B47  # "GPKG"
USER_VERSION = 10300  # GeoPackage 1.3.0
UNDEFINED_CARTESIAN = -1
OWN_CRS = 100_000
"""Id of a reference system without EPSG code, which the standard asks to have one of its own."""

_SCHEMA = """
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
"""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The one layer of a GeoPackage to write."""

    name: str
    geometry: Literal["POINT", "POLYGON"]
    columns: Mapping[str, str]
    """SQL type, with constraints, of each column after the geometry."""
    crs: CRS | None
    bounds: Sequence[float]
    """West, south, east, north."""

    @property
    def srs_id(self) -> int:
        """Id of the reference system, which every geometry repeats."""
        if self.crs is None:
            return UNDEFINED_CARTESIAN
        return self.crs.to_epsg() or OWN_CRS


@dataclass(frozen=True, kw_only=True, eq=False)
class PointTable:
    """Points and their attributes as a file holds them."""

    rows: Sequence[Mapping[str, Any]]
    """Attributes of each point, without its geometry."""
    x: Sequence[float]
    """NaN without a geometry."""
    y: Sequence[float]
    """NaN without a geometry."""
    crs: CRS | None


def write_layer(path: Path, layer: Layer, rows: Iterable[tuple[Any, ...]]) -> int:
    """Writes a GeoPackage with one layer and returns its number of rows.

    Args:
        path: File to write.
        layer: Name, columns and reference system.
        rows: Geometry as `point_blob` or `polygon_blob` gives it, then the columns' values.

    Raises:
        OutputError: The disk refuses.
    """
    with atomic_path(path) as temporary:
        try:
            with closing(sqlite3.connect(temporary)) as connection:
                return _fill(connection, layer, rows)
        except sqlite3.Error as error:
            raise OutputError(f"cannot write {path}: {error}") from error
        finally:
            # What SQLite keeps beside a file that it could not finish.
            temporary.with_name(f"{temporary.name}-journal").unlink(missing_ok=True)


def point_blob(x: float, y: float, srs_id: int) -> bytes:
    """Returns a point in GeoPackage binary: header without envelope, well-known binary."""
    # Flags: little-endian (bit 0), no envelope; a point needs none. 1 = little-endian, 1 = point.
    return struct.pack("<2sBBi", b"GP", 0, 0b1, srs_id) + struct.pack("<BI2d", 1, 1, x, y)


def polygon_blob(rings: Sequence[Sequence[tuple[float, float]]], srs_id: int) -> bytes:
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


def read_points(path: Path, layer: str | None = None) -> PointTable:
    """Returns the points of a layer of a GeoPackage.

    Args:
        path: GeoPackage.
        layer: Name of the layer; the only layer of points by default, or the only one of any
            geometry where none is declared as points.

    Raises:
        SampleError: The file is no GeoPackage, has no such layer or several, or a feature of the
            layer is not one point.
    """
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            return _read(connection, path, layer)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise SampleError(f"{path} is not a GeoPackage that can be read: {error}") from error


def _fill(connection: sqlite3.Connection, layer: Layer, rows: Iterable[tuple[Any, ...]]) -> int:
    _create(connection, layer)
    names = ", ".join(("geom", *layer.columns))
    marks = ", ".join("?" * (len(layer.columns) + 1))
    cursor = connection.executemany(f"INSERT INTO {layer.name} ({names}) VALUES ({marks})", rows)
    connection.commit()
    return max(cursor.rowcount, 0)


def _create(connection: sqlite3.Connection, layer: Layer) -> None:
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {USER_VERSION}")
    columns = "".join(f", {name} {sql}" for name, sql in layer.columns.items())
    connection.executescript(
        f"{_SCHEMA}CREATE TABLE {layer.name} (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, "
        f"geom {layer.geometry}{columns});"
    )
    systems: list[tuple[Any, ...]] = [
        ("Undefined cartesian", -1, "NONE", -1, "undefined", None),
        ("Undefined geographic", 0, "NONE", 0, "undefined", None),
        ("WGS 84", 4326, "EPSG", 4326, CRS.from_epsg(4326).to_wkt(), None),
    ]
    srs_id = layer.srs_id
    if layer.crs is not None and srs_id != 4326:
        owner = "NONE" if srs_id == OWN_CRS else "EPSG"
        systems.append((f"{owner}:{srs_id}", srs_id, owner, srs_id, layer.crs.to_wkt(), None))
    connection.executemany("INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, ?)", systems)
    # A fixed date keeps equal layers equal byte for byte; the file's own date says when.
    changed = "1970-01-01T00:00:00.000Z"
    connection.execute(
        "INSERT INTO gpkg_contents VALUES (?, 'features', ?, '', ?, ?, ?, ?, ?, ?)",
        (layer.name, layer.name, changed, *layer.bounds, srs_id),
    )
    connection.execute(
        "INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', ?, ?, 0, 0)",
        (layer.name, layer.geometry, srs_id),
    )


def _read(connection: sqlite3.Connection, path: Path, layer: str | None) -> PointTable:
    table, geometry, srs_id = _layer(connection, path, layer)
    quoted = table.replace('"', '""')
    cursor = connection.execute(f'SELECT * FROM "{quoted}"')
    names = [column[0] for column in cursor.description]
    if geometry not in names:
        raise SampleError(
            f"{path} has no column {geometry!r} in its layer {table!r}; it is damaged"
        )
    rows, xs, ys = [], [], []
    for values in cursor:
        row = dict(zip(names, values, strict=True))
        x, y = _coordinates(row.pop(geometry), path)
        rows.append(row)
        xs.append(x)
        ys.append(y)
    return PointTable(rows=rows, x=xs, y=ys, crs=_crs(connection, srs_id, path))


def _layer(connection: sqlite3.Connection, path: Path, layer: str | None) -> tuple[str, str, int]:
    """Returns table, geometry column and reference system of the layer of points."""
    rows = connection.execute(
        "SELECT table_name, column_name, srs_id, upper(geometry_type_name) "
        "FROM gpkg_geometry_columns"
    ).fetchall()
    points = [row[:3] for row in rows if row[3] in ("POINT", "MULTIPOINT")]
    # Some programs declare no type; whether the features are points is seen when they are read.
    points = points or [row[:3] for row in rows if row[3] == "GEOMETRY"]
    if layer is not None:
        points = [row[:3] for row in rows if row[0] == layer]
    if len(points) == 1:
        table, geometry, srs_id = points[0]
        return table, geometry, srs_id
    if layer is not None:
        names = ", ".join(row[0] for row in rows) or "none"
        raise SampleError(f"{path} has no layer {layer!r}; its layers are: {names}")
    found = ", ".join(row[0] for row in points) or "none"
    advice = "; name the one to use with --layer" if points else ""
    raise SampleError(f"{path} must have one layer of points, it has: {found}{advice}")


def _crs(connection: sqlite3.Connection, srs_id: int, path: Path) -> CRS | None:
    if srs_id in (UNDEFINED_CARTESIAN, 0):
        return None
    found = connection.execute(
        "SELECT organization, organization_coordsys_id, definition FROM gpkg_spatial_ref_sys "
        "WHERE srs_id = ?",
        (srs_id,),
    ).fetchone()
    try:
        if found is None:
            raise SampleError(f"{path} names reference system {srs_id} but does not define it")
        if str(found[0]).upper() == "EPSG":
            return CRS.from_epsg(found[1])
        return CRS.from_wkt(found[2])
    except (CRSError, ValueError) as error:  # ValueError: a code or text of another type.
        raise SampleError(f"{path} has an unknown reference system: {error}") from error


def _coordinates(blob: object, path: Path) -> tuple[float, float]:
    """Returns x and y of a point in GeoPackage binary; of a multi-point with one member too.

    They are NaN for an empty geometry.
    """
    try:
        if blob is None:
            return math.nan, math.nan
        if not isinstance(blob, bytes) or blob[:2] != b"GP":
            raise SampleError(f"{path} has a feature whose geometry is none; restore the file")
        # Bit 4: empty geometry.
        return (math.nan, math.nan) if blob[3] & 0b10000 else _position(blob, path)
    except (IndexError, struct.error) as error:
        raise SampleError(
            f"{path} has a feature whose geometry is damaged ({error}); restore the file or remove "
            "the feature"
        ) from error


def _position(blob: bytes, path: Path) -> tuple[float, float]:
    # Codes 5 to 7 are invalid.
    envelope_bytes = (0, 32, 48, 48, 64)[blob[3] >> 1 & 0b111]
    place = 8 + envelope_bytes
    order = "<" if blob[place] else ">"
    (kind,) = struct.unpack_from(f"{order}I", blob, place + 1)
    if kind % 1000 == 4 and struct.unpack_from(f"{order}I", blob, place + 5) == (1,):
        place += 9
        (kind,) = struct.unpack_from(f"{order}I", blob, place + 1)
    if kind % 1000 != 1:  # 1001, 2001, 3001 are points with Z, M, ZM.
        raise SampleError(f"{path} has a feature that is not one point")
    x, y = struct.unpack_from(f"{order}2d", blob, place + 5)
    return x, y
