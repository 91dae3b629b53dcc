"""How large the pixels of a raster are on the ground, wherever its projection puts them.

Coordinates in metres are metres on the ground only where the projection's scale is 1: a pixel of
10 m in Web Mercator is one of 5 m at 60 degrees of latitude. So sizes are measured on the
ellipsoid, and the projection's own are taken where they are right to 1 %, as in UTM.
"""

import math
from typing import TypeGuard

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points

from landcover_tf.rasters.raster_windows import RASTERIO_ERRORS

# WGS 84 (NIMA TR8350.2): semi-major axis and flattening.
SEMI_MAJOR_M = 6_378_137.0
FLATTENING = 1 / 298.257223563
ECCENTRICITY_SQUARED = FLATTENING * (2 - FLATTENING)

TOLERANCE = 0.01
"""How far a size may be off, relative to it."""
DATASET_TOLERANCE = 0.05
"""How far sizes may differ, relative to the usual one, in a dataset and in what its models map.
Those of one projection differ as well: of Web Mercator by 5 % over 3 degrees of latitude at 45."""

NO_AREA = (
    "its pixels have no one area on the ground: it is in degrees, without CRS, or in a projection "
    "whose scale varies by more than 1 % within it"
)
"""Why `pixel_area_m2` is None, for messages about a raster."""


def on_earth(crs: CRS | None) -> TypeGuard[CRS]:
    """Returns whether coordinates have a place on Earth, which those of a building site lack."""
    return crs is not None and bool(crs.is_projected or crs.is_geographic)


def pixel_sides_m(transform: Affine, crs: CRS, shape: tuple[int, int]) -> tuple[float, float]:
    """Returns height and width of a raster's middle pixel, whichever way the raster is turned.

    Args:
        transform: From pixels to coordinates.
        crs: Projected or in degrees.
        shape: Height and width of the raster in pixels.
    """
    down, right = _ground_steps(transform, crs, [(shape[0] / 2, shape[1] / 2)])[0]
    found = np.array([np.linalg.norm(down), np.linalg.norm(right)])
    steps = ((transform.b, transform.e), (transform.a, transform.d))
    nominal = _unit_m(crs) * np.array([math.hypot(*step) for step in steps])
    height, width = nominal if _confirmed(nominal, found) else found
    return float(height), float(width)


def square_side_m(transform: Affine, crs: CRS | None, shape: tuple[int, int]) -> float | None:
    """Returns the side of a square as large as the middle pixel, None without a projected CRS.

    Args:
        transform: From pixels to coordinates.
        crs: The coordinates' system.
        shape: Height and width of the raster in pixels.
    """
    if crs is None or not crs.is_projected:
        return None
    return math.sqrt(math.prod(pixel_sides_m(transform, crs, shape)))


def pixel_area_m2(transform: Affine, crs: CRS | None, shape: tuple[int, int]) -> float | None:
    """Returns the area of each pixel of a raster.

    Args:
        transform: From pixels to coordinates.
        crs: The coordinates' system.
        shape: Height and width of the raster in pixels.

    Returns:
        None without a projected CRS, and where pixels of one raster differ by more than 1 %.
    """
    if crs is None or not crs.is_projected:
        return None
    nominal = abs(transform.determinant) * _unit_m(crs) ** 2
    height, width = shape
    middle = (height / 2, width / 2)
    corners = [(row, col) for row in (0, height) for col in (0, width)]
    steps = _ground_steps(transform, crs, [middle, *corners])
    found = np.linalg.norm(np.cross(steps[:, 0], steps[:, 1]), axis=1)
    if _confirmed(nominal, found):
        return float(nominal)
    return float(found[0]) if _confirmed(found[0], found) else None


def _unit_m(crs: CRS) -> float:
    """Returns the length of a coordinate's unit; of a degree, that of the equator."""
    if crs.is_geographic:
        return math.radians(SEMI_MAJOR_M)
    return float(crs.linear_units_factor[1]) if crs.is_projected else 1.0


def _confirmed(expected: np.ndarray | float, found: np.ndarray) -> bool:
    """Returns whether measured sizes allow the expected ones; not a number contradicts nothing."""
    return not (abs(found / expected - 1) > TOLERANCE).any()


def _ground_steps(transform: Affine, crs: CRS, places: list[tuple[float, float]]) -> np.ndarray:
    """Returns how far a row and a column lead on the ground, in metres.

    Args:
        transform: From pixels to coordinates.
        crs: The coordinates' system.
        places: Row and column of each place.

    Returns:
        Differences of geocentric coordinates, float64 [places, 2, 3]; NaN where the projection
        says nothing.
    """
    rows, cols = np.array(places).T
    # Half a pixel to each side.
    down = [(rows + side, cols) for side in (-0.5, 0.5)]
    right = [(rows, cols + side) for side in (-0.5, 0.5)]
    row, col = np.stack([*down, *right], axis=1)
    x = transform.a * col + transform.b * row + transform.c
    y = transform.d * col + transform.e * row + transform.f
    if not on_earth(crs):  # GDAL would print an error as well.
        return np.full((len(places), 2, 3), np.nan)
    try:
        degrees = transform_points(crs, "EPSG:4326", x.ravel(), y.ravel())
    except RASTERIO_ERRORS:
        return np.full((len(places), 2, 3), np.nan)
    points = _geocentric(*np.array(degrees[:2])).reshape(4, len(places), 3)
    return np.stack([points[1] - points[0], points[3] - points[2]], axis=1)


def _geocentric(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """Returns x, y and z of points on the ellipsoid in metres, float64 [points, 3].

    N = a / sqrt(1 - e^2 sin^2(lat)) is the radius of curvature in the prime vertical.
    """
    # Points outside of a projection are infinite.
    known = np.isfinite(longitude) & np.isfinite(latitude)
    longitude, latitude = (
        np.radians(np.where(known, angle, np.nan)) for angle in (longitude, latitude)
    )
    normal = SEMI_MAJOR_M / np.sqrt(1 - ECCENTRICITY_SQUARED * np.sin(latitude) ** 2)
    x = normal * np.cos(latitude) * np.cos(longitude)
    y = normal * np.cos(latitude) * np.sin(longitude)
    z = normal * (1 - ECCENTRICITY_SQUARED) * np.sin(latitude)
    return np.column_stack([x, y, z])
