"""How large the pixels of a raster are on the ground."""

import math

from rasterio import Affine
from rasterio.crs import CRS

METRES_PER_DEGREE = 111_320.0
"""Of the equator of WGS 84: 2 pi 6,378,137 m / 360 (NIMA TR8350.2); a degree of latitude is
between 0.7 % shorter and 0.4 % longer."""


def pixel_sides_m(transform: Affine, crs: CRS) -> tuple[float, float]:
    """Returns height and width of a pixel, whichever way the raster is turned.

    How long a degree along a row is depends on the latitude; degrees down are all alike, so a
    pixel of degrees counts as a square of its height.
    """
    height, width = math.hypot(transform.b, transform.e), math.hypot(transform.a, transform.d)
    if crs.is_geographic:
        return height * METRES_PER_DEGREE, height * METRES_PER_DEGREE
    unit_m = float(crs.linear_units_factor[1])
    return height * unit_m, width * unit_m


def pixel_area_m2(transform: Affine, crs: CRS | None) -> float | None:
    """Returns the area of a pixel; None without a projected CRS."""
    if crs is None or not crs.is_projected:
        return None
    unit_m = crs.linear_units_factor[1]
    return float(abs(transform.determinant) * unit_m**2)
