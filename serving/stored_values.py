"""A raster's stored values brought into the model's units, with its pixels without data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from landcover_tf.datasets.dataset_info import BandInfo
from landcover_tf.model_info import ModelInfo
from landcover_tf.rasters.nodata import assumed_nodata, can_hold, keep_apart, without_data
from landcover_tf.validity import ValidityBit, has_bit, set_bit

CONVERTED_ROWS = 32
"""Rows converted at a time: their float64 takes four times the room of uint16."""


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
        """Returns converted values, contiguous; integers are rounded and saturate."""
        converted = np.empty(image.shape, dtype)
        for start in range(0, len(image), CONVERTED_ROWS):
            rows = slice(start, start + CONVERTED_ROWS)
            values = image[rows].astype(np.float64, order="C")
            values *= self.factor
            values += self.term
            if dtype.kind in "iu":
                limits = np.iinfo(dtype)
                np.clip(np.rint(values, out=values), limits.min, limits.max, out=values)
            converted[rows] = values
        return converted


def finish_pixels(
    image: np.ndarray,
    validity: np.ndarray,
    nodata: float | None,
    info: ModelInfo,
    conversion: Conversion | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns an image in the model's units whose no-data pixels and validity bits agree.

    Args:
        image: Stored values, [height, width, bands]; may be changed in place. What is read band by
            band had better come so, as a view: it is looked through as it lies in memory.
        validity: Bits known so far, uint8 [height, width]; changed in place.
        nodata: The raster's own value for no data. In the model's units, the model's is one too;
            in others, the builder's for rasters that declare none is where this one does not.
        info: The model's contract.
        conversion: From the raster's units to the model's.

    Returns:
        The image, the one that came where nothing is converted; and the validity.
    """
    values = [nodata, info.nodata]
    if conversion is not None:
        values = [_declared_or_assumed(nodata, image.dtype, info)]
    set_bit(validity, without_data(np.moveaxis(image, -1, 0), values), ValidityBit.NODATA)
    missing = has_bit(validity, ValidityBit.NODATA)
    dtype = np.dtype(info.dtype)
    if conversion is not None or image.dtype != dtype:
        if image.dtype.kind == "f":
            image[missing] = 0  # NaN has no integer.
        converter = conversion or Conversion(factor=np.ones(1), term=np.zeros(1))
        image = converter.apply(image, dtype)
        # A dark pixel that lands on the no-data value would vanish inside the model.
        keep_apart(image, info.nodata, info.bands[0].scale)
    if missing.any():
        image[missing] = info.nodata
    return image, validity


def _declared_or_assumed(
    nodata: float | None, dtype: np.dtype[Any], info: ModelInfo
) -> float | None:
    if nodata is not None and can_hold(dtype, nodata):
        return nodata
    # The builder keeps zeros where the dataset's value is another one, as of --nodata none.
    zeros_are_data = np.dtype(info.dtype).kind == "u" and info.nodata != 0
    return None if dtype.kind == "u" and zeros_are_data else assumed_nodata(dtype)
