"""Polygons burnt into a raster of class codes, block by block."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.features import rasterize
from rasterio.transform import from_origin

from landcover_tf.errors import ConfigError, LabelError, OutputError
from landcover_tf.files import atomic_path
from landcover_tf.grid import Window
from landcover_tf.legend import Legend, legend_names
from landcover_tf.polygon_layers import PolygonLayer, plain
from landcover_tf.progress import progress
from landcover_tf.raster_grid import RasterGrid
from landcover_tf.raster_legends import TAG
from landcover_tf.raster_windows import RASTERIO_ERRORS, opened, rasterio_window

BLOCK_PX = 2048
MOST_DEGREES = 18
"""Of longitude in one UTM zone, whose own are 6; at the edges areas are 1 to 2 % too large then."""


def grid_over(layer: PolygonLayer, crs: str | None, pixel_size: float) -> RasterGrid:
    """Returns a grid of whole multiples of the pixel size over all polygons of a layer.

    Raises:
        ConfigError: The CRS is unknown or in degrees, or none is given for polygons that are
            spread over more than a few UTM zones.
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
    return RasterGrid(
        crs=chosen,
        transform=from_origin(left * pixel_size, top * pixel_size, pixel_size, pixel_size),
        height=max(1, int(top - np.floor(south / pixel_size))),
        width=max(1, int(np.ceil(east / pixel_size) - left)),
    )


def grid_like(path: Path) -> RasterGrid:
    """Returns the grid of a raster.

    Raises:
        ConfigError: It has no projected CRS.
        RasterError: It cannot be read.
    """
    with opened(path, "--like") as raster:
        if raster.crs is None or not raster.crs.is_projected:
            raise ConfigError(f"--like {path} has no projected CRS; take --crs instead")
        return RasterGrid.of(raster)


def write_labels(
    path: Path, layer: PolygonLayer, codes: Mapping[Any, int], grid: RasterGrid, legend: Legend
) -> dict[int, int]:
    """Writes the raster block by block; returns the pixels of each code.

    Raises:
        LabelError: The file is damaged or holds other geometries, or no polygon meets the grid.
        OutputError: The disk refuses.
    """
    blocks = list(_blocks(grid))
    dtype = "uint8" if max(codes.values()) < 256 else "uint16"
    profile = {
        "driver": "GTiff", "count": 1, "dtype": dtype, "nodata": legend.nodata, **grid.profile,
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "zstd",
        "bigtiff": "if_safer",
    }  # fmt: skip
    pixels: Counter[int] = Counter()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, rasterio.open(temporary, "w", **profile) as raster:
            if legend.name in legend_names():
                raster.update_tags(**{TAG: legend.name})
            if dtype == "uint8":
                raster.write_colormap(1, legend.colormap())
            for block in progress(blocks, label="rasterize", unit="block"):
                labels = _burnt(layer, codes, grid.part(block), legend.nodata, dtype)
                raster.write(labels, 1, window=rasterio_window(block))
                found, counts = np.unique(labels, return_counts=True)
                pixels.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
            pixels.pop(legend.nodata, None)
            if not pixels:
                raise LabelError(
                    f"no pixel's centre lies in a polygon of {layer.path} that has a class; give "
                    "a --like that the polygons meet, or a smaller --pixel-size"
                )
    except (*RASTERIO_ERRORS, OSError) as error:
        raise OutputError(f"cannot write {path}: {error}") from error
    return dict(pixels)


def _burnt(
    layer: PolygonLayer,
    codes: Mapping[Any, int],
    block: RasterGrid,
    nodata: int,
    dtype: str,
) -> np.ndarray:
    """Returns the labels of a block, [height, width]."""
    found = layer.within(block.bounds, block.crs)
    shapes = [
        (geometry, codes[value])
        for geometry, value in zip(found.geometries, map(plain, found.values.tolist()), strict=True)
        if value in codes
    ]
    if not shapes:
        return np.full(block.shape, nodata, dtype)
    burnt: np.ndarray = rasterize(
        shapes, out_shape=block.shape, transform=block.transform, fill=nodata, dtype=dtype
    )
    return burnt


def _blocks(grid: RasterGrid) -> Iterator[Window]:
    for row in range(0, grid.height, BLOCK_PX):
        for col in range(0, grid.width, BLOCK_PX):
            yield Window(
                row_off=row,
                col_off=col,
                height=min(BLOCK_PX, grid.height - row),
                width=min(BLOCK_PX, grid.width - col),
            )


def _projected(layer: PolygonLayer) -> CRS:
    if layer.crs.is_projected:
        own: CRS = layer.crs
        return own
    west, south, east, north = layer.bounds_in(CRS.from_epsg(4326))
    if east - west > MOST_DEGREES:
        raise ConfigError(
            f"the polygons of {layer.path} lie between {west:.0f} and {east:.0f} degrees of "
            "longitude, too far apart for the UTM zone of their middle; give --crs"
        )
    zone = int(((west + east) / 2 + 180) // 6) % 60 + 1
    return CRS.from_epsg((32600 if south + north >= 0 else 32700) + zone)
