"""Class codes as rasters of labels hold them, whatever their type and their way to say no data."""

from typing import Any

import numpy as np
from rasterio import DatasetReader

from landcover_tf.crosswalk import Crosswalk
from landcover_tf.errors import LabelError
from landcover_tf.grid import Window
from landcover_tf.rasters.nodata import alpha_band, masked
from landcover_tf.rasters.raster_windows import rasterio_window, require_one_raster, told_damage

_LARGEST = 2**53
"""Whole numbers beyond are not told apart by floats."""


def has_one_band(raster: DatasetReader) -> bool:
    """Returns whether a raster has one band, beside it at most an alpha, as labels have."""
    return [number for number in raster.indexes if number != alpha_band(raster)] == [1]


def require_codes(raster: DatasetReader) -> None:
    """Refuses a raster that has not one band of numbers.

    Raises:
        LabelError: It has several bands or another type, or holds several rasters.
    """
    require_one_raster(raster, LabelError)
    if not has_one_band(raster):
        raise LabelError(
            f"{raster.name} has {raster.count} bands; expected one with a code per pixel"
        )
    if np.dtype(raster.dtypes[0]).kind not in "iuf":
        raise LabelError(
            f"{raster.name} holds {raster.dtypes[0]}; class codes are whole numbers, convert it"
        )


def read_codes(raster: DatasetReader, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Returns a window's class codes and where there is none.

    Tools that burn polygons write floats unless told otherwise, so whole ones are taken.

    Args:
        raster: A label raster, see `require_codes`.
        window: Inside it.

    Returns:
        Codes, of the raster's type or int64 for floats [height, width]; and True where its mask,
        its no-data value or NaN say that there is no data, bool [height, width].

    Raises:
        LabelError: The file is damaged there, or a value is no whole number.
    """
    with told_damage(raster, window, LabelError):
        stored, missing = _stored(raster, window=rasterio_window(window))
    return _whole(raster, stored, missing, f" at rows {window.row_off} to {window.row_end}")


def decimated_codes(raster: DatasetReader, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns class codes of a whole raster and where there is none, as `read_codes` does.

    Args:
        raster: A label raster without its overviews, which may hold other codes.
        shape: Height and width to return.

    Raises:
        LabelError: A value is no whole number.
        rasterio.errors.RasterioError: The file is damaged.
    """
    return _whole(raster, *_stored(raster, out_shape=shape))


def read_target(
    raster: DatasetReader, window: Window, crosswalk: Crosswalk
) -> tuple[np.ndarray, dict[int, int]]:
    """Returns a window in a crosswalk's target codes.

    Returns:
        Target codes, uint8 [height, width], no data where there is none; and the pixels of each
        code that the crosswalk does not know.

    Raises:
        LabelError: As by `read_codes`.
    """
    stored, missing = read_codes(raster, window)
    codes = crosswalk.remap(stored, unknown="ignore", where=raster.name)
    codes[missing] = crosswalk.target.nodata
    return codes, crosswalk.unknown_counts(stored[~missing] if missing.any() else stored)


def _stored(raster: DatasetReader, **place: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns values as they are stored, and where the raster says that there are none."""
    stored = raster.read(1, **place)
    missing = np.zeros(stored.shape, bool)
    missing |= masked(raster, [1], **place)
    if raster.nodata is not None:
        missing |= stored == raster.nodata
    if stored.dtype.kind == "f":
        missing |= np.isnan(stored)
    return stored, missing


def _whole(
    raster: DatasetReader, stored: np.ndarray, missing: np.ndarray, where: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Returns values as whole numbers, and where there are none."""
    if stored.dtype.kind != "f":
        return stored, missing
    values = np.where(missing, 0, stored)
    strange = (values != np.rint(values)) | (np.abs(values) > _LARGEST)
    if strange.any():
        raise LabelError(
            f"{raster.name} holds {values[strange][0]:g}{where}; class codes are whole numbers, "
            "convert it or declare its no-data value (gdal_edit.py -a_nodata)"
        )
    return values.astype(np.int64), missing
