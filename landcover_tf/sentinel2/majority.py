"""The class with the largest area in each pixel of a coarser grid, and the one at its centre.

Most pixels lie within one class, which a filter of the finer raster tells. In the others the areas
of the classes are summed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rasterio.transform import Affine
from scipy.ndimage import maximum_filter, minimum_filter

Positions = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From columns and rows of a grid to those of a finer raster; whole numbers are corners."""

_STEP = 16
"""Pixels between exact positions; 16 of 10 m bend by half a millimetre."""
_BEND_PX = 0.01
"""Most that a position between exact ones may be off."""
_PIXELS_AT_ONCE = 2**16
_PARTS = 10**6
"""Areas are told apart to this part of a pixel, so that rounding breaks no tie."""


def largest_class(
    codes: np.ndarray,
    positions: Positions,
    *,
    nodata: int,
    place: Affine,
    shape: tuple[int, int],
    min_labelled_fraction: float,
) -> np.ndarray:
    """Returns the class that covers most of each pixel of a grid, uint8 [height, width].

    `mode` of GDAL 3.10 counts every label that a pixel touches in full, which moves labels of 8 m
    by a quarter of a pixel to the south-east; its averages of one mask per class take four times
    as long. Of a pixel that the raster covers in part, that part counts.

    Args:
        codes: Codes of the finer raster, uint8 [rows, cols].
        positions: From the grid to the raster.
        nodata: The code of no class.
        place: Transform of the grid.
        shape: Height and width of the grid.
        min_labelled_fraction: Least part of a pixel with a class for it to get one.
    """
    lattice = _lattice(positions, shape)
    size = tuple(2 * math.ceil(side.max() / 2) + 1 for side in (lattice.heights, lattice.widths))
    lowest = minimum_filter(codes, size, mode="nearest")
    uniform = lowest == maximum_filter(codes, size, mode="nearest")
    present = np.flatnonzero(np.bincount(codes.ravel()))
    found = np.full(shape, nodata, np.uint8)
    rows_at_once = max(1, _PIXELS_AT_ONCE // shape[1])
    for start in range(0, shape[0], rows_at_once):
        rows = np.arange(start, min(start + rows_at_once, shape[0]))
        x, y = lattice.centres(rows, shape[1])
        inside, at = _pixels_at(x, y, codes.shape)
        known = inside & uniform.take(at)
        part = found[rows[0] : rows[-1] + 1]
        np.copyto(part, codes.take(at), where=known)
        mixed = np.nonzero(~known)
        row, col = rows[mixed[0]], mixed[1]
        boxes = (x[mixed], y[mixed], *lattice.sides(row, col))
        areas = _areas(codes, present, boxes)
        odd = _chessboard(place, row, col)
        part[mixed] = _largest(areas, present, nodata, odd, min_labelled_fraction)
    return found


def nearest_class(
    codes: np.ndarray, positions: Positions, *, nodata: int, shape: tuple[int, int]
) -> np.ndarray:
    """Returns the class at the centre of each pixel of a grid, uint8 [height, width].

    GDAL's warp may be off by an eighth of a pixel of the raster: rasterio 1.4 passes no tolerance.

    Args:
        codes: Codes of the raster, uint8 [rows, cols].
        positions: From the grid to the raster.
        nodata: The code of no class.
        shape: Height and width of the grid.
    """
    lattice = _lattice(positions, shape)
    found = np.full(shape, nodata, np.uint8)
    rows_at_once = max(1, _PIXELS_AT_ONCE // shape[1])
    for start in range(0, shape[0], rows_at_once):
        rows = np.arange(start, min(start + rows_at_once, shape[0]))
        # Of a centre on a border, the pixel to the right and below, however it was rounded.
        x, y = (place + 1e-6 for place in lattice.centres(rows, shape[1]))
        inside, at = _pixels_at(x, y, codes.shape)
        np.copyto(found[rows[0] : rows[-1] + 1], codes.take(at), where=inside)
    return found


def _pixels_at(
    x: np.ndarray, y: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which places lie in a raster, and the number of the pixel there; 0 for others."""
    inside = (x >= 0) & (y >= 0) & (x < shape[1]) & (y < shape[0])
    at = np.where(inside, y, 0).astype(np.intp) * shape[1]
    at += np.where(inside, x, 0).astype(np.intp)
    return inside, at


@dataclass(frozen=True, kw_only=True, eq=False)
class _Lattice:
    """Positions of every so many pixels' corners in the raster, between which others are linear."""

    step: int
    xs: np.ndarray
    """Columns, float64 [rows, cols]; NaN where there is none."""
    ys: np.ndarray
    """Rows, likewise."""
    widths: np.ndarray
    """Raster columns that a pixel reaches over, float64 [rows - 1, cols - 1]."""
    heights: np.ndarray

    def centres(self, rows: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns columns and rows of pixels' centres, float64 [rows, width]; far away for none."""
        row, down = np.divmod((rows + 0.5) / self.step, 1)
        col, right = np.divmod((np.arange(width) + 0.5) / self.step, 1)
        row, col, down = row.astype(int), col.astype(int), down[:, None]
        found = []
        for nodes in (self.xs, self.ys):
            line = nodes[row] * (1 - down) + nodes[row + 1] * down
            start = line[:, col]
            found.append(np.nan_to_num(start + (line[:, col + 1] - start) * right, nan=-1e9))
        return found[0], found[1]

    def sides(self, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns `widths` and `heights` of pixels."""
        at = rows // self.step, cols // self.step
        return self.widths[at], self.heights[at]


def _lattice(positions: Positions, shape: tuple[int, int]) -> _Lattice:
    """Returns positions as far apart as their bend allows."""
    step = _STEP
    while True:
        rows, cols = (np.arange(-(-length // step) + 1) * step for length in shape)
        xs, ys = _nodes(positions, rows, cols)
        exact = _nodes(positions, rows[:-1:4] + step / 2, cols[:-1:4] + step / 2)
        middles = [(v[:-1, :-1] + v[1:, 1:])[::4, ::4] / 2 for v in (xs, ys)]
        # What the raster's projection cannot express has no bend.
        bend = np.nan_to_num(np.abs(np.subtract(middles, exact))).max()
        if step == 1 or bend <= _BEND_PX:
            break
        step //= 2
    sides = [
        np.maximum(np.abs(np.diff(v, axis=0)[:, :-1]), np.abs(np.diff(v, axis=1)[:-1])) / step
        for v in (xs, ys)
    ]
    widths, heights = (np.nan_to_num(side, nan=0.0) for side in sides)
    return _Lattice(step=step, xs=xs, ys=ys, widths=widths, heights=heights)


def _nodes(
    positions: Positions, rows: np.ndarray, cols: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    col, row = np.meshgrid(cols, rows)
    x, y = (v.reshape(col.shape) for v in positions(col.ravel(), row.ravel()))
    known = np.isfinite(x) & np.isfinite(y)
    return np.where(known, x, np.nan), np.where(known, y, np.nan)


def _areas(codes: np.ndarray, present: np.ndarray, boxes: tuple[np.ndarray, ...]) -> np.ndarray:
    """Returns the area of each of the codes in boxes, in pixels of the raster, float64 [n, boxes].

    Args:
        codes: The raster, uint8 [rows, cols].
        present: Its codes, ascending [n].
        boxes: Column and row of the centres, widths and heights, each float64 [boxes].
    """
    x, y, width, height = boxes
    areas = np.zeros(len(present) * len(x))
    of_code = np.zeros(256, np.intp)
    of_code[present] = np.arange(len(present)) * len(x)
    box = np.arange(len(x))
    cols, rows = (
        _spans(centre, side, length)
        for centre, side, length in ((x, width, codes.shape[1]), (y, height, codes.shape[0]))
    )
    for row, tall in ((row * codes.shape[1], tall) for row, tall in rows):
        for col, wide in cols:
            # No box occurs twice in one turn, so nothing is lost in adding.
            areas[of_code[codes.take(row + col)] + box] += tall * wide
    return areas.reshape(len(present), len(x))


def _spans(
    centre: np.ndarray, side: np.ndarray, length: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the pixels that intervals touch along an axis of a raster, and how much of each.

    Those outside the raster are some pixel of it with a length of 0.
    """
    low, high = centre - side / 2, centre + side / 2
    first = np.floor(low).astype(np.intp)
    spans = []
    for number in range(int((np.ceil(high) - first).max(initial=0))):
        pixel = first + number
        part = np.minimum(high, pixel + 1) - np.maximum(low, pixel)
        inside = (pixel >= 0) & (pixel < length)
        spans.append((np.where(inside, pixel, 0), np.where(inside, np.maximum(part, 0), 0.0)))
    return spans


def _largest(
    areas: np.ndarray, present: np.ndarray, nodata: int, odd: np.ndarray, least: float
) -> np.ndarray:
    """Returns the class of the largest area, uint8 [pixels]; `nodata` below the least share."""
    scale = _PARTS / np.maximum(areas.sum(axis=0), 1e-9)
    found = np.full(areas.shape[1], nodata, np.uint8)
    best, labelled = np.zeros(areas.shape[1]), np.zeros(areas.shape[1])
    for code, area in zip(present, areas, strict=True):
        if code == nodata:
            continue
        share = np.rint(area * scale)
        labelled += share
        # Half of the ties to either class: all to one would enlarge it or move borders.
        larger = (share > best) | ((share == best) & odd & (share > 0))
        np.copyto(best, share, where=larger)
        found[larger] = code
    found[labelled < least * _PARTS - len(present)] = nodata
    return found


def _chessboard(place: Affine, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Returns which pixels are every other one, bool [pixels], the same in any window."""
    # Pixels from the CRS's origin; the map may be turned. Origins of grids lie on whole or half
    # pixels, and the quarter keeps rounding away from both.
    to_pixels = ~Affine(place.a, place.b, 0, place.d, place.e, 0)
    first = sum(math.floor(way + 0.25) for way in to_pixels @ (place.c, place.f))
    return np.asarray((rows + cols + first) % 2 == 1)
