"""Ground truth on the image's grid: warped, remapped and mosaicked, never the other way round."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject, transform

from landcover_tf.errors import LabelError
from landcover_tf.grid import Window
from landcover_tf.legend import Crosswalk
from landcover_tf.sentinel2.label_rasters import (
    LabelRaster,
    position,
    read_window,
    shifted,
    source_windows,
)

_FINER = 0.98
"""A label pixel is finer than the image's if its side is below this share of it."""
_PIXELS_AT_ONCE = 2**25
"""Label pixels read for one strip, about; labels of 1 m have a hundred under each image pixel."""


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


def _relative_side(raster: LabelRaster, crs: CRS, grid: Affine, height: int, width: int) -> float:
    """Returns the side of a label pixel, at the middle of the image, in image pixels."""
    x, y = position(grid, width / 2, height / 2)
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
    place = shifted(grid, strip)
    nodata = crosswalk.target.nodata
    strip_codes = None
    for source in source_windows(raster, crs, place, strip, margin=8):
        warped = np.full((strip.height, strip.width), nodata, np.uint8)
        reproject(
            _remap(read_window(raster, source), raster.nodata, crosswalk, counts),
            warped,
            src_transform=shifted(raster.transform, source),
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
