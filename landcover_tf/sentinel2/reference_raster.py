"""A reference raster on a map's grid, window by window or as a raster of its own."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine

from landcover_tf.errors import LabelError
from landcover_tf.grid import Window
from landcover_tf.label_codes import read_target, require_codes
from landcover_tf.legend import Crosswalk
from landcover_tf.pixel_sizes import on_earth
from landcover_tf.raster_windows import opened, rasterio_window
from landcover_tf.sentinel2.label_rasters import find_label_rasters, overlapping, shifted
from landcover_tf.sentinel2.labels import warp_labels

_ROWS_AT_ONCE = 512


@contextmanager
def on_grid_of(
    grid: rasterio.DatasetReader, path: Path, crosswalk: Crosswalk, found_unknown: Counter[int]
) -> Iterator[rasterio.DatasetReader]:
    """Yields a reference as a raster on a map's grid, target codes in uint8.

    What is read of it decimated is of the same pixels as what is read of the map so. It is on disk,
    because the warp of a window would be repeated at each zoom, and only some rows are in memory.

    Args:
        grid: The map.
        path: Raster or folder of rasters.
        crosswalk: From its codes to the target legend.
        found_unknown: Receives the codes that the crosswalk does not know, which become no data.

    Raises:
        LabelError: There is no raster, or none overlaps the map.
    """
    read = reader(
        path,
        crosswalk,
        height=grid.height,
        width=grid.width,
        crs=grid.crs,
        transform=grid.transform,
        unknown="ignore",
        found_unknown=found_unknown,
    )
    profile = {
        "driver": "GTiff", "height": grid.height, "width": grid.width, "count": 1,
        "dtype": "uint8", "crs": grid.crs, "transform": grid.transform, "tiled": True,
        "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer",
    }  # fmt: skip
    with TemporaryDirectory() as folder:
        placed = Path(folder) / "reference.tif"
        with rasterio.open(placed, "w", **profile) as file:
            for start in range(0, grid.height, _ROWS_AT_ONCE):
                rows = min(_ROWS_AT_ONCE, grid.height - start)
                strip = Window(row_off=start, col_off=0, height=rows, width=grid.width)
                file.write(read(strip), 1, window=rasterio_window(strip))
        with rasterio.open(placed) as raster:
            yield raster


def same_grid(
    raster: rasterio.DatasetReader, height: int, width: int, crs: CRS | None, transform: Affine
) -> bool:
    """Returns whether a raster has the very pixels of a grid.

    Of one size, they are the same where either does not say where it lies, as a PNG.
    """
    if raster.shape != (height, width):
        return False
    places = ((raster.crs, raster.transform), (crs, transform))
    if any(system is None and place.is_identity for system, place in places):
        return True
    same_crs = None in (raster.crs, crs) or raster.crs == crs
    return bool(same_crs and raster.transform.almost_equals(transform, precision=1e-6))


def reader(
    path: Path,
    crosswalk: Crosswalk,
    *,
    height: int,
    width: int,
    crs: CRS | None,
    transform: Affine,
    unknown: str,
    found_unknown: Counter[int],
) -> Callable[[Window], np.ndarray]:
    """Returns a function that reads target codes on a window of a grid, uint8 [height, width].

    A raster with the grid's own pixels is read as it is, others are warped as labels are.

    Args:
        path: Raster or folder of rasters.
        crosswalk: From its codes to the target legend.
        height: Rows of the grid.
        width: Columns of the grid.
        crs: Of the grid.
        transform: Of the grid.
        unknown: "error" refuses codes that the crosswalk does not know, "ignore" makes them no
            data.
        found_unknown: Receives those codes with their source pixels, once from windows of whole
            rows that do not overlap.

    Raises:
        LabelError: There is no raster, none overlaps the grid, or a code is unknown.
    """
    stored = _stored(path, crosswalk, height, width, crs, transform)

    def read(window: Window) -> np.ndarray:
        codes, strange = stored(window)
        if unknown != "ignore":
            crosswalk.refuse_unknown(strange, str(path), legend_flag="--reference-legend")
        found_unknown.update(strange)
        return codes

    return read


def _stored(
    path: Path,
    crosswalk: Crosswalk,
    height: int,
    width: int,
    crs: CRS | None,
    transform: Affine,
) -> Callable[[Window], tuple[np.ndarray, dict[int, int]]]:
    """Returns a function to target codes, and the pixels of each code without any."""
    if path.is_file() and _has_grid(path, height, width, crs, transform):
        return lambda window: _read(path, crosswalk, window)
    if not on_earth(crs):
        raise LabelError(
            f"the map has no CRS of the Earth and {path} has other pixels than it; georeference "
            "the map"
        )
    rasters = overlapping(find_label_rasters(path), crs, transform, height, width)
    if not rasters:
        raise LabelError(f"{path} does not overlap the map; check its position and CRS")

    def warped(window: Window) -> tuple[np.ndarray, dict[int, int]]:
        found = warp_labels(
            rasters,
            crosswalk,
            crs=crs,
            grid=shifted(transform, window),
            height=window.height,
            width=window.width,
            unknown="ignore",
            edges=(window.row_off == 0, window.row_end == height),
        )
        return found.codes, found.unknown

    return warped


def _has_grid(path: Path, height: int, width: int, crs: CRS | None, transform: Affine) -> bool:
    with opened(path, "the label raster", error=LabelError) as raster:
        require_codes(raster)
        return same_grid(raster, height, width, crs, transform)


def _read(path: Path, crosswalk: Crosswalk, window: Window) -> tuple[np.ndarray, dict[int, int]]:
    with opened(path, "the label raster", error=LabelError) as raster:
        return read_target(raster, window, crosswalk)
