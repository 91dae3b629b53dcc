"""Windows read from a source without reading a row twice, and rasters written as COG."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.windows import Window as RasterioWindow

from landcover_tf.errors import OutputError
from landcover_tf.grid import Window
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.rasters.raster_windows import RASTERIO_ERRORS, add_rows, require_kept
from landcover_tf.sentinel2.band_reader import GDAL_CACHE_BYTES
from landcover_tf.validity import ValidityBit
from serving.source import Source

BLOCK_PX = 512
"""Tile size of written rasters, prepared scenes among them; row blocks of this height write or read
each tile once."""
EXACT_CACHE_BYTES = 128 * 2**20
"""GDAL's cache for windows of exact mode, which come back to few blocks; patches come back to those
of two rows of blocks across the raster."""
STRIP_ROWS = 256
"""Rows decoded at a time from a sequential source."""


class WindowReader:
    """Reads windows, padded with no data where they leave the raster.

    Windows of a sequential source must come row by row: its rows are decoded once in strips
    and kept while a later window may need them.
    """

    def __init__(self, source: Source, nodata: float) -> None:
        self._source = source
        self._nodata = nodata
        self._strips: list[tuple[int, np.ndarray, np.ndarray]] = []

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Returns stored values [height, width, bands] and validity bits, uint8 [height, width]."""
        grid = self._source.grid
        inside = window.clip(grid.height, grid.width)
        if inside is None:
            raise ValueError(f"{window} lies outside the raster")
        left = inside.col_off - window.col_off
        image = np.empty(0)
        validity = np.full((window.height, window.width), ValidityBit.NODATA, np.uint8)
        for start, part, bits in self._parts(inside):
            if not image.size:
                image = np.empty((*validity.shape, part.shape[-1]), part.dtype)
                if inside != window:
                    image.fill(self._nodata)
            top = start - window.row_off
            place = slice(top, top + len(part)), slice(left, left + inside.width)
            image[place], validity[place] = part, bits
        return image, validity

    def _parts(self, window: Window) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yields first row, values and validity of the parts that make up a window.

        Large windows are read in parts, because arranging and converting takes many times the
        room of the result.
        """
        if not self._source.sequential:
            start = window.row_off
            while start < window.row_end:
                part = Window(
                    row_off=start,
                    col_off=window.col_off,
                    height=min(self._part_end(start), window.row_end) - start,
                    width=window.width,
                )
                yield start, *self._source.read(part)
                start = part.row_end
            return
        self._decode(window.row_off, window.row_end)
        for start, image, validity in self._strips:
            first, last = max(window.row_off, start), min(window.row_end, start + len(image))
            if first < last:
                place = slice(first - start, last - start), slice(window.col_off, window.col_end)
                yield first, image[place], validity[place]

    def _decode(self, first: int, last: int) -> None:
        self._strips = [s for s in self._strips if s[0] + len(s[1]) > first]
        grid = self._source.grid
        start = self._strips[-1][0] + len(self._strips[-1][1]) if self._strips else first
        while start < last:
            stop = min(self._part_end(start), grid.height)
            strip = Window(row_off=start, col_off=0, height=stop - start, width=grid.width)
            values, validity = self._source.read(strip)
            # Columns of rows that lie band by band are slow to take, and taken several times.
            self._strips.append((start, np.ascontiguousarray(values), validity))
            start = stop

    def _part_end(self, row: int) -> int:
        rows = self._source.part_rows
        return (row // rows + 1) * rows


@contextmanager
def bounded_cache(limit_bytes: int = GDAL_CACHE_BYTES) -> Iterator[None]:
    """Lets GDAL decode blocks side by side, and bounds its cache of them.

    The cache would else grow with the rows to 5 % of the machine.
    """
    with rasterio.Env(GDAL_CACHEMAX=limit_bytes, GDAL_NUM_THREADS="ALL_CPUS"):
        yield


@dataclass(frozen=True, kw_only=True)
class RasterStyle:
    """How a written uint8 raster presents itself."""

    nodata: int
    overview_resampling: str = "NEAREST"
    colormap: Mapping[int, tuple[int, int, int, int]] | None = None
    descriptions: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    band_tags: Mapping[str, str] = field(default_factory=dict)
    scale: float | None = None
    """Physical value per stored unit."""


def write_cog(
    path: Path,
    blocks: Iterable[np.ndarray],
    *,
    bands: int,
    grid: RasterGrid,
    style: RasterStyle,
    staging: Path,
) -> None:
    """Writes row blocks as a cloud-optimised GeoTIFF, whole or not at all.

    Args:
        path: The COG.
        blocks: uint8 [bands, rows, width] from top to bottom; memory holds one at a time.
        bands: Number of bands.
        grid: Size and georeference.
        style: Colours, names and tags.
        staging: Folder on the same disk, for the COG in the making.

    Raises:
        OutputError: The disk refuses.
    """
    # Both files lie in the work folder, so that a killed run leaves nothing beside the map.
    staged, finished = staging / f"{path.stem}.staged.tif", staging / f"{path.stem}.cog.tif"
    try:
        written = _write_tiled(staged, blocks, bands, grid, style)
        rasterio.shutil.copy(
            staged,
            finished,
            driver="COG",
            COMPRESS="DEFLATE",
            BLOCKSIZE=BLOCK_PX,
            OVERVIEW_RESAMPLING=style.overview_resampling,
            OVERVIEWS="IGNORE_EXISTING",
            BIGTIFF="IF_SAFER",
            NUM_THREADS="ALL_CPUS",
        )
        require_kept(finished, written, name=path)
        finished.replace(path)
    except (*RASTERIO_ERRORS, OSError) as error:
        raise OutputError(f"cannot write {path}: {error}; free some space and run again") from error
    finally:
        staged.unlink(missing_ok=True)
        finished.unlink(missing_ok=True)


def _write_tiled(
    path: Path,
    blocks: Iterable[np.ndarray],
    bands: int,
    grid: RasterGrid,
    style: RasterStyle,
) -> tuple[int, ...]:
    """Writes row blocks as a plain tiled raster and returns their checksums."""
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": bands,
        "dtype": "uint8",
        **grid.profile,
        "nodata": style.nodata,
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "compress": "zstd",
        "zstd_level": 1,
        "interleave": "band",
        "bigtiff": "if_safer",
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.update_tags(**style.tags)
        for index, description in enumerate(style.descriptions, 1):
            dataset.set_band_description(index, description)
        dataset.update_tags(1, **style.band_tags)
        if style.colormap is not None:
            dataset.write_colormap(1, dict(style.colormap))
        if style.scale is not None:
            dataset.scales = (style.scale,) * bands
        row, checksums = 0, (0,) * bands
        for block in blocks:
            place = RasterioWindow(0, row, grid.width, block.shape[1])
            dataset.write(block, window=place)
            row += block.shape[1]
            checksums = add_rows(checksums, block)
    if row != grid.height:
        raise OutputError(f"{path} got {row} of {grid.height} rows")
    return checksums
