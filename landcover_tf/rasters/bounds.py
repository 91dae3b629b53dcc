"""Boxes around rasters and polygons in coordinates of a CRS."""

from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import transform_bounds

Bounds = tuple[float, float, float, float]
"""Least x and y, and greatest x and y."""


def bounds_of(transform: Affine, shape: tuple[int, int]) -> Bounds:
    """Returns the bounds of a raster's four corners.

    Args:
        transform: From columns and rows to coordinates.
        shape: Height and width.
    """
    # Rasterio's own bounds take the last row for the southern one, wherever it lies.
    height, width = shape
    corners = [transform @ (col, row) for col in (0, width) for row in (0, height)]
    x, y = zip(*corners, strict=True)
    return min(x), min(y), max(x), max(y)


def reprojected(bounds: Bounds, source: CRS | str, target: CRS | str) -> list[Bounds]:
    """Returns bounds in another CRS; those across the antimeridian are two boxes in degrees.

    Args:
        bounds: In `source`.
        source: Their CRS.
        target: The other one.

    Raises:
        rasterio.errors.CRSError, or one of `raster_windows.RASTERIO_ERRORS`: `target` has no such
            place.
    """
    west, south, east, north = transform_bounds(source, target, *bounds)
    # Across the antimeridian the western bound is the greater number.
    spans = [(west, 180.0), (-180.0, east)] if west > east else [(west, east)]
    return [(left, south, right, north) for left, right in spans]
