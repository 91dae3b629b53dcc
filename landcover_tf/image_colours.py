"""How a raster of an image is shown in colours: in all pictures of it alike."""

from dataclasses import dataclass

import numpy as np
from rasterio import DatasetReader

from landcover_tf.nodata import without_data
from landcover_tf.pictures import Stretch, picture_bands

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
        """Returns the colours of a raster, from an overview of it."""
        bands = picture_bands(raster.descriptions)
        shape = (min(raster.height, _OVERVIEW_PX), min(raster.width, _OVERVIEW_PX))
        values = raster.read(bands, out_shape=(3, *shape))
        nodata = 0.0 if raster.nodata is None else raster.nodata
        stretch = Stretch.of(values[:, ~without_data(values, [nodata])])
        return ImageColours(bands=bands, stretch=stretch, nodata=nodata)

    def has_data(self, values: np.ndarray) -> np.ndarray:
        """Returns where there is data, bool [height, width].

        Args:
            values: Of `bands`, any number [3, height, width].
        """
        return ~without_data(values, [self.nodata])

    def picture(self, values: np.ndarray) -> np.ndarray:
        """Returns values of `bands` [3, height, width] as a picture, uint8 [height, width, 3]."""
        return self.stretch.apply(np.moveaxis(values, 0, -1))
