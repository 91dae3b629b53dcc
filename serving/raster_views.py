"""Rasters opened at the model's resolution, with the mask that they bring along."""

import math
from pathlib import Path

import rasterio
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from landcover_tf.errors import RasterError
from landcover_tf.rasters.nodata import alpha_band, has_mask
from landcover_tf.rasters.pixel_sizes import DATASET_TOLERANCE, pixel_sides_m


def resampled(
    dataset: rasterio.DatasetReader, resolution_m: float | None, path: Path, *, resample: bool
) -> rasterio.DatasetReader:
    """Returns the dataset, or a view of it at the model's resolution if that was asked for.

    Raises:
        RasterError: The resolution is another one and `resample` is off.
    """
    if dataset.crs is None or resolution_m is None:
        return dataset
    row_m, col_m = pixel_sides_m(dataset.transform, dataset.crs, dataset.shape)
    row_factor, col_factor = row_m / resolution_m, col_m / resolution_m
    if all(abs(factor - 1) <= DATASET_TOLERANCE for factor in (row_factor, col_factor)):
        return dataset
    if not resample:
        size = f"{row_m:g}" if math.isclose(row_m, col_m) else f"{col_m:g} x {row_m:g}"
        raise RasterError(
            f"{path} has pixels of {size} m, the model was trained on {resolution_m:g} m "
            f"(factor {row_factor:g}); pass --resample to resample it"
        )
    height = max(round(dataset.height * row_factor), 1)
    width = max(round(dataset.width * col_factor), 1)
    old, across, down = dataset.transform, dataset.width / width, dataset.height / height
    transform = Affine(old.a * across, old.b * down, old.c, old.d * across, old.e * down, old.f)
    categorical = dataset.count == 1 and dataset.dtypes[0] == "uint8"
    return WarpedVRT(
        dataset,
        crs=dataset.crs,
        # A view has no mask of its own, so it takes that of the raster along as a band.
        add_alpha=has_mask(dataset) and alpha_band(dataset) is None,
        transform=transform,
        width=width,
        height=height,
        resampling=Resampling.nearest
        if categorical
        else (Resampling.average if row_factor < 1 else Resampling.bilinear),
    )
