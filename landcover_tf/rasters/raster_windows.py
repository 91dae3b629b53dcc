"""Rasters opened, read and read back with rasterio, whose errors are told in one sentence."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import rasterio

# rasterio 1.4 lets some of GDAL's own errors out, as transformations and reads of a mask do.
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from landcover_tf.errors import LandCoverError, OutputError, RasterError, listed
from landcover_tf.grid import Window

RASTERIO_ERRORS = (RasterioError, CPLE_BaseError)
"""What rasterio raises when a file or a coordinate cannot be used."""

_KEPT_ROWS = 512
"""Rows read back at a time: whole tiles of written rasters."""

VECTOR_SUFFIXES = (".gpkg", ".shp", ".geojson", ".json", ".fgb", ".kml", ".gml")


@contextmanager
def opened(
    path: str | Path,
    what: str = "the raster",
    *,
    error: type[LandCoverError] = RasterError,
    **options: Any,
) -> Iterator[rasterio.DatasetReader]:
    """Yields an open raster; what rasterio raises until it is closed is told of this file.

    Args:
        path: Raster.
        what: It is for the reader of the message.
        error: What to raise.
        options: Keywords of `rasterio.open`.

    Raises:
        LandCoverError: Of the type `error`; the file cannot be opened or read.
    """
    try:
        with rasterio.open(path, **options) as raster:
            yield raster
    except RASTERIO_ERRORS as cause:
        if Path(path).suffix.lower() in VECTOR_SUFFIXES and Path(path).exists():
            raise error(
                f"cannot read {what} {path}: it is a vector file; `landcover rasterize` makes a "
                "raster of it"
            ) from cause
        raise error(f"cannot read {what} {path}: {cause.__cause__ or cause}") from cause
    except UnicodeEncodeError as cause:
        # GDAL takes names in UTF-8 only; old archives have others.
        name = str(path).encode(errors="backslashreplace").decode()
        raise error(f"cannot read {what} {name}: its name is not UTF-8; rename it") from cause


def require_one_raster(
    raster: rasterio.DatasetReader, error: type[LandCoverError] = RasterError
) -> None:
    """Refuses a file that has no bands of its own but several rasters in it, as NetCDF and HDF.

    Raises:
        LandCoverError: Of the type `error`; it names the rasters in it.
    """
    if not raster.count and raster.subdatasets:
        names = [str(name) for name in raster.subdatasets]
        raise error(
            f"{raster.name} holds several rasters, {listed(names, 5)}; write the one "
            "that is meant as GeoTIFF (gdal_translate NAME OUT.tif)"
        )


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
    except RASTERIO_ERRORS as cause:
        raise error(
            f"{raster.name} is damaged at rows {window.row_off} to {window.row_end}: "
            f"{cause.__cause__ or cause}; copy or make it again"
        ) from cause


def add_rows(checksums: tuple[int, ...], rows: np.ndarray) -> tuple[int, ...]:
    """Returns the CRC-32 of each band's pixels with more rows, in whatever blocks they come.

    Args:
        checksums: Checksums of the rows above, 0 for each band where there are none.
        rows: Whole rows, [bands, rows, width].
    """
    return tuple(
        zlib.crc32(np.ascontiguousarray(band).data, above)
        for band, above in zip(rows, checksums, strict=True)
    )


def require_kept(
    path: Path,
    checksums: tuple[int, ...],
    *,
    name: Path,
    part: Window | None = None,
    threads: int | str = "all_cpus",
    unneeded: Event | None = None,
) -> None:
    """Reads a finished raster back: GDAL's threads do not report a full disk, nor does its closing.

    Args:
        path: The raster.
        checksums: What `add_rows` gave for all its rows.
        name: What the file is going to be called.
        part: What the checksums are of; None is the whole raster.
        threads: That decode it.
        unneeded: Once set, the rest is not read and nothing is refused; None never is.

    Raises:
        OutputError: It cannot be read or is not what was written.
    """
    kept: tuple[int, ...] = (0,) * len(checksums)
    try:
        with rasterio.open(path, num_threads=threads) as raster:
            whole = Window(row_off=0, col_off=0, height=raster.height, width=raster.width)
            for strip in (part or whole).strips(_KEPT_ROWS):
                if unneeded is not None and unneeded.is_set():
                    return
                kept = add_rows(kept, raster.read(window=rasterio_window(strip)))
    except RASTERIO_ERRORS as error:
        raise OutputError(
            f"cannot write {name}: it cannot be read back ({error.__cause__ or error}); is the "
            "disk full?"
        ) from error
    if kept != checksums:
        raise OutputError(f"cannot write {name}: it is not what was written; is the disk full?")
