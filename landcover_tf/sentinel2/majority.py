"""The class with the largest area in each pixel of a coarser grid."""

import math
from collections.abc import Callable

import numpy as np
from rasterio.transform import Affine

from landcover_tf.sentinel2.label_rasters import position

_WHOLE = 254
"""What stands for a pixel that is one class as a whole; its half is a whole number, too."""
_BYTES_AT_ONCE = 2**27
"""Masks of classes in memory at once, about."""


def largest_class(
    codes: np.ndarray,
    average: Callable[[np.ndarray], np.ndarray],
    *,
    nodata: int,
    place: Affine,
    shape: tuple[int, int],
    min_labelled_fraction: float,
) -> np.ndarray:
    """Returns the class that covers most of each pixel of a grid, uint8 [height, width].

    `mode` of GDAL 3.10 counts every label that a pixel touches in full, which moves labels of 8 m
    by a quarter of a pixel to the south-east. The averages of one mask per class count areas.

    Args:
        codes: Codes of the finer raster, uint8 [rows, cols].
        average: Returns the area-weighted means of masks, uint8 [masks, rows, cols], in the
            pixels of the grid, uint8 [masks, height, width]; 0 beyond the raster.
        nodata: The code of no class.
        place: Transform of the grid.
        shape: Height and width of the grid.
        min_labelled_fraction: Least part of a pixel with a class for it to get one.
    """
    present = np.flatnonzero(np.bincount(codes.ravel()))
    classes = present[present != nodata].astype(np.uint8)
    found = np.full(shape, nodata, np.uint8)
    best = np.zeros(shape, np.uint8)
    odd = _chessboard(place, shape)
    at_once = max(1, _BYTES_AT_ONCE // max(codes.size, 1))
    for start in range(0, len(classes), at_once):
        some = classes[start : start + at_once]
        masks = (codes == some[:, None, None]) * np.uint8(_WHOLE)
        for code, area in zip(some, average(masks), strict=True):
            # Half of the ties to either class: all to one would enlarge it or move borders.
            larger = (area > best) | ((area == best) & odd & (area > 0))
            np.copyto(best, area, where=larger)
            found[larger] = code
    if min_labelled_fraction and len(classes) < len(present):
        (labelled,) = average((codes != nodata)[None] * np.uint8(_WHOLE))
        found[labelled < min_labelled_fraction * _WHOLE] = nodata
    return found


def _chessboard(place: Affine, shape: tuple[int, int]) -> np.ndarray:
    """Returns every other pixel, bool [height, width], the same ones for any window of a grid."""
    # Pixels from the CRS's origin; the map may be turned. Origins of grids lie on whole or half
    # pixels, and the quarter keeps rounding away from both.
    to_pixels = ~Affine(place.a, place.b, 0, place.d, place.e, 0)
    first = sum(math.floor(way + 0.25) for way in position(to_pixels, place.c, place.f))
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    return np.asarray((rows + cols + first) % 2 == 1)
