"""Polygons burnt into a raster of class codes, block by block."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.features import rasterize
from rasterio.transform import from_origin

from landcover_tf.errors import ConfigError, LabelError, OutputError
from landcover_tf.grid import Window
from landcover_tf.legend import Legend, legend_names
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.rasters.raster_legends import TAG
from landcover_tf.rasters.raster_windows import (
    RASTERIO_ERRORS,
    add_rows,
    opened,
    rasterio_window,
    require_kept,
)
from landcover_tf.system.files import atomic_path
from landcover_tf.system.progress import progress
from landcover_tf.vectors.polygon_layers import PolygonLayer, Polygons, plain

BLOCK_PX = 2048
MOST_DEGREES = 18
"""Of longitude in one UTM zone, whose own are 6; at the edges areas are 1 to 2 % too large then."""
MOST_PX = 2**36
"""A country of 1,300 km a side in pixels of 5 m; more come of a polygon that is out of place."""
_ACROSS = "or --like where they lie on both sides of the antimeridian"


@dataclass(frozen=True, kw_only=True)
class Burnt:
    """What became of the polygons that have a class."""

    pixels: Mapping[int, int]
    """Pixels of each code, ascending."""
    met: int
    """Polygons whose boxes meet the grid."""
    shown: int
    """Those of them that have a pixel: its centre lies in them, and in no later one."""


def grid_over(layer: PolygonLayer, crs: str | None, pixel_size: float) -> RasterGrid:
    """Returns a grid of whole multiples of the pixel size over all polygons of a layer.

    Raises:
        ConfigError: The CRS is unknown or in degrees, or none is given for polygons that are
            spread over more than a few UTM zones, or the grid would have over MOST_PX pixels.
        LabelError: The polygons' coordinates do not fit their CRS.
    """
    try:
        chosen = CRS.from_user_input(crs) if crs else _projected(layer)
    except CRSError as error:
        raise ConfigError(f"--crs {crs} is not known to GDAL: {error}") from error
    if not chosen.is_projected:
        raise ConfigError(f"--crs {crs} is not projected; take one in metres, such as UTM")
    west, south, east, north = layer.bounds_in(chosen)
    left, top = np.floor(west / pixel_size), np.ceil(north / pixel_size)
    height = max(1, int(top - np.floor(south / pixel_size)))
    width = max(1, int(np.ceil(east / pixel_size) - left))
    if height * width > MOST_PX:
        raise ConfigError(
            f"the polygons of {layer.path} reach from {west:.9g}, {south:.9g} to {east:.9g}, "
            f"{north:.9g} in {chosen.to_string()}, {height:,} x {width:,} pixels of "
            f"{pixel_size:g}, but {MOST_PX:,} are the most; remove polygons that are out of place, "
            f"or give a larger --pixel-size, {_ACROSS}"
        )
    return RasterGrid(
        crs=chosen,
        transform=from_origin(left * pixel_size, top * pixel_size, pixel_size, pixel_size),
        height=height,
        width=width,
    )


def grid_like(path: Path) -> RasterGrid:
    """Returns the grid of a raster.

    Raises:
        ConfigError: It has no CRS.
        RasterError: It cannot be read.
    """
    with opened(path, "--like") as raster:
        if raster.crs is None:
            raise ConfigError(f"--like {path} has no CRS; take --crs and --pixel-size instead")
        return RasterGrid.of(raster)


def write_labels(
    path: Path, layer: PolygonLayer, codes: Mapping[Any, int], grid: RasterGrid, legend: Legend
) -> Burnt:
    """Writes the raster block by block; returns what became of the polygons.

    Raises:
        LabelError: The file is damaged or holds other geometries, or no polygon meets the grid.
        OutputError: The disk refuses.
    """
    dtype = "uint8" if max(codes.values()) < 256 else "uint16"
    profile = {
        "driver": "GTiff", "count": 1, "dtype": dtype, "nodata": legend.nodata, **grid.profile,
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "zstd",
        "bigtiff": "if_safer",
    }  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            with rasterio.open(temporary, "w", **profile) as raster:
                if legend.name in legend_names():
                    raster.update_tags(**{TAG: legend.name})
                if dtype == "uint8":
                    raster.write_colormap(1, legend.colormap())
                tally, checksums = _write_blocks(raster, layer, codes, grid, legend.nodata)
            burnt = tally.burnt(legend.nodata)
            if not burnt.pixels:
                raise LabelError(
                    f"no pixel's centre lies in a polygon of {layer.path} that has a class; give "
                    "a --like that the polygons meet, or a smaller --pixel-size"
                )
            for part, checksum in checksums.items():
                require_kept(temporary, (checksum,), name=path, part=part)
    except (*RASTERIO_ERRORS, OSError) as error:
        raise OutputError(f"cannot write {path}: {error}") from error
    return burnt


def _write_blocks(
    raster: rasterio.io.DatasetWriter,
    layer: PolygonLayer,
    codes: Mapping[Any, int],
    grid: RasterGrid,
    nodata: int,
) -> tuple["_Tally", dict[Window, int]]:
    """Returns what the blocks hold, and the checksum of each column of blocks."""
    tally, checksums = _Tally(), Counter[Window]()
    for block in progress(
        list(grid.window.blocks(BLOCK_PX, BLOCK_PX)), label="rasterize", unit="block"
    ):
        found, numbers = _burnt(layer, codes, grid.part(block))
        of_number = [nodata, *(codes[plain(v)] for v in found.values.tolist())]
        labels = np.array(of_number, raster.dtypes[0])[numbers]
        raster.write(labels, 1, window=rasterio_window(block))
        tally.add(numbers, of_number, found.ids)
        column = replace(block, row_off=0, height=grid.height)
        (checksums[column],) = add_rows((checksums[column],), labels[np.newaxis])
    return tally, checksums


class _Tally:
    """Counts over blocks; a polygon may lie in several."""

    def __init__(self) -> None:
        self._pixels: Counter[int] = Counter()
        self._met: set[int] = set()
        self._shown: set[int] = set()

    def add(self, numbers: np.ndarray, codes: Sequence[int], ids: np.ndarray) -> None:
        """Counts a block.

        Args:
            numbers: What each pixel shows, int32 [height, width].
            codes: Legend code of each number; the first stands for no polygon.
            ids: Number of each polygon, [len(codes) - 1].
        """
        counts = np.bincount(numbers.ravel(), minlength=len(codes))
        for code, count in zip(codes, counts.tolist(), strict=True):
            self._pixels[code] += count
        self._met.update(ids.tolist())
        self._shown.update(ids[counts[1:] > 0].tolist())

    def burnt(self, nodata: int) -> Burnt:
        """Returns the counts; pixels of no data are none of a class."""
        pixels = {code: n for code, n in sorted(self._pixels.items()) if n and code != nodata}
        return Burnt(pixels=pixels, met=len(self._met), shown=len(self._shown))


def _burnt(
    layer: PolygonLayer, codes: Mapping[Any, int], block: RasterGrid
) -> tuple[Polygons, np.ndarray]:
    """Returns the polygons near a block that have a class, and which of them each pixel shows.

    Returns:
        The polygons; and their numbers from 1, 0 where there is none, int32 [height, width].
    """
    found = layer.within(block.bounds, block.crs)
    has_class = [plain(value) in codes for value in found.values.tolist()]
    found = found.chosen(np.array(has_class, bool))
    if not len(found.ids):
        return found, np.zeros(block.shape, np.int32)
    numbers: np.ndarray = rasterize(
        zip(found.geometries, range(1, len(found.ids) + 1), strict=True),
        out_shape=block.shape,
        transform=block.transform,
        dtype="int32",
    )
    return found, numbers


def _projected(layer: PolygonLayer) -> CRS:
    if layer.crs.is_projected:
        own: CRS = layer.crs
        return own
    west, south, east, north = layer.bounds_in(CRS.from_epsg(4326))
    if east - west > MOST_DEGREES:
        raise ConfigError(
            f"the polygons of {layer.path} lie between {west:.0f} and {east:.0f} degrees of "
            f"longitude, too far apart for the UTM zone of their middle; give --crs, {_ACROSS}"
        )
    zone = int(((west + east) / 2 + 180) // 6) % 60 + 1
    return CRS.from_epsg((32600 if south + north >= 0 else 32700) + zone)
