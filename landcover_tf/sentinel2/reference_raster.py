"""A reference raster on a map's grid, window by window or as a raster of its own."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio

from landcover_tf.crosswalk import Crosswalk
from landcover_tf.errors import LabelError, OutputError
from landcover_tf.grid import Window
from landcover_tf.rasters.label_codes import read_target, require_codes
from landcover_tf.rasters.pixel_sizes import on_earth
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.rasters.raster_windows import (
    RASTERIO_ERRORS,
    add_rows,
    opened,
    rasterio_window,
    require_kept,
)
from landcover_tf.sentinel2.label_rasters import find_label_rasters, overlapping
from landcover_tf.sentinel2.labels import warp_labels

_ROWS_AT_ONCE = 512


@contextmanager
def on_grid_of(
    grid: RasterGrid, path: Path, crosswalk: Crosswalk, found_unknown: Counter[int]
) -> Iterator[rasterio.DatasetReader]:
    """Yields a reference as a raster on a map's grid, target codes in uint8.

    What is read of it decimated is of the same pixels as what is read of the map so. It is on disk,
    because the warp of a window would be repeated at each zoom, and only some rows are in memory.

    Args:
        grid: Grid of the map.
        path: Raster or folder of rasters.
        crosswalk: From its codes to the target legend.
        found_unknown: Receives the codes that the crosswalk does not know, which become no data.

    Raises:
        LabelError: There is no raster, or none overlaps the map.
        OutputError: The temporary folder has no room for it.
    """
    read = reader(path, crosswalk, grid, unknown="ignore", found_unknown=found_unknown)
    profile = {
        "driver": "GTiff", **grid.profile, "count": 1, "dtype": "uint8", "tiled": True,
        "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer",
    }  # fmt: skip
    with TemporaryDirectory() as folder:
        placed = Path(folder) / "reference.tif"
        checksums: tuple[int, ...] = (0,)
        try:
            with rasterio.open(placed, "w", **profile) as file:
                for strip in grid.window.strips(_ROWS_AT_ONCE):
                    codes = read(strip)
                    file.write(codes, 1, window=rasterio_window(strip))
                    checksums = add_rows(checksums, codes[np.newaxis])
        except RASTERIO_ERRORS as error:
            raise OutputError(f"cannot write {placed}: {error}") from error
        require_kept(placed, checksums, name=placed)
        with rasterio.open(placed) as raster:
            yield raster


def reader(
    path: Path,
    crosswalk: Crosswalk,
    grid: RasterGrid,
    *,
    unknown: str,
    found_unknown: Counter[int],
) -> Callable[[Window], np.ndarray]:
    """Returns a function that reads target codes on a window of a grid, uint8 [height, width].

    A raster with the grid's own pixels is read as it is, others are warped as labels are.

    Args:
        path: Raster or folder of rasters.
        crosswalk: From its codes to the target legend.
        grid: Grid of the map.
        unknown: "error" refuses codes that the crosswalk does not know, "ignore" makes them no
            data.
        found_unknown: Receives those codes with their source pixels, once from windows of whole
            rows that do not overlap.

    Raises:
        LabelError: There is no raster, none overlaps the grid, or a code is unknown.
    """
    stored = _stored(path, crosswalk, grid)

    def read(window: Window) -> np.ndarray:
        codes, strange = stored(window)
        if unknown != "ignore":
            crosswalk.refuse_unknown(strange, str(path), legend_flag="--reference-legend")
        found_unknown.update(strange)
        return codes

    return read


def _stored(
    path: Path, crosswalk: Crosswalk, grid: RasterGrid
) -> Callable[[Window], tuple[np.ndarray, dict[int, int]]]:
    """Returns a function to target codes, and the pixels of each code without any."""
    if path.is_file() and _has_grid(path, grid):
        return lambda window: _read(path, crosswalk, window)
    if not on_earth(grid.crs):
        raise LabelError(
            f"the map has no CRS of the Earth and {path} has other pixels than it; georeference "
            "the map"
        )
    rasters = overlapping(find_label_rasters(path), grid)
    if not rasters:
        raise LabelError(f"{path} does not overlap the map; check its position and CRS")

    def warped(window: Window) -> tuple[np.ndarray, dict[int, int]]:
        found = warp_labels(
            rasters,
            crosswalk,
            grid=grid.part(window),
            unknown="ignore",
            edges=(window.row_off == 0, window.row_end == grid.height),
        )
        return found.codes, found.unknown

    return warped


def _has_grid(path: Path, grid: RasterGrid) -> bool:
    with opened(path, "the label raster", error=LabelError) as raster:
        require_codes(raster)
        return grid.fits(RasterGrid.of(raster))


def _read(path: Path, crosswalk: Crosswalk, window: Window) -> tuple[np.ndarray, dict[int, int]]:
    with opened(path, "the label raster", error=LabelError) as raster:
        return read_target(raster, window, crosswalk)
