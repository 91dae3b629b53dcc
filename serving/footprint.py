"""The outline of a raster in degrees, as GeoJSON and STAC have it."""

import math
from typing import Any

from rasterio.crs import CRS
from rasterio.warp import transform, transform_bounds

from landcover_tf.rasters.bounds import Bounds

Ring = list[tuple[float, float]]
"""Longitudes and latitudes of corners; the first one is not repeated."""

_DEGREES = CRS.from_epsg(4326)


def footprint(crs: CRS, bounds: Bounds) -> tuple[dict[str, Any], list[float]]:
    """Returns outline and bounding box of a raster.

    The outline is cut at the antimeridian and runs counterclockwise (RFC 7946, sections 3.1.9 and
    3.1.6); the box's western bound is the greater number there (5.2). Around a pole the outline is
    the box.

    Args:
        crs: CRS of the raster.
        bounds: Least x and y, greatest x and y.

    Returns:
        A GeoJSON polygon or multipolygon; west, south, east, north in degrees.
    """
    west, south, east, north = transform_bounds(crs, _DEGREES, *bounds)
    # Rasters in degrees may go on beyond 180.
    whole = east - west >= 360
    west = -180.0 if whole else west - 360 * math.floor((west + 180) / 360)
    east = 180.0 if whole else east - 360 * math.ceil((east - 180) / 360)
    far_east = east if west <= east else east + 360
    if whole or max(-south, north) > 90 - 1e-9:
        ring = [(west, south), (far_east, south), (far_east, north), (west, north)]
    else:
        ring = _corners(crs, bounds, (west + far_east) / 2)
    if _area(ring) < 0:
        ring.reverse()
    parts = [ring]
    if west > east:
        beyond = [(lon - 360, lat) for lon, lat in _cut(ring, east=True)]
        # A raster may touch the antimeridian only.
        parts = [part for part in (_cut(ring, east=False), beyond) if _area(part) > 0]
    polygons = [[_closed(part)] for part in parts]
    geometry = (
        {"type": "Polygon", "coordinates": polygons[0]}
        if len(polygons) == 1
        else {"type": "MultiPolygon", "coordinates": polygons}
    )
    return geometry, [west, south, east, north]


def _corners(crs: CRS, bounds: Bounds, centre: float) -> Ring:
    """Returns the corners of a rectangle, less than half the Earth from a longitude."""
    left, bottom, right, top = bounds
    xs, ys = [left, right, right, left], [bottom, bottom, top, top]
    longitudes, latitudes = transform(crs, _DEGREES, xs, ys)[:2]
    near = [lon - 360 * round((lon - centre) / 360) for lon in longitudes]
    return list(zip(near, latitudes, strict=True))


def _cut(ring: Ring, *, east: bool) -> Ring:
    """Returns the part of a convex ring on one side of the antimeridian."""
    side, kept = 1 if east else -1, Ring()
    for (lon, lat), (next_lon, next_lat) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if side * (lon - 180) >= 0:
            kept.append((lon, lat))
        if (lon - 180) * (next_lon - 180) < 0:
            kept.append((180.0, lat + (next_lat - lat) * (180 - lon) / (next_lon - lon)))
    return kept


def _area(ring: Ring) -> float:
    """Returns the area in square degrees, negative of a clockwise ring."""
    after = [*ring[1:], *ring[:1]]
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(ring, after, strict=True)) / 2


def _closed(ring: Ring) -> list[list[float]]:
    return [[round(lon, 7), round(lat, 7)] for lon, lat in (*ring, ring[0])]
