"""The pixels of a source, read window by window."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import rasterio

from landcover_tf.crosswalk import Crosswalk
from landcover_tf.grid import Window
from landcover_tf.rasters.label_codes import read_target
from landcover_tf.rasters.nodata import keep_apart, lacking, masked, undeclared, without_data
from landcover_tf.rasters.raster_windows import rasterio_window, read_window, told_damage
from landcover_tf.validity import ValidityBit, has_bit, set_bit
from tfrecords_builder.rasters import SourceRaster, opened

Padding = tuple[tuple[int, int], tuple[int, int]]
"""Pixels beyond the raster: ((top, bottom), (left, right))."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pixels:
    """What a window holds; beyond the raster's edge it is no data."""

    image: np.ndarray | None
    """Stored values, [height, width, bands]; the dataset's no-data value where there is none."""
    label: np.ndarray
    """Legend codes, uint8 [height, width]."""
    validity: np.ndarray
    """Validity bits, uint8 [height, width]."""
    unknown_codes: frozenset[int]
    """Label codes that the crosswalk does not know; their pixels are unlabelled."""
    alike: Mapping[float, np.ndarray] = field(default_factory=dict)
    """In a look without image, `nodata.undeclared` inside the raster."""
    lacking: Mapping[int, np.ndarray] = field(default_factory=dict)
    """In a look without image, `nodata.lacking` inside the raster, where pixels have no data."""


class RasterReader:
    """Reads windows of one source; made by `open_raster`."""

    def __init__(
        self,
        raster: SourceRaster,
        files: dict[str, rasterio.DatasetReader],
        crosswalk: Crosswalk,
        fill: float,
    ) -> None:
        self._raster = raster
        self._files = files
        self._crosswalk = crosswalk
        self._fill = np.dtype(raster.dtype).type(fill)

    def read(self, window: Window, *, with_image: bool = True) -> Pixels:
        """Returns the pixels of a window that may reach beyond the raster.

        Args:
            window: Rows and columns.
            with_image: False leaves the image out where validity can be told without it, and
                looks for undeclared no-data values where not.

        Raises:
            RasterError: A file is damaged.
        """
        inside = window.clip(self._raster.height, self._raster.width)
        if inside is None:
            raise ValueError(f"{window} lies outside {self._raster.source.image}")
        label, unknown = read_target(self._files["label"], inside, self._crosswalk)
        validity = self._read_validity(inside)
        padding = window.padding_inside(self._raster.height, self._raster.width)
        trusted = self._raster.source.trusted_validity
        image, alike, lacks = None, {}, {}
        if with_image or not trusted:
            planes = read_window(self._files["image"], inside, list(self._raster.indexes))
            if not trusted:
                missing = self._without_data(planes, inside)
                set_bit(validity, missing, ValidityBit.NODATA)
                if not with_image and not self._raster.all_data:
                    alike = undeclared(planes, missing)
                if not with_image and missing.any():
                    lacks = dict(lacking(planes, self._nodata_values))
            if with_image:
                image = self._laid_out(planes, padding)
                if self._raster.all_data:
                    scale = self._raster.bands[0].scale
                    keep_apart(image[_without(padding)], float(self._fill), scale)
                missing = has_bit(validity, ValidityBit.NODATA)
                image[_without(padding)][missing] = self._fill
        if any(map(any, padding)):
            label = np.pad(label, padding, constant_values=self._crosswalk.target.nodata)
            validity = np.pad(validity, padding, constant_values=int(ValidityBit.NODATA))
        return Pixels(
            image=image,
            label=label,
            validity=validity,
            unknown_codes=frozenset(unknown),
            alike=alike,
            lacking=lacks,
        )

    def _laid_out(self, planes: np.ndarray, padding: Padding) -> np.ndarray:
        """Returns planes as [height, width, bands] with no data around them, copied only once."""
        if not any(map(any, padding)):
            return np.ascontiguousarray(planes.transpose(1, 2, 0))
        (top, bottom), (left, right) = padding
        bands, height, width = planes.shape
        image = np.full((top + height + bottom, left + width + right, bands), self._fill)
        image[_without(padding)] = planes.transpose(1, 2, 0)
        return image

    def _read_validity(self, window: Window) -> np.ndarray:
        if "validity" not in self._files:
            return np.zeros((window.height, window.width), np.uint8)
        return read_window(self._files["validity"], window, 1)

    @property
    def _nodata_values(self) -> tuple[float | None, ...]:
        return () if self._raster.all_data else (self._raster.nodata, self._fill)

    def _without_data(self, planes: np.ndarray, window: Window) -> np.ndarray:
        missing, image = without_data(planes, self._nodata_values), self._files["image"]
        with told_damage(image, window):
            missing |= masked(image, self._raster.indexes, window=rasterio_window(window))
        return missing


@contextmanager
def open_raster(raster: SourceRaster, crosswalk: Crosswalk, fill: float) -> Iterator[RasterReader]:
    """Yields a reader of a source.

    Args:
        raster: From `describe`.
        crosswalk: From the labels' codes to the dataset's legend.
        fill: The dataset's no-data value.

    Raises:
        RasterError: A file cannot be opened.
    """
    source = raster.source
    with opened(source.image) as image, opened(source.label) as label:
        files = {"image": image, "label": label}
        if source.validity is None:
            yield RasterReader(raster, files, crosswalk, fill)
            return
        with opened(source.validity) as validity:
            yield RasterReader(raster, files | {"validity": validity}, crosswalk, fill)


def _without(padding: Padding) -> tuple[slice, slice]:
    """Returns where in a padded raster the raster is."""
    (top, bottom), (left, right) = padding
    return slice(top, -bottom or None), slice(left, -right or None)
