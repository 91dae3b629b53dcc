"""Small label rasters, warped onto one grid of 10 m."""

import numpy as np
import rasterio
from rasterio.transform import Affine

from landcover_tf.crosswalk import load_crosswalk
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.sentinel2.label_rasters import find_label_rasters, overlapping
from landcover_tf.sentinel2.labels import warp_labels

GRID = Affine(10, 0, 499980, 0, -10, 4200000)
CRS = rasterio.CRS.from_epsg(32634)
SIDE = 60
"""Pixels of a row and of a column."""
IMAGE = RasterGrid(height=SIDE, width=SIDE, crs=CRS, transform=GRID)


def write(path, codes, transform, crs="EPSG:32634", nodata=None, dtype=None):
    """Writes label codes, [height, width], and returns the path."""
    codes = np.asarray(codes, dtype or np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", height=codes.shape[0], width=codes.shape[1], count=1,
        dtype=codes.dtype, crs=crs, transform=transform, nodata=nodata,
    ) as dataset:  # fmt: skip
        dataset.write(codes, 1)
    return path


def warp(path, source="landcover9", unknown="error", target="landcover9", **options):
    """Returns the labels of a raster, or a folder of them, on the grid `IMAGE`."""
    rasters = overlapping(find_label_rasters(path), IMAGE)
    return warp_labels(
        rasters, load_crosswalk(source, target), grid=IMAGE, unknown=unknown, **options
    )
