"""A raster as a source: stored values in the model's bands and units."""

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.vrt import WarpedVRT

from landcover_tf.bands import positions
from landcover_tf.datasets.dataset_info import BandInfo
from landcover_tf.errors import RasterError
from landcover_tf.grid import Window
from landcover_tf.model_info import ModelInfo
from landcover_tf.rasters.nodata import masked
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.rasters.raster_windows import RASTERIO_ERRORS, opened, rasterio_window
from landcover_tf.upsampling import Upsampling
from landcover_tf.validity import ValidityBit, has_bit
from landcover_tf.visuals.pictures import picture_bands
from serving.band_names import band_names, taken_bands
from serving.raster_io import BLOCK_PX, STRIP_ROWS
from serving.raster_views import resampled
from serving.source import SourceOptions
from serving.stored_values import Conversion, finish_pixels

LARGEST_PART_ROWS = 1024
"""Parts as high as higher blocks are would take too much memory."""


class RasterSource:
    """A GeoTIFF, or anything else GDAL reads, with an optional raster of validity bits."""

    def __init__(
        self,
        path: Path,
        info: ModelInfo,
        options: SourceOptions,
        *,
        validity_path: Path | None = None,
        description: Path | None = None,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        upsampling: Upsampling | None = None,
        cloudy_fraction: float | None = None,
    ) -> None:
        if options.mask_clouds and validity_path is None:
            raise RasterError(
                f"{path} does not say where clouds are, which --mask-clouds needs; give a product "
                "or a scene that `landcover prepare` made with its validity.tif"
            )
        self.path = path
        self.name = name or path.stem
        self.tags: Mapping[str, str] = dict(tags or {}) | {"source": self.name}
        self.upsampling: Upsampling | None = upsampling
        self.cloudy_fraction = cloudy_fraction
        self._info, self._resample = info, options.resample
        self._validity_path = validity_path
        self._rasters: _OpenRasters | None = None
        self._planes = np.empty(0)
        beside = (file.resolve() for file in (description, validity_path) if file is not None)
        self.files: Collection[Path] = {*_files_of(path), *beside}
        dataset = self._opened().image
        self.grid = RasterGrid.of(dataset)
        names = band_names(dataset, info, options, path, prepared=description is not None)
        self._named = list(names)
        _refuse_weights(dataset, self._named, path)
        found = positions(info.band_names, list(names.values()), str(path))
        self._indexes = [self._named[position] for position in found]
        self.taken: Mapping[str, str] = taken_bands(dataset, self._indexes, info)
        self._conversion = _conversion(dataset, self._indexes, info, path)
        block_rows, block_cols = dataset.block_shapes[0]
        # Strips hold all columns: each window beside the first would decode them once more.
        self.sequential = block_cols >= dataset.width
        # Whole rows of blocks, so that none is decoded twice.
        self.part_rows = STRIP_ROWS if self.sequential else _part_rows(block_rows)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        place, rasters = rasterio_window(window), self._opened()
        try:
            planes = rasters.image.read(
                self._indexes, window=place, out=self._room(rasters.image, window)
            )
            validity = np.zeros((window.height, window.width), np.uint8)
            if rasters.validity is not None:
                validity |= rasters.validity.read(1, window=place)
            validity |= masked(rasters.image, self._named, window=place)
        except RASTERIO_ERRORS as error:
            raise RasterError(
                f"{self.path} cannot be read at rows {window.row_off}-{window.row_end}: {error}; "
                "repair the file and run again, finished rows are kept"
            ) from error
        image, nodata = np.moveaxis(planes, 0, -1), rasters.image.nodata
        return finish_pixels(image, validity, nodata, self._info, self._conversion)

    def inspect(self) -> list[str]:
        """Returns nothing: opening a raster tells what is to be told."""
        return []

    def check(self) -> None:
        """Does nothing: no list of checksums comes with a raster."""

    def preview(self, shape: tuple[int, int]) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
        names = self._info.band_names
        # A raster of fewer than three bands is drawn from one, which is read once.
        positions = [index - 1 for index in dict.fromkeys(picture_bands(names))]
        indexes = [self._indexes[position] for position in positions]
        dataset = self._opened().image
        validity = np.zeros(shape, np.uint8)
        try:
            planes = dataset.read(indexes, out_shape=(len(indexes), *shape))
            validity |= masked(dataset, self._named, out_shape=shape)
        except RASTERIO_ERRORS as error:
            raise RasterError(
                f"{self.path} cannot be read for the picture: {error}; repair the file and run "
                "again, finished rows are kept"
            ) from error
        image, validity = finish_pixels(
            np.moveaxis(planes, 0, -1),
            validity,
            dataset.nodata,
            self._info,
            self._conversion and self._conversion.of_bands(positions),
        )
        drawn = [self._info.bands[position] for position in positions]
        scale, offset = np.array([(band.scale, band.offset) for band in drawn], np.float32).T
        names = tuple(band.name for band in drawn)
        return image * scale + offset, names, ~has_bit(validity, ValidityBit.NODATA)

    def owns(self, path: Path) -> bool:
        return path.resolve() in self.files

    def close(self) -> None:
        if self._rasters is not None:
            self._rasters.stack.close()
            self._rasters = None
        self._planes = np.empty(0)

    def _room(self, image: rasterio.DatasetReader, window: Window) -> np.ndarray | None:
        """Returns where to read a window's planes: the same memory again, which costs no time.

        None leaves it to rasterio where pixels are kept, and where it refuses bands of several
        types.
        """
        dtypes = {image.dtypes[index - 1] for index in self._indexes}
        if self.sequential or len(dtypes) > 1:
            return None
        shape = (len(self._indexes), window.height, window.width)
        if self._planes.size < math.prod(shape):
            self._planes = np.empty(math.prod(shape), *dtypes)
        return self._planes[: math.prod(shape)].reshape(shape)

    def _opened(self) -> "_OpenRasters":
        """Returns the rasters, opened anew after `close`."""
        if self._rasters is None:
            # A raster opened outside of an environment brings one along, which would end with it,
            # in another thread than it began.
            with rasterio.Env(), ExitStack() as stack:
                image = self._enter(stack, self.path)
                path = self._validity_path
                validity = None if path is None else self._enter(stack, path)
                self._rasters = _OpenRasters(image, validity, stack.pop_all())
        return self._rasters

    def _enter(self, stack: ExitStack, path: Path) -> rasterio.DatasetReader:
        dataset = stack.enter_context(opened(path))
        view = resampled(dataset, self._info.resolution_m, path, resample=self._resample)
        return view if view is dataset else stack.enter_context(view)


class _OpenRasters(NamedTuple):
    """What is open of a source."""

    image: rasterio.DatasetReader
    validity: rasterio.DatasetReader | None
    stack: ExitStack
    """Closes them."""


def _part_rows(block_rows: int) -> int:
    """Returns how many rows to read at a time: whole rows of blocks, about BLOCK_PX rows."""
    if block_rows > LARGEST_PART_ROWS:
        return BLOCK_PX
    return max(BLOCK_PX // block_rows, 1) * block_rows


def _files_of(path: Path) -> set[Path]:
    """Returns the files of a raster, and of each .vrt among them those that it shows."""
    found, pending = {path.resolve()}, [path]
    while pending:
        with opened(pending.pop()) as raster:
            files = {Path(name).resolve() for name in raster.files}
        pending += [f for f in files - found if f.suffix.lower() == ".vrt" and f.is_file()]
        found |= files
    return found


def _refuse_weights(dataset: rasterio.DatasetReader, numbers: Sequence[int], path: Path) -> None:
    """Raises RasterError where resampling would take a band of the image for weights of all."""
    for number in numbers:
        # rasterio 1.4 cannot tell GDAL to leave the alpha band alone.
        if isinstance(dataset, WarpedVRT) and dataset.colorinterp[number - 1] == ColorInterp.alpha:
            raise RasterError(
                f"{path} tags its band {number} as alpha, by which --resample would weight the "
                f"others; retag it (gdal_edit.py -colorinterp_{number} undefined)"
            )


def _conversion(
    dataset: rasterio.DatasetReader, indexes: Sequence[int], info: ModelInfo, path: Path
) -> Conversion | None:
    """Returns the conversion to the model's units that the raster's scale tags ask for."""
    scaled = [(dataset.scales[i - 1], dataset.offsets[i - 1]) for i in indexes]
    found, wanted = np.dtype(dataset.dtypes[0]), np.dtype(info.dtype)
    floats = [dtype.kind == "f" for dtype in (found, wanted)]
    if all(pair == (1.0, 0.0) for pair in scaled):
        # Untagged values of the training data's kind are in its units; floats are reflectance.
        # Of wider integers those beyond the model's range would all become its largest value.
        wider = not any(floats) and found.itemsize > wanted.itemsize
        if floats[0] == floats[1] and not wider:
            return None
        if floats[1] or wider:
            convert = f", or convert it to {wanted} if its values are in the model's units"
            raise RasterError(
                f"{path} holds {found} without scale, the model takes {wanted}; set the bands' "
                f"scale and offset (rasterio: scales, offsets){convert if wider else ''}"
            )
    source = [
        BandInfo(name=b.name, scale=s, offset=o)
        for b, (s, o) in zip(info.bands, scaled, strict=True)
    ]
    return Conversion.between(source, info.bands)
