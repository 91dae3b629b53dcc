"""The picture of a map: image, truth, map and confidence side by side."""

from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

from landcover_tf.errors import RasterError
from landcover_tf.legend import IGNORED, Legend
from landcover_tf.pixel_sizes import pixel_sides_m
from landcover_tf.sentinel2.label_rasters import open_codes
from serving.band_content import LEVELS
from serving.source import Source

PICTURE_PX = 900
"""Longest side of a panel."""


def write_picture(
    path: Path,
    map_path: Path,
    confidence_path: Path | None,
    source: Source | None,
    *,
    legend: Legend,
    truth: Path | None,
    title: str,
) -> None:
    """Writes colour image, truth, prediction and confidence side by side, with legend."""
    from landcover_tf.pictures import class_picture, composite, grey_picture, save_panels

    with rasterio.open(map_path) as dataset:
        shape = _picture_shape(dataset.height, dataset.width)
        classes = dataset.read(1, out_shape=shape)
        metres = None
        if dataset.crs is not None and dataset.crs.is_projected:
            # The picture's scale bar lies along the rows.
            _, width_m = pixel_sides_m(dataset.transform, dataset.crs, dataset.shape)
            metres = width_m * dataset.width / shape[1]
    panels: list[tuple[str, np.ndarray]] = []
    if source is not None:
        image, names, valid = source.preview(shape)
        panels.append(("image", composite(image, names, valid=valid)))
    if truth is not None:
        panels.append(("truth", class_picture(read_truth(truth, map_path, shape, legend), legend)))
    panels.append(("prediction", class_picture(classes, legend)))
    if confidence_path is not None:
        with rasterio.open(confidence_path) as dataset:
            levels = dataset.read(1, out_shape=shape)
        picture = grey_picture(levels / LEVELS, 0, 1)
        picture[levels == IGNORED] = 240
        panels.append(("confidence, 0 (dark) to 1", picture))
    save_panels(path, panels, legend=legend, title=title, metres_per_pixel=metres)


def check_truth(truth: Path, legend: Legend) -> None:
    """Refuses a label raster of another legend before any work is done.

    Raises:
        RasterError: It is unreadable or holds codes that the legend does not have.
    """
    try:
        with open_codes(truth) as labels:
            shape = _picture_shape(labels.height, labels.width)
            codes = legend.with_own_nodata(labels.read(1, out_shape=shape), labels.nodata)
    except RasterioError as error:
        raise RasterError(f"--truth {truth} is not a readable raster: {error}") from error
    unknown = legend.unknown_codes(codes)
    if unknown:
        raise RasterError(
            f"--truth {truth} has codes {sorted(unknown)} that the model's legend {legend.name!r} "
            f"does not have (it has {sorted(legend.codes)}); remap the labels first"
        )


def read_truth(truth: Path, map_path: Path, shape: tuple[int, int], legend: Legend) -> np.ndarray:
    """Returns a label raster on the map's grid, decimated to `shape`, uint8 legend codes.

    A raster of the map's size is taken as it is; any other is placed by its georeference.
    """
    from rasterio.vrt import WarpedVRT

    with rasterio.open(map_path) as grid, open_codes(truth) as labels:
        nodata = legend.nodata if labels.nodata is None else labels.nodata
        same = (labels.height, labels.width) == (grid.height, grid.width)
        if same or grid.crs is None or labels.crs is None:
            return _legend_codes(labels.read(1, out_shape=shape), nodata, legend)
        with WarpedVRT(
            labels,
            src_nodata=nodata,
            nodata=nodata,
            crs=grid.crs,
            transform=grid.transform,
            height=grid.height,
            width=grid.width,
            resampling=Resampling.nearest,
        ) as placed:
            return _legend_codes(placed.read(1, out_shape=shape), nodata, legend)


def _legend_codes(labels: np.ndarray, nodata: float, legend: Legend) -> np.ndarray:
    codes = legend.with_own_nodata(labels, nodata)
    # The check before the work saw some pixels only; a stranger must not wrap to a known code.
    stranger = next(code for code in range(256) if code not in (legend.nodata, *legend.codes))
    return np.where((codes >= 0) & (codes < 256), codes, stranger).astype(np.uint8)


def _picture_shape(height: int, width: int) -> tuple[int, int]:
    factor = max(height, width) / min(PICTURE_PX, max(height, width))
    return max(round(height / factor), 1), max(round(width / factor), 1)
