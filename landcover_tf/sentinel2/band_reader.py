"""Native bands of a product: windows decoded on demand, or whole bands kept in memory."""

import threading
from collections.abc import Iterable

import numpy as np
import rasterio
from rasterio.errors import RasterioError, RasterioIOError

from landcover_tf.bands import BAND_NAMES, band
from landcover_tf.errors import ProductError
from landcover_tf.grid import Window
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.rasters.raster_windows import rasterio_window
from landcover_tf.sentinel2 import resample
from landcover_tf.sentinel2.codestream import describe_damage
from landcover_tf.sentinel2.product import SafeProduct

GDAL_CACHE_BYTES = 384 * 2**20
"""GDAL decodes the inner tiles of a JP2 in parallel only if they fit its block cache together."""

# The 15-bit code streams cannot hold the declared special value 65535, so the largest value they
# can hold counts as saturated too (ESA: "DN in [1; 2^15-1]").
LARGEST_15_BIT_DN = 2**15 - 1

_ROWS_AT_ONCE = 2048
"""Rows decoded in one request, at least; several rows of tiles keep all threads busy."""


class BandReader:
    """The 13 band files of one product, open for reading."""

    def __init__(self, product: SafeProduct) -> None:
        """Opens the files.

        Raises:
            ProductError: A band is missing, unreadable or of another size than the XML says.
        """
        self.product = product
        self._loaded: dict[str, np.ndarray] = {}
        self._datasets: dict[str, rasterio.DatasetReader] = {}
        # An open GDAL dataset serves one thread at a time, or returns garbage without an error.
        self._decoding = threading.Lock()
        try:
            for name in BAND_NAMES:
                self._datasets[name] = _open_band(product, name)
        except ProductError:
            self.close()
            raise

    def close(self) -> None:
        """Closes the files and lets go of loaded bands."""
        for dataset in self._datasets.values():
            dataset.close()
        self._datasets.clear()
        self._loaded.clear()

    def grid(self, name: str) -> RasterGrid:
        """Returns a band's native grid."""
        return self.product.grids[band(name).resolution_m]

    def read(self, name: str, window: Window) -> np.ndarray:
        """Returns digital numbers of one band on its native grid, uint16 [height, width].

        Raises:
            ProductError: The file cannot be decoded.
        """
        if name in self._loaded:
            return self._loaded[name][window.slices]
        try:
            with self._decoding:
                return np.asarray(self._datasets[name].read(1, window=rasterio_window(window)))
        except (RasterioError, RasterioIOError) as error:
            raise ProductError(
                f"cannot decode {self.product.band_files[name]} in {self.product.path} "
                f"({error}); the file is damaged, download the product again"
            ) from error

    def load(self, names: Iterable[str]) -> None:
        """Decodes whole bands into memory; later reads take them from there.

        The rows are read in strips of whole inner tiles, so no tile is decoded twice.
        """
        for name in names:
            if name in self._loaded:
                continue
            grid = self.grid(name)
            tile_rows = self._datasets[name].block_shapes[0][0]
            rows = tile_rows * max(1, _ROWS_AT_ONCE // tile_rows)
            image = np.empty(grid.shape, np.uint16)
            for strip in grid.window.strips(rows):
                image[strip.slices] = self.read(name, strip)
            self._loaded[name] = image

    def filled(self, name: str, window: Window, *, margin: int, steps: int) -> np.ndarray:
        """Returns a native window with margin as float32, gaps of up to `steps` pixels filled."""
        grid = self.grid(name)
        source = window.expand(margin + steps).clip(grid.height, grid.width)
        if source is None:
            raise ValueError(f"{window} lies outside band {name}")
        dn = self.read(name, source)
        values = dn.astype(np.float32)
        if (dn == self.product.nodata).any():
            values = resample.fill_invalid(values, dn != self.product.nodata, steps)
        return resample.cut(values, source, window, margin)

    def is_plain(self, dn: np.ndarray) -> np.ndarray:
        """Returns True where digital numbers are neither no data nor saturated."""
        return np.asarray((dn != self.product.nodata) & ~self.is_saturated(dn))

    def is_saturated(self, dn: np.ndarray) -> np.ndarray:
        """Returns True where digital numbers are at the limit of the band."""
        return np.asarray((dn == self.product.saturated) | (dn >= LARGEST_15_BIT_DN))


def _open_band(product: SafeProduct, name: str) -> rasterio.DatasetReader:
    file = product.band_file(name)
    damage = describe_damage(product.container, file)
    if damage:
        raise ProductError(f"{file} in {product.path} {damage}; download the product again")
    dataset = product.open_raster(file, product.grids[band(name).resolution_m])
    if dataset.dtypes[0] != "uint16":
        kind = dataset.dtypes[0]
        dataset.close()
        raise ProductError(f"{file} in {product.path} is {kind}, not uint16")
    return dataset
