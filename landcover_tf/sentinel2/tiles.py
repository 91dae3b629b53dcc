"""Where an MGRS tile lies: its UTM zone, its upper-left corner and its outline in degrees."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.features import geometry_mask, is_valid_geom
from rasterio.transform import Affine
from rasterio.warp import transform, transform_bounds, transform_geom

from landcover_tf.errors import ProductError
from landcover_tf.rasters.raster_windows import RASTERIO_ERRORS

TILE_PX = 10980
"""Height and width of a full tile at 10 m."""

_PATTERN = re.compile(r"^T?(\d{2})([C-HJ-NP-X])([A-HJ-NP-Z])([A-HJ-NP-V])$")
_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
# The three sets of column letters, for zones 1, 4, 7 ...; 2, 5, 8 ...; 3, 6, 9 ... (MGRS).
_COLUMNS = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
# UTM's northing of the equator in the zones of the southern hemisphere, in m.
_FALSE_NORTHING = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One Sentinel-2 tile."""

    name: str
    """Without the leading T, for example 34SEH."""
    epsg: int
    """326zz north of the equator, 327zz south of it."""
    ulx: int
    """Easting of the upper-left corner in m, a multiple of 60."""
    uly: int
    """Northing of the upper-left corner in m; north of the equator a multiple of 60, south of it
    10 000 000 less a multiple of 60."""

    @property
    def crs(self) -> str:
        """The coordinate reference system, for example EPSG:32634."""
        return f"EPSG:{self.epsg}"

    @property
    def bounds_degrees(self) -> tuple[float, float, float, float]:
        """West, south, east, north in WGS 84 degrees of the 109.8 km square."""
        side = TILE_PX * 10
        west, south, east, north = transform_bounds(
            self.crs, "EPSG:4326", self.ulx, self.uly - side, self.ulx + side, self.uly
        )
        return west, south, east, north

    @property
    def outline_degrees(self) -> dict[str, Any]:
        """The box of `bounds_degrees` in GeoJSON, in two where it lies over the antimeridian."""
        west, south, east, north = self.bounds_degrees
        spans = [(west, east)] if west < east else [(west, 180.0), (-180.0, east)]
        boxes = [[[[w, south], [e, south], [e, north], [w, north], [w, south]]] for w, e in spans]
        if len(boxes) == 1:
            return {"type": "Polygon", "coordinates": boxes[0]}
        return {"type": "MultiPolygon", "coordinates": boxes}

    def covered_fraction(self, footprint: Mapping[str, Any]) -> float | None:
        """Returns the share of the tile that `covered` finds, to about 1 %."""
        covered = self.covered(footprint)
        return None if covered is None else float(covered.mean())

    def covered(self, footprint: Mapping[str, Any]) -> np.ndarray | None:
        """Returns which cells of 600 m of the tile a footprint covers, bool [183, 183].

        Args:
            footprint: GeoJSON polygons in WGS 84 degrees; None comes back for anything else.
        """
        if "Polygon" not in str(footprint.get("type")) or not is_valid_geom(footprint):
            return None
        side = TILE_PX // 60
        try:
            covered: np.ndarray = geometry_mask(
                [transform_geom("EPSG:4326", self.crs, footprint)],
                out_shape=(side, side),
                transform=Affine(600, 0, self.ulx, 0, -600, self.uly),
                invert=True,
            )
        except RASTERIO_ERRORS:  # Its coordinates are no places on earth.
            return None
        return covered


def footprint_of(positions: str) -> dict[str, Any]:
    """Returns the polygon of an EXT_POS_LIST, latitudes first; {} where it is no closed ring."""
    try:
        values = [float(value) for value in positions.split()]
    except ValueError:
        return {}
    ring = [list(pair) for pair in zip(values[1::2], values[::2], strict=False)]
    return {"type": "Polygon", "coordinates": [ring]} if ring and ring[0] == ring[-1] else {}


def parse_tile(name: str) -> Tile:
    """Returns the tile of an MGRS name such as 34SEH or T34SEH.

    Sentinel-2 lays its corners on multiples of 60 m from the equator and from the easting 0: the
    100 km square's corner, rounded outwards (west and north).

    Raises:
        ProductError: The name is not an MGRS square, or its letters contradict each other.
    """
    match = _PATTERN.match(name.upper())
    if not match:
        raise ProductError(f"expected an MGRS tile such as 34SEH, got {name!r}")
    zone, band, column, row = int(match[1]), match[2], match[3], match[4]
    columns = _COLUMNS[(zone - 1) % 3] if 1 <= zone <= 60 else ""
    if column not in columns:
        raise ProductError(f"tile {name}: UTM zone {zone} has no 100 km column {column}")
    easting = (columns.index(column) + 1) * 100_000
    epsg = (32600 if band >= "N" else 32700) + zone
    top = _northing(epsg, zone, band, row, name) + 100_000
    equator = 0 if band >= "N" else _FALSE_NORTHING
    return Tile(
        name=f"{zone:02d}{band}{column}{row}",
        epsg=epsg,
        ulx=easting // 60 * 60,
        uly=equator - (equator - top) // 60 * 60,
    )


def _northing(epsg: int, zone: int, band: str, row: str, name: str) -> int:
    """Returns the square's lower edge; row letters repeat every 2000 km, the band decides."""
    offset = (_ROWS.index(row) - (5 if zone % 2 == 0 else 0)) % 20 * 100_000
    south = -80.0 + 8 * _BANDS.index(band)
    height = 12 if band == "X" else 8
    meridian = 6.0 * zone - 183
    _, (low, high) = transform("EPSG:4326", f"EPSG:{epsg}", [meridian] * 2, [south, south + height])
    # Squares reach over the band's limits: far from the meridian, parallels bend by up to 35 km.
    candidates = [
        northing
        for northing in range(offset, 10_000_000, 2_000_000)
        if low - 140_000 < northing < high + 40_000
    ]
    if not candidates:
        raise ProductError(f"tile {name}: row {row} does not lie in latitude band {band}")
    return candidates[0]
