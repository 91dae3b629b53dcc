"""Ground truth on the image's grid: warped, remapped and mosaicked, never the other way round."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from rasterio.features import geometry_mask
from rasterio.warp import transform

from landcover_tf.crosswalk import Crosswalk
from landcover_tf.errors import LabelError
from landcover_tf.grid import Window
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.sentinel2.label_rasters import (
    LabelRaster,
    read_window,
    source_windows,
)
from landcover_tf.sentinel2.majority import largest_class, nearest_class

_FINER = 0.98
"""A label pixel is finer than the image's if its side is below this share of it."""
_PIXELS_AT_ONCE = 2**25
"""Label pixels under one block of the image; labels of 1 m have a hundred under each pixel."""
_STEP = 16
"""Columns of blocks are multiples of it, on which `majority` has exact positions."""


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
class _Block:
    """A part of the image."""

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
    rows_at_once: int = 1024,
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
        grid: Grid of the image.
        unknown: "error" refuses codes that the crosswalk does not know; "ignore" counts them
            and makes them no data. What lies outside the image is neither refused nor counted.
        min_labelled_fraction: Least part of a pixel with a class for it to get one, where labels
            are finer.
        rows_at_once: Most image rows of a block that is warped at once.
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
        for window in _blocks(grid.window, side, rows_at_once):
            block = _Block(
                grid=grid.part(window),
                # A label pixel meets the image if its centre is less than half its side away.
                outline=_outline(grid, window, 0.495 * side, edges=edges),
            )
            least = min_labelled_fraction if method == "mode" else 0.0
            warped = _warp_block(raster, crosswalk, block, method, least, counts)
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


def _blocks(image: Window, side: float, rows_at_once: int) -> Iterator[Window]:
    """Returns the blocks of an image that are warped one by one.

    They are no wider than labels of that side allow a square to be: of labels that are turned
    against the image the box around a block is read, which is large around a long block.
    """
    square = max(1, int(np.sqrt(_PIXELS_AT_ONCE) * side))
    return image.blocks(min(rows_at_once, square), -(-square // _STEP) * _STEP)


def _outline(
    image: RasterGrid, block: Window, margin_px: float, *, edges: tuple[bool, bool]
) -> np.ndarray:
    """Returns a closed ring around a block of an image, float64 [points, 2].

    It reaches `margin_px` beyond the image, but not into other blocks of it.
    """
    top = block.row_off - (margin_px if edges[0] and block.row_off == 0 else 0)
    bottom = block.row_end + (margin_px if edges[1] and block.row_end == image.height else 0)
    left = block.col_off - (margin_px if block.col_off == 0 else 0)
    right = block.col_end + (margin_px if block.col_end == image.width else 0)
    # Points along the sides follow their curve in another CRS.
    along = np.linspace(0, 1, 65)
    cols, rows = left + (right - left) * along, top + (bottom - top) * along
    ring = [(col, top) for col in cols] + [(right, row) for row in rows]
    ring += [(col, bottom) for col in cols[::-1]] + [(left, row) for row in rows[::-1]]
    return np.array([image.transform @ place for place in ring])


def _warp_block(
    raster: LabelRaster,
    crosswalk: Crosswalk,
    block: _Block,
    method: str,
    min_labelled_fraction: float,
    counts: Counter[int],
) -> np.ndarray | None:
    """Returns target codes of a block of the image, or None where the raster does not reach it."""
    nodata = crosswalk.target.nodata
    block_codes = None
    for window in source_windows(raster.grid, block.grid, margin=8):
        source = raster.grid.part(window)
        labels, missing = read_window(raster, window)
        codes, unknown = _remap(labels, missing, crosswalk)
        if unknown.any():
            unknown &= _inside(source, block)
            found, pixels = np.unique(labels[unknown], return_counts=True)
            counts.update(dict(zip(found.tolist(), pixels.tolist(), strict=True)))
        positions = partial(_positions, source, block.grid)
        if method == "mode":
            warped = largest_class(
                codes,
                positions,
                nodata=nodata,
                place=block.grid.transform,
                shape=block.grid.shape,
                min_labelled_fraction=min_labelled_fraction,
            )
        else:
            warped = nearest_class(codes, positions, nodata=nodata, shape=block.grid.shape)
        if block_codes is None:
            block_codes = warped
        else:
            np.copyto(block_codes, warped, where=block_codes == nodata)
    return block_codes


def _positions(
    source: RasterGrid, block: RasterGrid, cols: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns columns and rows in a raster's window of places in a block, float64 [places]."""
    x, y = block.transform @ (cols, rows)
    if block.crs != source.crs:
        x, y = (np.array(v) for v in transform(block.crs, source.crs, x.tolist(), y.tolist()))
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


def _inside(source: RasterGrid, block: _Block) -> np.ndarray:
    """Returns the pixels of a raster's window with their centre in a block, bool [height, width].

    Each label pixel lies in one block at most.
    """
    x, y = (np.array(v) for v in transform(block.grid.crs, source.crs, *block.outline.T.tolist()))
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
