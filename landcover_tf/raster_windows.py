"""Windows of rasters as rasterio has them; damage of a file is told in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from landcover_tf.errors import LandCoverError, RasterError
from landcover_tf.grid import Window


def rasterio_window(window: Window) -> RasterioWindow:
    """Returns the same rectangle as rasterio's type."""
    return RasterioWindow(window.col_off, window.row_off, window.width, window.height)


def read_window(
    raster: rasterio.DatasetReader,
    window: Window,
    indexes: int | list[int] | None = 1,
    *,
    error: type[LandCoverError] = RasterError,
) -> np.ndarray:
    """Returns the pixels of a window inside an open raster.

    Args:
        raster: Open for reading.
        window: Inside it.
        indexes: A band, from 1, which gives [height, width]; several, or None for all, which give
            [bands, height, width].
        error: What to raise.

    Raises:
        LandCoverError: Of the type `error`; the file is damaged there.
    """
    with told_damage(raster, window, error):
        return np.asarray(raster.read(indexes, window=rasterio_window(window)))


@contextmanager
def told_damage(
    raster: rasterio.DatasetReader, window: Window, error: type[LandCoverError] = RasterError
) -> Iterator[None]:
    """Turns what GDAL says of a damaged window into one sentence, an `error`."""
    try:
        yield
    except RasterioError as cause:
        raise error(
            f"{raster.name} is damaged at rows {window.row_off} to {window.row_end}: "
            f"{cause.__cause__ or cause}; copy or make it again"
        ) from cause
