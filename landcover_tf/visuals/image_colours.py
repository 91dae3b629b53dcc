"""How a raster of an image is shown in colours: in all pictures of it alike."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio import DatasetReader
from rasterio.vrt import WarpedVRT

from landcover_tf import validity
from landcover_tf.rasters.nodata import without_data
from landcover_tf.visuals.pictures import Stretch, picture_bands

_OVERVIEW_PX = 512
"""Most rows and columns of the overview from which the stretch is taken."""


@dataclass(frozen=True, kw_only=True)
class ImageColours:
    """Bands of an image and their brightness, so that dark stays dark from picture to picture."""

    bands: tuple[int, int, int]
    """Red, green, blue, counted from 1."""
    stretch: Stretch
    nodata: float
    """Value of pixels without data; 0 where the raster declares none."""

    @staticmethod
    def of(raster: DatasetReader) -> "ImageColours":
        """Returns the colours of a raster, from an overview of it.

        Of a prepared scene the clear pixels decide, by its validity.tif: a few percent of clouds
        would take the whole range and leave the ground nearly black.
        """
        bands = picture_bands(raster.descriptions)
        shape = (min(raster.height, _OVERVIEW_PX), min(raster.width, _OVERVIEW_PX))
        values = raster.read(bands, out_shape=(3, *shape))
        nodata = 0.0 if raster.nodata is None else raster.nodata
        counted = ~without_data(values, [nodata])
        clear = counted & _clear(raster, shape)
        stretch = Stretch.of(values[:, clear if clear.any() else counted])
        return ImageColours(bands=bands, stretch=stretch, nodata=nodata)

    def has_data(self, values: np.ndarray) -> np.ndarray:
        """Returns where there is data, bool [height, width].

        Args:
            values: Pixels of `bands`, of any type, [3, height, width].
        """
        return ~without_data(values, [self.nodata])

    def picture(self, values: np.ndarray) -> np.ndarray:
        """Returns values of `bands` [3, height, width] as a picture, uint8 [height, width, 3]."""
        return self.stretch.apply(np.moveaxis(values, 0, -1))


def _clear(raster: DatasetReader | WarpedVRT, shape: tuple[int, int]) -> np.ndarray:
    """Returns where validity.tif beside a raster has no cloud or other fault, bool of `shape`.

    Args:
        raster: Also one on another grid than its file's.
        shape: Rows and columns of the overview.

    Returns:
        True everywhere where there is no such file of the image's grid.
    """
    source = raster.src_dataset if isinstance(raster, WarpedVRT) else raster
    path = Path(source.name).with_name(validity.FILE_NAME)
    if not path.is_file():
        return np.ones(shape, bool)
    with rasterio.open(path) as bits:
        if bits.shape != source.shape or bits.transform != source.transform:
            return np.ones(shape, bool)
        if source is raster:
            return validity.usable(bits.read(1, out_shape=shape))
        grid = {"crs": raster.crs, "transform": raster.transform}
        with WarpedVRT(bits, height=raster.height, width=raster.width, **grid) as placed:
            return validity.usable(placed.read(1, out_shape=shape))
