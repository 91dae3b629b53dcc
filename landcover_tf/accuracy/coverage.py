"""How much of an assessed map lies in the strata that its sample was drawn from."""

from collections.abc import Collection, Mapping

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from landcover_tf.accuracy.class_map import ClassMap, MapPixels
from landcover_tf.raster_windows import read_window

# Two rasters without reference system share one, and warping needs its name, whichever it is.
_ANY_CRS = CRS.from_epsg(3857)
_TOLERANCE_PX = 0.001
"""Of the places that GDAL interpolates along a row; rasterio 1.4 cannot ask for exact ones."""


def of_own_strata(pixels: MapPixels, strata: Collection[int]) -> Mapping[int, int]:
    """Returns the pixels of each class of a map whose classes are the strata.

    Args:
        pixels: Of the map.
        strata: Codes of the strata that the sample covers.
    """
    return {code: n if code in strata else 0 for code, n in pixels.classes.items()}


def in_strata_of(
    class_map: ClassMap, strata_map: ClassMap, strata: Collection[int], *, rows_per_strip: int
) -> Mapping[int, int]:
    """Returns the pixels of each class of a map whose centres lie in the strata of another map.

    Args:
        class_map: The assessed map.
        strata_map: Of any grid.
        strata: Codes of the strata that the sample covers.
        rows_per_strip: Rows held at once.
    """
    counts = np.zeros(256, np.int64)
    crs = class_map.crs or strata_map.crs or _ANY_CRS
    with (
        rasterio.open(strata_map.path) as raster,
        WarpedVRT(
            raster,
            src_crs=strata_map.crs or crs,
            crs=crs,
            transform=class_map.transform,
            height=class_map.height,
            width=class_map.width,
            src_nodata=strata_map.legend.nodata,
            nodata=strata_map.legend.nodata,
            resampling=Resampling.nearest,
            tolerance=_TOLERANCE_PX,
        ) as aligned,
    ):
        for window in class_map.strips(rows_per_strip):
            inside = np.isin(read_window(aligned, window), list(strata))
            codes = class_map.read(window)
            counts += np.bincount(codes[inside], minlength=256)
    return {code: int(counts[code]) for code in class_map.legend.codes}
