"""Label rasters on disk: which there are, and which of their pixels an image needs."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import CRSError

from landcover_tf.errors import LabelError
from landcover_tf.grid import Window
from landcover_tf.rasters.bounds import reprojected
from landcover_tf.rasters.label_codes import has_one_band, read_codes, require_codes
from landcover_tf.rasters.pixel_sizes import on_earth
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.rasters.raster_legends import stated_legend
from landcover_tf.rasters.raster_windows import RASTERIO_ERRORS, opened
from landcover_tf.sentinel2.prepared import DOCUMENT, LABELS

SUFFIXES = (".tif", ".tiff", ".vrt", ".img", ".jp2")


@dataclass(frozen=True, kw_only=True)
class LabelRaster:
    """One label raster, opened for each read."""

    path: Path
    grid: RasterGrid
    nodata: float | None
    legend: str | None = None
    """What it says of its legend, as `raster_legends.stated_legend` returns it."""


def open_codes(path: Path) -> rasterio.DatasetReader:
    """Opens a raster of class codes without its overviews, for reading it decimated.

    GDAL fills those of a COG by splines unless told otherwise: with codes that no class has.
    """
    return rasterio.open(path, OVERVIEW_LEVEL="NONE")


def find_label_rasters(path: str | Path, *, quiet: bool = False) -> list[LabelRaster]:
    """Returns the label raster `path`, or all in the folder `path` and then those in its folders.

    A note names the folders in the folder that count, and tells of the rasters that are left out:
    those of several bands, as WorldCover's quality layers, and what `predict` and `assess compare`
    wrote. Products, prepared scenes and hidden folders in it are not entered, and JPEG 2000 below
    it is no label: products are of that format. Of a prepared scene itself its labels are taken.

    Args:
        path: File or folder.
        quiet: Without the note.

    Raises:
        LabelError: There is none, or one has no CRS or no numbers.
    """
    path = Path(path)
    if path.is_dir():
        files = _raster_files(path)
        if not files:
            raise LabelError(f"{path} holds no label raster; expected {', '.join(SUFFIXES)} files")
    elif path.is_file():
        files = [path]
    else:
        raise LabelError(f"{path} does not exist; expected a label raster or a folder of them")
    described = {file: _describe(file, alone=file == path) for file in files}
    rasters = [raster for raster in described.values() if raster is not None]
    others = [file for file, raster in described.items() if raster is None]
    if not rasters:
        raise LabelError(
            f"{path} holds no label raster, only ones of several bands or those that predict or "
            f"assess compare wrote, {others[0]} first; name one of these itself to use it"
        )
    if not quiet:
        _tell(path, [raster.path for raster in rasters], others)
    return rasters


def rasters_of(
    rasters: Sequence[LabelRaster], product: str, image: RasterGrid
) -> list[LabelRaster]:
    """Returns the rasters to use for one product.

    A raster that has the product's own name is used alone; otherwise all whose bounds meet those
    of the image are.
    """
    own = [raster for raster in rasters if raster.path.stem == product]
    return overlapping(own or rasters, image)


def overlapping(rasters: Sequence[LabelRaster], image: RasterGrid) -> list[LabelRaster]:
    """Returns the rasters whose bounds meet those of an image."""
    return [raster for raster in rasters if source_windows(raster.grid, image)]


def source_windows(raster: RasterGrid, image: RasterGrid, margin: int = 0) -> list[Window]:
    """Returns the pixels of a raster that an image needs, with a margin.

    There are several windows where the image lies across a meridian that cuts the raster, which is
    in degrees; none where the raster does not reach the image.
    """
    try:
        boxes = reprojected(image.bounds, image.crs, raster.crs)
    except (CRSError, *RASTERIO_ERRORS):
        return []  # What the raster's projection cannot express is far away.
    if (
        raster.crs is not None and raster.crs.is_geographic
    ):  # Its longitudes may reach over 180, or count to 360.
        boxes = [(w + turn, s, e + turn, n) for turn in (0, -360, 360) for w, s, e, n in boxes]
    pixels = ~raster.transform
    found = []
    for west, south, east, north in boxes:
        corners = [pixels @ (x, y) for x in (west, east) for y in (south, north)]
        if not np.isfinite(corners).all():
            continue
        cols, rows = zip(*corners, strict=True)
        col, row = int(np.floor(min(cols))), int(np.floor(min(rows)))
        window = Window(
            row_off=row,
            col_off=col,
            height=int(np.ceil(max(rows))) - row,
            width=int(np.ceil(max(cols))) - col,
        ).clip(raster.height, raster.width)
        if window is not None:
            found.append(window.expand(margin).clip(raster.height, raster.width) or window)
    return found


def read_window(raster: LabelRaster, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Returns a window's codes and where there is none, as `label_codes.read_codes` does."""
    with opened(raster.path, "the label raster", error=LabelError) as file:
        return read_codes(file, window)


def _raster_files(folder: Path) -> list[Path]:
    """Returns the files that may be label rasters, those of the folder itself before deeper ones.

    Symbolic links are followed, to each folder once.
    """
    if (folder / DOCUMENT).is_file():
        if not (folder / LABELS).is_file():
            raise LabelError(
                f"{folder} is a prepared scene without {LABELS}; prepare it with --ground-truth, "
                "or name a label raster"
            )
        return [folder / LABELS]
    found, seen = [], {folder.resolve()}
    for place, folders, names in os.walk(folder, followlinks=True):
        below = Path(place) != folder
        if below and DOCUMENT in names:
            folders.clear()
            continue
        folders[:] = [name for name in sorted(folders) if _enters(Path(place, name), seen)]
        for name in names:
            suffix = Path(name).suffix.lower()
            if name[0] != "." and suffix in SUFFIXES and not (below and suffix == ".jp2"):
                found.append(Path(place, name))
    return sorted(found, key=lambda file: (file.parent != folder, file))


def _enters(folder: Path, seen: set[Path]) -> bool:
    """Returns whether a folder may hold label rasters, and keeps its real path in `seen`."""
    real = folder.resolve()
    if real in seen or folder.name[0] == "." or folder.suffix.upper() == ".SAFE":
        return False
    seen.add(real)
    return True


def _tell(path: Path, used: Sequence[Path], others: Sequence[Path]) -> None:
    """Prints which folders of a folder labels are taken from, and what is left out."""
    below = [file.parent for file in used if path.is_dir() and file.parent != path]
    if below:
        folders = len({*below})
        print(
            f"note: {len(below)} label rasters of {folders} folders in {path} are used as well, "
            f"{below[0]} first; of rasters that overlap, the first with a class counts",
            file=sys.stderr,
        )
    if others:
        print(
            f"note: {len(others)} rasters of several bands, or that predict or assess compare "
            f"wrote, are no labels and left out, {others[0]} first",
            file=sys.stderr,
        )


def _describe(path: Path, *, alone: bool) -> LabelRaster | None:
    """Returns what a label raster's header says, None for what is none.

    Args:
        path: The raster.
        alone: It was named itself and not found in a folder: a map may stand for labels then.
    """
    with opened(path, "the label raster", error=LabelError) as dataset:
        if not alone and not (has_one_band(dataset) and _is_foreign(dataset)):
            return None
        require_codes(dataset)
        if not on_earth(dataset.crs):
            local = "" if dataset.crs is None else " but a local one"
            raise LabelError(f"{path} has no CRS{local}; georeference it (gdal_edit.py -a_srs)")
        return LabelRaster(
            path=path,
            grid=RasterGrid.of(dataset),
            nodata=dataset.nodata,
            legend=stated_legend(dataset),
        )


def _is_foreign(raster: rasterio.DatasetReader) -> bool:
    """Returns whether neither `predict` nor `assess compare` wrote a raster."""
    return "model_sha256" not in raster.tags() and raster.descriptions[0] != "agreement"
