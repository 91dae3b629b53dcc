"""Boxes around rasters and polygons in coordinates of a CRS."""

from rasterio.transform import Affine

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
