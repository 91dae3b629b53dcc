"""Ground truth on the image's grid: warped, remapped and mosaicked, never the other way round."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError, RasterioIOError
from rasterio.transform import Affine, array_bounds, rowcol
from rasterio.warp import reproject, transform, transform_bounds
from rasterio.windows import Window as RasterioWindow

from landcover_tf.errors import LabelError
from landcover_tf.grid import Window
from landcover_tf.legend import Crosswalk

SUFFIXES = (".tif", ".tiff", ".vrt", ".img", ".jp2")
_FINER = 0.98
"""A label pixel is finer than the image's if its side is below this share of it."""


@dataclass(frozen=True, kw_only=True)
class LabelRaster:
    """One label raster, opened for each read."""

    path: Path
    crs: CRS
    transform: Affine
    height: int
    width: int
    nodata: float | None


@dataclass(frozen=True, kw_only=True)
class WarpedLabels:
    """Label codes on an image grid and what was found on the way."""

    codes: np.ndarray
    """Target legend codes, uint8 [height, width]."""
    sources: tuple[str, ...]
    """Names of the rasters that overlap the image."""
    methods: tuple[str, ...]
    """`mode` or `nearest`, per source."""
    unknown: dict[int, int] = field(hash=False)
    """Source pixels per code that the crosswalk does not know."""

    @property
    def labelled_fraction(self) -> float:
        """Share of image pixels with a class."""
        return float(np.count_nonzero(self.codes) / max(self.codes.size, 1))


def find_label_rasters(path: str | Path) -> list[LabelRaster]:
    """Returns the label raster `path`, or all rasters in the folder `path`, sorted by name.

    Raises:
        LabelError: There is none, or one has no CRS, several bands or no integer codes.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES)
        if not files:
            raise LabelError(f"{path} holds no label raster; expected {', '.join(SUFFIXES)} files")
    elif path.is_file():
        files = [path]
    else:
        raise LabelError(f"{path} does not exist; expected a label raster or a folder of them")
    return [_describe(file) for file in files]


def rasters_of(
    rasters: Sequence[LabelRaster], product: str, crs: CRS, grid: Affine, height: int, width: int
) -> list[LabelRaster]:
    """Returns the rasters to use for one product.

    A raster that has the product's own name is used alone; otherwise all whose bounds meet those
    of the image are.
    """
    own = [raster for raster in rasters if raster.path.stem == product]
    return overlapping(own or rasters, crs, grid, height, width)


def overlapping(
    rasters: Sequence[LabelRaster], crs: CRS, grid: Affine, height: int, width: int
) -> list[LabelRaster]:
    """Returns the rasters whose bounds meet those of an image."""
    west, south, east, north = array_bounds(height, width, grid)
    found = []
    for raster in rasters:
        try:
            box = transform_bounds(
                raster.crs, crs, *array_bounds(raster.height, raster.width, raster.transform)
            )
        except (CRSError, RasterioError):
            continue  # Bounds that the image's projection cannot express are far away.
        if box[0] < east and box[2] > west and box[1] < north and box[3] > south:
            found.append(raster)
    return found


def warp_labels(
    rasters: Sequence[LabelRaster],
    crosswalk: Crosswalk,
    *,
    crs: CRS,
    grid: Affine,
    height: int,
    width: int,
    unknown: str = "error",
    rows_per_strip: int = 1024,
    threads: int = 1,
) -> WarpedLabels:
    """Returns the label codes of an image grid.

    Rasters finer than the image take the most frequent class in each pixel, after the crosswalk,
    so that two source classes of one target class count together; others take the nearest.
    Where rasters overlap, the first with a class wins.

    Args:
        rasters: Label rasters that overlap the image.
        crosswalk: From source codes to the target legend.
        crs: Of the image.
        grid: Transform of the image.
        height: Rows of the image.
        width: Columns of the image.
        unknown: "error" refuses codes that the crosswalk does not know; "ignore" counts them
            and makes them no data.
        rows_per_strip: Image rows warped at once.
        threads: Threads of the warper.

    Raises:
        LabelError: No raster overlaps the image, or a code is unknown.
    """
    if not rasters:
        raise LabelError("no label raster overlaps the image; check its position and CRS")
    codes = np.full((height, width), crosswalk.target.nodata, np.uint8)
    counts: Counter[int] = Counter()
    methods = []
    for raster in rasters:
        method = "mode" if _is_finer(raster, crs, grid, height, width) else "nearest"
        methods.append(method)
        for start in range(0, height, rows_per_strip):
            strip = Window(
                row_off=start, col_off=0, height=min(rows_per_strip, height - start), width=width
            )
            warped = _warp_strip(raster, crosswalk, crs, grid, strip, method, counts, threads)
            if warped is not None:
                target = codes[strip.slices]
                np.copyto(target, warped, where=target == crosswalk.target.nodata)
    if counts and unknown != "ignore":
        listed = ", ".join(f"{code} ({pixels} px)" for code, pixels in sorted(counts.items()))
        names = ", ".join(r.path.name for r in rasters)
        raise LabelError(
            f"{names} has codes that the crosswalk {crosswalk.source} -> "
            f"{crosswalk.target.name} does not know: {listed}; name the right --source-legend or "
            "pass --unknown-labels ignore"
        )
    return WarpedLabels(
        codes=codes,
        sources=tuple(r.path.name for r in rasters),
        methods=tuple(methods),
        unknown=dict(sorted(counts.items())),
    )


def _describe(path: Path) -> LabelRaster:
    try:
        with rasterio.open(path) as dataset:
            if dataset.crs is None:
                raise LabelError(f"{path} has no CRS; georeference it (gdal_edit.py -a_srs)")
            if dataset.count != 1:
                raise LabelError(f"{path} has {dataset.count} bands; a label raster has one")
            if np.dtype(dataset.dtypes[0]).kind not in "iu":
                raise LabelError(
                    f"{path} holds {dataset.dtypes[0]}; label codes are integers, convert it"
                )
            return LabelRaster(
                path=path,
                crs=dataset.crs,
                transform=dataset.transform,
                height=dataset.height,
                width=dataset.width,
                nodata=dataset.nodata,
            )
    except RasterioIOError as error:
        raise LabelError(f"{path} is not a raster that GDAL can read ({error})") from error


def _is_finer(raster: LabelRaster, crs: CRS, grid: Affine, height: int, width: int) -> bool:
    """Returns whether the raster's pixels, at the middle of the image, are smaller."""
    x, y = _position(grid, height / 2, width / 2)
    (source_x,), (source_y,) = transform(crs, raster.crs, [x], [y])
    step_x, step_y = abs(raster.transform.a), abs(raster.transform.e)
    xs, ys = transform(
        raster.crs,
        crs,
        [source_x, source_x + step_x, source_x],
        [source_y, source_y, source_y + step_y],
    )
    area = np.hypot(xs[1] - xs[0], ys[1] - ys[0]) * np.hypot(xs[2] - xs[0], ys[2] - ys[0])
    return bool(np.sqrt(area) < _FINER * abs(grid.a))


def _warp_strip(
    raster: LabelRaster,
    crosswalk: Crosswalk,
    crs: CRS,
    grid: Affine,
    strip: Window,
    method: str,
    counts: Counter[int],
    threads: int,
) -> np.ndarray | None:
    """Returns target codes of an image strip, or None where the raster does not reach it."""
    place = _shifted(grid, strip)
    source = _source_window(raster, crs, place, strip)
    if source is None:
        return None
    try:
        with rasterio.open(raster.path) as dataset:
            labels = dataset.read(
                1,
                window=RasterioWindow(source.col_off, source.row_off, source.width, source.height),
            )
    except RasterioError as error:
        raise LabelError(f"cannot read {raster.path} ({error}); the file is damaged") from error
    codes = _remap(labels, raster.nodata, crosswalk, counts)
    target = np.full((strip.height, strip.width), crosswalk.target.nodata, np.uint8)
    reproject(
        codes,
        target,
        src_transform=_shifted(raster.transform, source),
        src_crs=raster.crs,
        src_nodata=crosswalk.target.nodata,
        dst_transform=place,
        dst_crs=crs,
        dst_nodata=crosswalk.target.nodata,
        resampling=Resampling.mode if method == "mode" else Resampling.nearest,
        num_threads=threads,
        tolerance=0.0,  # The default approximates positions to an eighth of a pixel.
    )
    return target


def _position(grid: Affine, row: float, col: float) -> tuple[float, float]:
    return grid.a * col + grid.b * row + grid.c, grid.d * col + grid.e * row + grid.f


def _shifted(grid: Affine, window: Window) -> Affine:
    """Returns the transform of a window of a grid."""
    x, y = _position(grid, window.row_off, window.col_off)
    return Affine(grid.a, grid.b, x, grid.d, grid.e, y)


def _source_window(raster: LabelRaster, crs: CRS, place: Affine, strip: Window) -> Window | None:
    """Returns the raster's pixels that an image strip needs, with a margin."""
    box = transform_bounds(crs, raster.crs, *array_bounds(strip.height, strip.width, place))
    rows, cols = rowcol(raster.transform, [box[0], box[2]], [box[3], box[1]], op=np.floor)
    top, bottom = sorted(int(r) for r in rows)
    left, right = sorted(int(c) for c in cols)
    margin = 8
    window = Window(
        row_off=top, col_off=left, height=bottom - top + 1, width=right - left + 1
    ).expand(margin)
    return window.clip(raster.height, raster.width)


def _remap(
    labels: np.ndarray, nodata: float | None, crosswalk: Crosswalk, counts: Counter[int]
) -> np.ndarray:
    """Returns target codes; codes without an entry are counted and become no data."""
    low, high = int(labels.min()), int(labels.max())
    if high - low > 2**20:
        raise LabelError(f"label codes span {low} to {high}; expected class codes")
    # A table over the occurring range is many times faster than sorting the pixels.
    present = np.bincount((labels.ravel().astype(np.int32) - low), minlength=high - low + 1)
    table = np.full(high - low + 1, crosswalk.target.nodata, np.uint8)
    for code in np.flatnonzero(present) + low:
        value = int(code)
        if nodata is not None and value == nodata:
            continue
        if value in crosswalk.codes:
            table[value - low] = crosswalk.codes[value]
        else:
            counts[value] += int(present[value - low])
    return table[labels.astype(np.int32) - low]
