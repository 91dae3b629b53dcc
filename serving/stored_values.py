"""A raster's stored values brought into the model's units, with its pixels without data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from landcover_tf.dataset_info import BandInfo
from landcover_tf.model_info import ModelInfo
from landcover_tf.sentinel2.validity import ValidityBit, has_bit


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """From a raster's stored values to the model's: rint(stored * factor + term)."""

    factor: np.ndarray = field(hash=False)
    term: np.ndarray = field(hash=False)

    @staticmethod
    def between(source: Sequence[BandInfo], target: Sequence[BandInfo]) -> "Conversion | None":
        """Returns the conversion between two scalings of the same bands; None when equal."""
        if all(
            np.isclose(s.scale, t.scale) and np.isclose(s.offset, t.offset)
            for s, t in zip(source, target, strict=True)
        ):
            return None
        factor = np.array([s.scale / t.scale for s, t in zip(source, target, strict=True)])
        term = np.array(
            [(s.offset - t.offset) / t.scale for s, t in zip(source, target, strict=True)]
        )
        return Conversion(factor=factor, term=term)

    def of_bands(self, positions: Sequence[int]) -> "Conversion":
        """Returns the conversion of some of the bands."""
        return Conversion(factor=self.factor[positions], term=self.term[positions])

    def apply(self, image: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
        """Returns converted values; integers are rounded and saturate."""
        values = image.astype(np.float64) * self.factor + self.term
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        return np.asarray(values.astype(dtype))


def finish_pixels(
    image: np.ndarray,
    validity: np.ndarray,
    nodata: float | None,
    info: ModelInfo,
    conversion: Conversion | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns an image in the model's units whose no-data pixels and validity bits agree.

    Args:
        image: Stored values, [height, width, bands].
        validity: Bits known so far, uint8 [height, width]; changed in place.
        nodata: The raster's own value for no data. One band that holds it is enough where it
            cannot be data; where it can, as 0 among counts, all bands must.
        info: The model's contract.
        conversion: From the raster's units to the model's.
    """
    if image.dtype.kind == "f":
        validity |= np.isnan(image).any(axis=-1)
    dtype = np.dtype(info.dtype)
    if nodata is not None and not _can_be_data(nodata, image.dtype, dtype):
        validity |= (image == nodata).any(axis=-1)
        nodata = None
    for value in {nodata, info.nodata if conversion is None else None}:
        if value is not None:
            validity |= _all_equal(image, value)
    missing = has_bit(validity, ValidityBit.NODATA)
    if conversion is not None or image.dtype != dtype:
        image = np.where(missing[..., None], 0, image) if image.dtype.kind == "f" else image
        converter = conversion or Conversion(factor=np.ones(1), term=np.zeros(1))
        image = converter.apply(image, dtype)
        # A dark pixel that lands on the no-data value would vanish inside the model.
        vanished = _all_equal(image, info.nodata) & ~missing
        image[vanished] = _beside_nodata(info)
    if missing.any():
        image[missing] = info.nodata
    return image, validity


def _beside_nodata(info: ModelInfo) -> np.ndarray:
    """Returns the stored value that looks like the no-data value and is another."""
    dtype = np.dtype(info.dtype)
    if dtype.kind in "iu":
        step = 1 if info.nodata < np.iinfo(dtype).max else -1
        return np.array(info.nodata + step, dtype)
    # A millionth of reflectance: the next number above 0 is one that processors take for 0.
    nodata = np.float32(info.nodata)
    found = nodata + np.float32(1e-6 / info.bands[0].scale)
    return np.asarray(found if found != nodata else np.nextafter(nodata, np.float32(np.inf)))


def _can_be_data(value: float, stored: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """Returns whether a no-data value may be a measured one in some band as well."""
    if stored.kind == "f":
        return value == 0
    if target.kind == "f":
        return value >= 0
    return bool(np.iinfo(target).min <= value <= np.iinfo(target).max)


def _all_equal(image: np.ndarray, value: float) -> np.ndarray:
    equal = image[..., 0] == value
    # Most windows have no no-data pixel, so the first band settles it for them.
    return np.asarray((image == value).all(axis=-1) if equal.any() else equal)
