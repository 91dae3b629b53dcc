"""Which pixels of a plain raster hold no data: one law for what is trained on and what is mapped.

A pixel has no data where the raster's mask or alpha band leaves it out, where a band is NaN or
infinite, and where it holds a no-data value: in any band if that value cannot have been measured
there, as -9999, and in all bands if it can, as 0 of counts, which may be a dark band.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from rasterio import DatasetReader
from rasterio.enums import ColorInterp, MaskFlags


def without_data(planes: np.ndarray, values: Iterable[float | None]) -> np.ndarray:
    """Returns where the stored values are no data, bool [height, width].

    Args:
        planes: Stored values, [bands, height, width].
        values: No-data values; None is none.
    """
    wanted = _held(planes.dtype, values)
    missing = np.zeros(planes.shape[1:], bool)
    for _, where in lacking(planes, wanted):
        missing |= where
    for value in wanted:
        if _can_be_measured(value, planes.dtype):
            missing |= _in_all_bands(planes, value)
    return missing


def lacking(planes: np.ndarray, values: Iterable[float | None]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields where single bands have no data, which is none of the pixel: NaN, infinity, or -9999.

    Args:
        planes: Stored values, [bands, height, width].
        values: No-data values; those that can have been measured tell nothing of a single band.

    Yields:
        Positions of bands and bool [height, width]; bands that cannot lack data are left out.
    """
    dtype = planes.dtype
    strange = [v for v in _held(dtype, values) if not _can_be_measured(v, dtype)]
    if dtype.kind != "f" and not strange:
        return
    for band, plane in enumerate(planes):
        where = ~np.isfinite(plane) if dtype.kind == "f" else np.zeros(plane.shape, bool)
        for value in strange:
            where |= plane == value
        yield band, where


def assumed_nodata(dtype: str | np.dtype[Any]) -> float:
    """Returns what is taken for no data in rasters of a type that declare nothing.

    It is 0 of unsigned integers, else a value that real data hardly takes.
    """
    kind = np.dtype(dtype).kind
    if kind == "u":
        return 0.0
    return float(np.iinfo(dtype).min) if kind == "i" else -9999.0


def undeclared(planes: np.ndarray, missing: np.ndarray) -> dict[float, np.ndarray]:
    """Returns where all bands hold one value that may be a no-data value, by that value.

    Looked for are 0 and the least and greatest value of the first band, for no-data values are
    extreme; in a single band, only what cannot have been measured.

    Args:
        planes: Stored values, [bands, height, width].
        missing: Pixels that are known to have no data, bool [height, width].

    Returns:
        Values that occur, with bool [height, width] each.
    """
    some_missing = missing.any()
    first = planes[0][~missing] if some_missing else planes[0]
    if not first.size:
        return {}
    found = {}
    for value in sorted({float(first.min()), float(first.max()), 0.0}):
        if len(planes) == 1 and value >= 0:
            continue
        where = _in_all_bands(planes, value)
        if some_missing:
            where &= ~missing
        if where.any():
            found[value] = where
    return found


def keep_apart(image: np.ndarray, nodata: float, scale: float) -> None:
    """Moves pixels that hold the no-data value in all bands to the next value in their first.

    So they keep their data where all bands at that value mean none: in records and in models.

    Args:
        image: Stored values, [height, width, bands]; changed in place.
        nodata: The no-data value.
        scale: Reflectance of a stored unit in the first band.
    """
    alike = _in_all_bands(np.moveaxis(image, -1, 0), nodata)
    if alike.any():
        image[alike, 0] = _beside(nodata, image.dtype, scale)


def can_hold(dtype: str | np.dtype[Any], value: float | None) -> bool:
    """Returns whether a pixel of a type can hold a value; rasters declare others too."""
    if value is None or np.dtype(dtype).kind == "f":
        return True
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max


def masked(raster: DatasetReader, bands: Sequence[int], **place: Any) -> np.ndarray:
    """Returns what a raster's own mask and alpha band leave out.

    Args:
        raster: Open for reading.
        bands: Bands that are read as the image, from 1; an alpha band among them is no mask.
        place: `window` or `out_shape`, as of its `read`.

    Returns:
        bool [height, width]; a single False, [], where it has neither.

    Raises:
        rasterio.errors.RasterioError: It is damaged there.
    """
    left_out = np.asarray(False)
    alpha = alpha_band(raster)
    if alpha is not None and alpha not in bands:
        left_out = left_out | (raster.read(alpha, **place) == 0)
    if has_mask(raster):
        left_out = left_out | (raster.dataset_mask(**place) == 0)
    return left_out


def has_mask(raster: DatasetReader) -> bool:
    """Returns whether one mask beside the bands says which pixels of all bands hold data."""
    flags = raster.mask_flag_enums[0]
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


def alpha_band(raster: DatasetReader) -> int | None:
    """Returns the 1-based alpha band; GDAL takes it as the mask of integers only.

    GDAL calls the fourth of four bands of bytes alpha on its own, so one with the name of a band
    of the image is that.
    """
    tagged = [n for n, kind in enumerate(raster.colorinterp, 1) if kind == ColorInterp.alpha]
    unnamed = [n for n in tagged if (raster.descriptions[n - 1] or "alpha").lower() == "alpha"]
    return unnamed[0] if unnamed else None


def _held(dtype: np.dtype[Any], values: Iterable[float | None]) -> set[float]:
    """Returns the values that pixels of a type can hold."""
    return {value for value in values if value is not None and can_hold(dtype, value)}


def _can_be_measured(value: float, dtype: np.dtype[Any]) -> bool:
    """Returns whether some band may hold a value as its measurement: dark, or saturated."""
    return value == 0 if dtype.kind == "f" else value >= 0


def _in_all_bands(planes: np.ndarray, value: float) -> np.ndarray:
    # In the planes' own type: NumPy would make floats of all integers to compare them with one.
    stored = planes.dtype.type(value)
    equal = np.asarray(planes[0] == stored)
    for plane in planes[1:]:
        # Most windows have no such pixel, so the first band settles it for them.
        if not equal.any():
            break
        equal &= plane == stored
    return equal


def _beside(nodata: float, dtype: np.dtype[Any], scale: float) -> Any:
    """Returns the stored value that looks like the no-data value and is another, towards 0."""
    step = -1 if nodata > 0 else 1
    if dtype.kind in "iu":
        return dtype.type(nodata + step)
    # A millionth of reflectance: the next number above 0 is one that processors take for 0.
    value = dtype.type(nodata)
    found = value + dtype.type(step * 1e-6 / scale)
    return found if found != value else np.nextafter(value, dtype.type(0))
