"""Reference points from a GeoPackage or a CSV file."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError

from landcover_tf.errors import SampleError, listed
from landcover_tf.legend import Legend
from landcover_tf.system.tables import Table, read_csv
from landcover_tf.vectors.geopackage import read_points

UNLABELLED = -1
GEOGRAPHIC = "EPSG:4326"
_EMPTY = ("", "na", "n/a", "nan", "null")
"""What programs write into a cell without a value, in small letters."""
_PAIRS = (("x", "y"), ("lon", "lat"), ("longitude", "latitude"))
"""Columns that hold a position, in small or capital letters; all but the first are degrees."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferencePoints:
    """Points and what the reference says there, nothing left out yet."""

    ids: tuple[str, ...]
    """Identifiers; in a table without them the line of each point, counted from 1."""
    x: np.ndarray
    """float64 [points], NaN without a position"""
    y: np.ndarray
    """float64 [points], NaN without a position"""
    crs: CRS | None
    """None where nothing says."""
    crs_assumed: bool
    """Neither the file nor the caller names it: it is `crs_of_x_y`, or else unknown."""
    reference: np.ndarray
    """Code as in the file, UNLABELLED where it is empty, int64 [points]."""
    stratum: np.ndarray | None
    """Code of the stratum, int64 [points]; None without such a column or where it is not asked
    for."""


def load_points(
    path: Path,
    legend: Legend,
    reference_legend: Legend,
    *,
    column: str = "reference",
    crs: str | None = None,
    crs_of_x_y: Callable[[], CRS | None] = lambda: None,
    layer: str | None = None,
    with_stratum: bool = True,
) -> ReferencePoints:
    """Returns the points of a file.

    Args:
        path: GeoPackage, or CSV with columns x and y, or lon and lat.
        legend: Legend of the map; its class names may stand for codes of strata.
        reference_legend: Whose class names may stand for codes of the reference.
        column: Column of the reference class, in any letters.
        crs: Reference system of a CSV file's positions, or of a GeoPackage that names none.
        crs_of_x_y: Gives that of columns x and y; called where a table has these and `crs` is None.
        layer: Layer of a GeoPackage that has several of points.
        with_stratum: Read the column `stratum`, if there is one.

    Raises:
        SampleError: The file has no points, lacks a column or the layer, names another reference
            system than `crs`, or a value cannot be read.
    """
    if not path.is_file():
        raise SampleError(f"{path} does not exist; expected reference points, .gpkg or .csv")
    if path.suffix.lower() == ".csv":
        if layer is not None:
            raise SampleError(f"--layer {layer} is that of a GeoPackage, {path} is a table")
        table, x, y, system, assumed = _read_csv(path, crs, crs_of_x_y)
        rows: Sequence[Mapping[str, Any]] = table.rows
        numbers: Sequence[int] = table.lines
    elif path.suffix.lower() == ".gpkg":
        points = read_points(path, layer)
        rows, numbers = points.rows, range(1, len(points.rows) + 1)
        system = _layer_system(points.crs, crs, path)
        assumed = system is None
        x, y = np.array(points.x, float), np.array(points.y, float)
    else:
        raise SampleError(f"{path} must be a GeoPackage (.gpkg) or a table (.csv)")
    if not rows:
        raise SampleError(f"{path} has no points")
    names = {str(name).strip().lower(): name for name in rows[0]}
    column = column if column in rows[0] else names.get(column.lower(), column)
    if column not in rows[0]:
        raise SampleError(
            f"{path} has no column {column!r}; it has {', '.join(rows[0])}; name the one with the "
            "reference class with --reference-column"
        )
    identify = next((names[name] for name in ("id", "fid") if name in names), None)
    ids = tuple(str(row[identify]) for row in rows) if identify else tuple(map(str, numbers))
    stratum = names.get("stratum") if with_stratum else None
    return ReferencePoints(
        ids=ids,
        x=x,
        y=y,
        crs=system,
        crs_assumed=assumed,
        reference=_codes(rows, column, reference_legend, ids, path),
        stratum=_codes(rows, stratum, legend, ids, path) if stratum else None,
    )


def _read_csv(
    path: Path, crs: str | None, crs_of_x_y: Callable[[], CRS | None]
) -> tuple[Table, np.ndarray, np.ndarray, CRS | None, bool]:
    """Returns the table, x, y, their reference system and whether nothing in the table names it."""
    try:
        table = read_csv(path)
    except UnicodeDecodeError as error:
        raise SampleError(
            f"{path} is not a table in UTF-8 ({error}); save it as CSV UTF-8, as spreadsheets offer"
        ) from error
    except (OSError, csv.Error) as error:
        raise SampleError(f"cannot read {path}: {error}") from error
    if not table.rows:
        return table, np.zeros(0), np.zeros(0), None, True
    lines = zip(table.lines, table.rows, strict=True)
    ragged = [str(line) for line, row in lines if None in row or None in row.values()]
    if ragged:
        raise SampleError(f"{path}: lines {listed(ragged)} have not as many cells as the header")
    columns = {name.lower(): name for name in table.columns}
    pair = next((p for p in _PAIRS if set(p) <= set(columns)), None)
    if pair is None:
        raise SampleError(
            f"{path} needs columns x and y, or lon and lat; it has {[*table.columns]}"
        )
    x, y = (_numbers(table, columns[name], path) for name in pair)
    assumed = crs is None and pair == _PAIRS[0]
    system = crs_of_x_y() if assumed else _system(crs or GEOGRAPHIC)
    return table, x, y, system, assumed


def _numbers(table: Table, column: str, path: Path) -> np.ndarray:
    """Returns a column of coordinates, float64 [points], NaN where there is none.

    Decimal commas occur only where commas separate nothing.
    """
    values = np.full(len(table.rows), np.nan)
    for i, row in enumerate(table.rows):
        text = (row[column] or "").strip()
        text = text.replace(",", ".") if table.separator == ";" else text
        if text.lower() in _EMPTY:
            continue
        try:
            values[i] = float(text)
        except ValueError as error:
            raise SampleError(
                f"{path}, line {table.lines[i]}, has {column} {row[column]!r}, which is not a "
                "number"
            ) from error
    return values


def _layer_system(own: CRS | None, wanted: str | None, path: Path) -> CRS | None:
    """Returns the reference system of a layer that has its own, or gets the wanted one."""
    if wanted is None:
        return own
    system = _system(wanted)
    if own is not None and own != system:
        raise SampleError(
            f"{path} is in {own.to_string()}, --points-crs says {wanted}; drop the flag, or "
            "correct the layer's reference system"
        )
    return system


def _system(name: str) -> CRS:
    try:
        return CRS.from_user_input(name)
    except CRSError as error:
        raise SampleError(f"--points-crs {name!r} is not a reference system: {error}") from error


def _codes(
    rows: Sequence[Mapping[str, Any]],
    column: str,
    legend: Legend,
    ids: Sequence[str],
    path: Path,
) -> np.ndarray:
    """Returns a column as codes; class names are translated, empty cells are UNLABELLED."""
    codes = {c.name.lower(): c.code for c in legend.classes} | {
        c.name: c.code for c in legend.classes
    }
    values = np.full(len(rows), UNLABELLED, np.int64)
    for i, row in enumerate(rows):
        cell = row[column]
        text = "" if cell is None else str(cell).strip()
        code = codes.get(text, codes.get(text.lower()))
        if code is None and text.lower() in _EMPTY:
            continue
        try:
            number = float(text if code is None else code)
        except ValueError:
            number = np.nan
        # NaN is not equal to its floor; what int64 cannot hold is no code.
        if number != np.floor(number) or not 0 <= number < 2**63:
            raise SampleError(
                f"{path}: point {ids[i]} has {column} {text!r}, which is neither a class code nor "
                f"a class name of legend {legend.name}"
            )
        values[i] = int(number)
    return values
