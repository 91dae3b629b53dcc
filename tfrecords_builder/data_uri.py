"""Pictures inside a page."""

import base64

import numpy as np
from rasterio.io import MemoryFile

from tfrecords_builder.rasters import without_georeference_warning


def png_uri(picture: np.ndarray) -> str:
    """Returns uint8 [height, width, 3] as a data URI without a date: equal pictures are equal."""
    height, width, bands = picture.shape
    shape = {"height": height, "width": width, "count": bands, "dtype": "uint8"}
    with without_georeference_warning(), MemoryFile() as file:
        with file.open(driver="PNG", **shape) as raster:
            raster.write(picture.transpose(2, 0, 1))
        return "data:image/png;base64," + base64.b64encode(file.read()).decode()
