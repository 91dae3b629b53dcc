"""Ground truth on the image's grid: warped, remapped and mosaicked, never the other way round."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from rasterio.enums import Resampling
from rasterio.features import geometry_mask
from rasterio.transform import Affine
from rasterio.warp import reproject, transform

from landcover_tf.crosswalk import Crosswalk
from landcover_tf.errors import LabelError
from landcover_tf.grid import Window
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.sentinel2.label_rasters import (
    LabelRaster,
    read_window,
    source_windows,
)
from landcover_tf.sentinel2.majority import largest_class

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
    """`mode`, the class of the largest area, or `nearest`, per source."""
    unknown: dict[int, int] = field(hash=False)
    """Source pixels that meet the image, per code that the crosswalk does not know."""

    @property
    def labelled_fraction(self) -> float:
        """Share of image pixels with a class."""
        return float(np.count_nonzero(self.codes != self.nodata) / max(self.codes.size, 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Strip:
    """Rows of the image."""

    grid: RasterGrid
    outline: np.ndarray
    """A ring around what belongs to it, float64 [points, 2] in the CRS."""


def warp_labels(
    rasters: Sequence[LabelRaster],
    crosswalk: Crosswalk,
    *,
    grid: RasterGrid,
    unknown: str = "error",
    min_labelled_fraction: float = 0.5,
    rows_per_strip: int = 1024,
    threads: int = 1,
    edges: tuple[bool, bool] = (True, True),
) -> WarpedLabels:
    """Returns the label codes of an image grid.

    Rasters finer than the image give each pixel the class with the largest area in it, after the
    crosswalk, so that two source classes of one target class count together, where enough of the
    pixel is labelled; others give it the nearest. Where rasters overlap, the first with a class
    wins.

    Args:
        rasters: Label rasters that overlap the image.
        crosswalk: From source codes to the target legend.
        grid: Of the image.
        unknown: "error" refuses codes that the crosswalk does not know; "ignore" counts them
            and makes them no data. What lies outside the image is neither refused nor counted.
        min_labelled_fraction: Least part of a pixel with a class for it to get one, where labels
            are finer.
        rows_per_strip: Image rows warped at once, fewer where labels are much finer.
        threads: Threads of the warper.
        edges: Whether the first and the last row are the image's. A label pixel across another
            border counts where its centre is.

    Raises:
        LabelError: No raster overlaps the image, or a code is unknown.
    """
    if not rasters:
        raise LabelError("no label raster overlaps the image; check its position and CRS")
    codes = np.full(grid.shape, crosswalk.target.nodata, np.uint8)
    counts: Counter[int] = Counter()
    methods = []
    for raster in rasters:
        side = _relative_side(raster.grid, grid)
        method = "mode" if side < _FINER else "nearest"
        methods.append(method)
        rows = max(1, min(rows_per_strip, int(_PIXELS_AT_ONCE * side**2 / grid.width)))
        for window in grid.window.strips(rows):
            # A label pixel meets the image if its centre is less than half its side away.
            strip = _Strip(
                grid=grid.part(window),
                outline=_outline(
                    grid.transform,
                    window,
                    0.495 * side,
                    edges=(
                        edges[0] and window.row_off == 0,
                        edges[1] and window.row_end == grid.height,
                    ),
                ),
            )
            least = min_labelled_fraction if method == "mode" else 0.0
            warped = _warp_strip(raster, crosswalk, strip, method, least, counts, threads)
            if warped is not None:
                target = codes[window.slices]
                np.copyto(target, warped, where=target == crosswalk.target.nodata)
    names = tuple(r.path.name for r in rasters)
    if unknown != "ignore":
        crosswalk.refuse_unknown(counts, ", ".join(names), legend_flag="--source-legend")
    return WarpedLabels(
        codes=codes,
        nodata=crosswalk.target.nodata,
        sources=names,
        methods=tuple(methods),
        unknown=dict(sorted(counts.items())),
    )


def _relative_side(raster: RasterGrid, image: RasterGrid) -> float:
    """Returns the side of a label pixel, at the middle of the image, in image pixels."""
    x, y = image.transform @ (image.width / 2, image.height / 2)
    (source_x,), (source_y,) = transform(image.crs, raster.crs, [x], [y])
    own = raster.transform
    xs, ys = transform(
        raster.crs,
        image.crs,
        [source_x, source_x + own.a, source_x + own.b],
        [source_y, source_y + own.d, source_y + own.e],
    )
    area = np.hypot(xs[1] - xs[0], ys[1] - ys[0]) * np.hypot(xs[2] - xs[0], ys[2] - ys[0])
    return float(np.sqrt(area / abs(image.transform.determinant)))


def _outline(
    image: Affine, window: Window, margin_px: float, *, edges: tuple[bool, bool]
) -> np.ndarray:
    """Returns a closed ring around rows of an image, float64 [points, 2].

    It reaches `margin_px` beyond the image, but not into other rows of it.
    """
    top = window.row_off - (margin_px if edges[0] else 0)
    bottom = window.row_end + (margin_px if edges[1] else 0)
    left, right = -margin_px, window.width + margin_px
    # Points along the sides follow their curve in another CRS.
    along = np.linspace(0, 1, 65)
    cols, rows = left + (right - left) * along, top + (bottom - top) * along
    ring = [(col, top) for col in cols] + [(right, row) for row in rows]
    ring += [(col, bottom) for col in cols[::-1]] + [(left, row) for row in rows[::-1]]
    return np.array([image @ place for place in ring])


def _warp_strip(
    raster: LabelRaster,
    crosswalk: Crosswalk,
    strip: _Strip,
    method: str,
    min_labelled_fraction: float,
    counts: Counter[int],
    threads: int,
) -> np.ndarray | None:
    """Returns target codes of an image strip, or None where the raster does not reach it."""
    nodata = crosswalk.target.nodata
    strip_codes = None
    for window in source_windows(raster.grid, strip.grid, margin=8):
        source = raster.grid.part(window)
        labels, missing = read_window(raster, window)
        codes, unknown = _remap(labels, missing, crosswalk)
        if unknown.any():
            unknown &= _inside(source, strip)
            found, pixels = np.unique(labels[unknown], return_counts=True)
            counts.update(dict(zip(found.tolist(), pixels.tolist(), strict=True)))
        if method == "mode":
            warped = largest_class(
                codes,
                partial(_positions, source, strip.grid),
                nodata=nodata,
                place=strip.grid.transform,
                shape=strip.grid.shape,
                min_labelled_fraction=min_labelled_fraction,
            )
        else:
            warped = _nearest(codes, source, strip.grid, nodata=nodata, threads=threads)
        if strip_codes is None:
            strip_codes = warped
        else:
            np.copyto(strip_codes, warped, where=strip_codes == nodata)
    return strip_codes


def _nearest(
    codes: np.ndarray,
    source: RasterGrid,
    strip: RasterGrid,
    *,
    nodata: int,
    threads: int,
) -> np.ndarray:
    """Returns the codes of a raster's window in the pixels of a strip, uint8 [height, width]."""
    warped = np.full(strip.shape, nodata, np.uint8)
    reproject(
        codes,
        warped,
        src_transform=source.transform,
        src_crs=source.crs,
        src_nodata=nodata,
        dst_transform=strip.transform,
        dst_crs=strip.crs,
        dst_nodata=nodata,
        resampling=Resampling.nearest,
        num_threads=threads,
        tolerance=0.0,  # The default approximates positions to an eighth of a pixel.
    )
    return warped


def _positions(
    source: RasterGrid, strip: RasterGrid, cols: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns columns and rows in a raster's window of places in a strip, float64 [places]."""
    x, y = strip.transform @ (cols, rows)
    if strip.crs != source.crs:
        x, y = (np.array(v) for v in transform(strip.crs, source.crs, x.tolist(), y.tolist()))
    x = _beside(source, x)
    cols, rows = ~source.transform @ (x, y)
    return cols, rows


def _beside(source: RasterGrid, x: np.ndarray) -> np.ndarray:
    """Returns longitudes of the turn around the Earth that a raster's window is in."""
    if source.crs is None or not source.crs.is_geographic:
        return x
    middle: float
    middle, _ = source.transform @ (source.width / 2, source.height / 2)
    return x - 360 * np.round((x - middle) / 360)


def _inside(source: RasterGrid, strip: _Strip) -> np.ndarray:
    """Returns the pixels of a raster's window with their centre in a strip, bool [height, width].

    Each label pixel lies in one strip at most.
    """
    x, y = (np.array(v) for v in transform(strip.grid.crs, source.crs, *strip.outline.T.tolist()))
    # Of a ring across the antimeridian, the part at the window counts.
    x = _beside(source, x)
    ring = {"type": "Polygon", "coordinates": [np.stack([x, y], axis=1).tolist()]}
    inside: np.ndarray = geometry_mask(
        [ring],
        out_shape=source.shape,
        transform=source.transform,
        invert=True,
    )
    return inside


def _remap(
    labels: np.ndarray, missing: np.ndarray, crosswalk: Crosswalk
) -> tuple[np.ndarray, np.ndarray]:
    """Returns target codes, and where there is none for a label; such pixels become no data."""
    nodata = crosswalk.target.nodata
    if missing.all():
        return np.full(labels.shape, nodata, np.uint8), np.zeros(labels.shape, bool)
    numbered, places = _numbered(labels, missing)
    table = np.full(len(numbered), nodata, np.uint8)
    lacks_entry = np.ones(len(numbered), bool)
    _, slots, entries = np.intersect1d(
        numbered, np.array(list(crosswalk.codes)), assume_unique=True, return_indices=True
    )
    table[slots] = np.array(list(crosswalk.codes.values()))[entries]
    lacks_entry[slots] = False
    target = table[places]
    unknown = lacks_entry[places] & ~missing
    target[missing] = nodata
    return target, unknown


def _numbered(labels: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns codes in order, all that occur among them, and the place of each pixel's there.

    Missing pixels have any place.
    """
    if labels.dtype == np.uint8:
        return np.arange(256), labels
    valid = labels[~missing]
    low, high = int(valid.min()), int(valid.max())
    filled = np.where(missing, low, labels)
    if high - low > 2**20:  # A code far from the others, as a fill value has it.
        return np.unique(filled, return_inverse=True)
    # A table over the occurring range is many times faster than sorting the pixels.
    return np.arange(low, high + 1), filled.astype(np.int64) - low
