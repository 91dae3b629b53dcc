"""Ground truth on the image's grid: warped, remapped and mosaicked, never the other way round."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError, RasterioIOError
from rasterio.transform import Affine, array_bounds
from rasterio.warp import reproject, transform, transform_bounds
from rasterio.windows import Window as RasterioWindow

from landcover_tf.errors import LabelError
from landcover_tf.grid import Window
from landcover_tf.legend import Crosswalk

SUFFIXES = (".tif", ".tiff", ".vrt", ".img", ".jp2")
_FINER = 0.98
"""A label pixel is finer than the image's if its side is below this share of it."""
_PIXELS_AT_ONCE = 2**25
"""Label pixels read for one strip, about; labels of 1 m have a hundred under each image pixel."""


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
    nodata: int
    """The target legend's code of pixels without class."""
    sources: tuple[str, ...]
    """Names of the rasters that overlap the image."""
    methods: tuple[str, ...]
    """`mode` or `nearest`, per source."""
    unknown: dict[int, int] = field(hash=False)
    """Source pixels per code that the crosswalk does not know."""

    @property
    def labelled_fraction(self) -> float:
        """Share of image pixels with a class."""
        return float(np.count_nonzero(self.codes != self.nodata) / max(self.codes.size, 1))


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
    image = Window(row_off=0, col_off=0, height=height, width=width)
    return [raster for raster in rasters if _source_windows(raster, crs, grid, image)]


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
        rows_per_strip: Image rows warped at once, fewer where labels are much finer.
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
        side = _relative_side(raster, crs, grid, height, width)
        method = "mode" if side < _FINER else "nearest"
        methods.append(method)
        rows = max(1, min(rows_per_strip, int(_PIXELS_AT_ONCE * side**2 / width)))
        for start in range(0, height, rows):
            strip = Window(row_off=start, col_off=0, height=min(rows, height - start), width=width)
            warped = _warp_strip(raster, crosswalk, crs, grid, strip, method, counts, threads)
            if warped is not None:
                target = codes[strip.slices]
                np.copyto(target, warped, where=target == crosswalk.target.nodata)
    if unknown != "ignore":
        refuse_unknown(counts, rasters, crosswalk)
    return WarpedLabels(
        codes=codes,
        nodata=crosswalk.target.nodata,
        sources=tuple(r.path.name for r in rasters),
        methods=tuple(methods),
        unknown=dict(sorted(counts.items())),
    )


def refuse_unknown(
    counts: Mapping[int, int], rasters: Sequence[LabelRaster], crosswalk: Crosswalk
) -> None:
    """Refuses codes that the crosswalk does not know.

    Raises:
        LabelError: There are such codes.
    """
    if not counts:
        return
    listed = ", ".join(f"{code} ({pixels} px)" for code, pixels in sorted(counts.items()))
    names = ", ".join(r.path.name for r in rasters)
    raise LabelError(
        f"{names} has codes that the crosswalk {crosswalk.source} -> "
        f"{crosswalk.target.name} does not know: {listed}; name the right --source-legend or "
        "pass --unknown-labels ignore"
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


def _relative_side(raster: LabelRaster, crs: CRS, grid: Affine, height: int, width: int) -> float:
    """Returns the side of a label pixel, at the middle of the image, in image pixels."""
    x, y = _position(grid, width / 2, height / 2)
    (source_x,), (source_y,) = transform(crs, raster.crs, [x], [y])
    step_x, step_y = abs(raster.transform.a), abs(raster.transform.e)
    xs, ys = transform(
        raster.crs,
        crs,
        [source_x, source_x + step_x, source_x],
        [source_y, source_y, source_y + step_y],
    )
    area = np.hypot(xs[1] - xs[0], ys[1] - ys[0]) * np.hypot(xs[2] - xs[0], ys[2] - ys[0])
    return float(np.sqrt(area) / abs(grid.a))


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
    nodata = crosswalk.target.nodata
    strip_codes = None
    for source in _source_windows(raster, crs, place, strip, margin=8):
        warped = np.full((strip.height, strip.width), nodata, np.uint8)
        reproject(
            _remap(_read(raster, source), raster.nodata, crosswalk, counts),
            warped,
            src_transform=_shifted(raster.transform, source),
            src_crs=raster.crs,
            src_nodata=nodata,
            dst_transform=place,
            dst_crs=crs,
            dst_nodata=nodata,
            resampling=Resampling.mode if method == "mode" else Resampling.nearest,
            num_threads=threads,
            tolerance=0.0,  # The default approximates positions to an eighth of a pixel.
        )
        if strip_codes is None:
            strip_codes = warped
        else:
            np.copyto(strip_codes, warped, where=strip_codes == nodata)
    return strip_codes


def _read(raster: LabelRaster, window: Window) -> np.ndarray:
    rectangle = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
    try:
        with rasterio.open(raster.path) as dataset:
            return np.asarray(dataset.read(1, window=rectangle))
    except RasterioError as error:
        raise LabelError(f"cannot read {raster.path} ({error}); the file is damaged") from error


def _position(grid: Affine, x: float, y: float) -> tuple[float, float]:
    return grid.a * x + grid.b * y + grid.c, grid.d * x + grid.e * y + grid.f


def _shifted(grid: Affine, window: Window) -> Affine:
    """Returns the transform of a window of a grid."""
    x, y = _position(grid, window.col_off, window.row_off)
    return Affine(grid.a, grid.b, x, grid.d, grid.e, y)


def _source_windows(
    raster: LabelRaster, crs: CRS, place: Affine, image: Window, margin: int = 0
) -> list[Window]:
    """Returns the raster's pixels that an image needs, with a margin.

    There are two windows where the image lies across the antimeridian, which cuts rasters in
    degrees; none where the raster does not reach the image.
    """
    try:
        west, south, east, north = transform_bounds(
            crs, raster.crs, *array_bounds(image.height, image.width, place)
        )
    except (CRSError, RasterioError):
        return []  # What the raster's projection cannot express is far away.
    # Across the antimeridian the western bound is the greater number.
    spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    pixels = ~raster.transform
    found = []
    for left, right in spans:
        corners = [_position(pixels, x, y) for x in (left, right) for y in (south, north)]
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


def _remap(
    labels: np.ndarray, nodata: float | None, crosswalk: Crosswalk, counts: Counter[int]
) -> np.ndarray:
    """Returns target codes; codes without an entry are counted and become no data."""
    target = np.full(labels.shape, crosswalk.target.nodata, np.uint8)
    has_code = np.ones(labels.shape, bool) if nodata is None else labels != nodata
    codes = labels[has_code].astype(np.int64)
    if not codes.size:
        return target
    low, high = int(codes.min()), int(codes.max())
    if high - low > 2**20:
        raise LabelError(f"label codes span {low} to {high}; expected class codes")
    codes -= low
    # A table over the occurring range is many times faster than sorting the pixels.
    present = np.bincount(codes)
    table = np.full(len(present), crosswalk.target.nodata, np.uint8)
    for code in np.flatnonzero(present):
        value = int(code) + low
        if value in crosswalk.codes:
            table[code] = crosswalk.codes[value]
        else:
            counts[value] += int(present[code])
    target[has_code] = table[codes]
    return target
