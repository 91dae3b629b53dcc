"""Which pixels of a patch are scored, and which patches are resampled together."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import product
from pathlib import Path

import numpy as np

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.patch_index import PatchEntry, class_matrix, split_index
from landcover_tf.grid import PatchGrid

FEW_GROUPS = 8
"""With fewer groups than this, resampling whole groups says little; squares are taken instead."""
SQUARE_STRIDES = 3
"""Side of such a square in patch strides."""


def labelled_pixels(
    info: DatasetInfo, folder: Path, split: str, only: np.ndarray | None = None
) -> int:
    """Returns the usable, labelled pixels of a split's patches, those of overlaps in each.

    Args:
        info: The dataset.
        folder: Where its index is.
        split: For example `val`.
        only: Numbers of the patches to count; None counts all.

    Raises:
        DatasetError: The index is missing or not of these shards.
    """
    entries = split_index(folder, split, info.split(split).shards)
    if only is not None:
        entries = [entries[number] for number in only]
    return int(class_matrix(entries, info.legend).sum())


def own_regions(entries: Sequence[PatchEntry], patch_size: int) -> Iterator[np.ndarray]:
    """Yields the pixels that each patch is scored on, so that every pixel counts exactly once.

    Patches of a raster share their overlaps. Of those that show a pixel it belongs to the one
    with the nearest centre, where it has the most context; of equally near ones to the lower, then
    the right one.

    Args:
        entries: Patches in the order of the records.
        patch_size: Patch height and width in pixels.

    Yields:
        bool [patch_size, patch_size], True where the patch is scored; not to be written to.
    """
    cells: dict[tuple[str, int, int], list[tuple[int, PatchEntry]]] = defaultdict(list)
    for number, entry in enumerate(entries):
        place = entry.row_off // patch_size, entry.col_off // patch_size
        cells[entry.raster, *place].append((number, entry))
    # The offsets of the neighbours decide the region, and a grid has few kinds of neighbourhoods.
    region = lru_cache(maxsize=32)(partial(_region, patch_size))
    for number, entry in enumerate(entries):
        row, col = entry.row_off // patch_size, entry.col_off // patch_size
        offsets = (
            (other.row_off - entry.row_off, other.col_off - entry.col_off)
            for near in product(range(row - 1, row + 2), range(col - 1, col + 2))
            for other_number, other in cells.get((entry.raster, *near), ())
            # Of two patches at one place the first is scored.
            if other_number < number
            or (other.row_off, other.col_off) != (entry.row_off, entry.col_off)
        )
        yield region(frozenset(d for d in offsets if max(map(abs, d)) < patch_size))


def _region(patch_size: int, offsets: frozenset[tuple[int, int]]) -> np.ndarray:
    """Returns where a patch is nearer than those at these offsets that show the pixel too."""
    # Twice the way from the patch's centre, because that may lie between two pixels.
    way = 2 * np.arange(patch_size) - (patch_size - 1)
    distance = way[:, None] ** 2 + way**2
    own = np.ones((patch_size, patch_size), bool)
    for rows, cols in sorted(offsets, key=lambda d: d[0] ** 2 + d[1] ** 2):
        square = rows**2 + cols**2
        # Further patches take nothing: their halfway line passes all pixels that are left.
        if square > distance[own].max(initial=-1):
            break
        shared = tuple(slice(max(d, 0), patch_size + min(d, 0)) for d in (rows, cols))
        # |p| < |p - d| is 2 p d < |d|^2, here with 2 p in `way`.
        nearer = way[shared[0], None] * rows + way[shared[1]] * cols - square
        own[shared] &= nearer <= 0 if (rows, cols) < (0, 0) else nearer < 0
    return own


def block_names(entries: Sequence[PatchEntry], grid: PatchGrid) -> tuple[list[str], str]:
    """Returns the block of each patch for the bootstrap, and what a block is, for people.

    Blocks are the groups that the split kept whole, with all their images: two dates of one place
    are not independent. If groups are few, or hold images of the same place, the ground is divided
    into squares of 3 x 3 strides instead, each with the patches of all images; neighbouring squares
    are not independent, so the intervals are then somewhat too narrow. Of rasters without a CRS
    nobody knows whether they share ground: each has squares of its own. Nor is the ground that two
    CRS share known as such.

    Args:
        entries: Patches in the order of the records.
        grid: How they were cut.
    """
    # Blocks are numbered in each CRS anew.
    groups = [f"{e.crs}/{e.group}" for e in entries]
    if len(set(groups)) >= FEW_GROUPS and not _share_places(entries):
        return groups, "groups"
    side_px = SQUARE_STRIDES * grid.stride
    return _squares(entries, side_px), f"squares of {side_px} px"


def _share_places(entries: Sequence[PatchEntry]) -> bool:
    """Returns whether patches of one place belong to several groups, as dates that are scenes."""
    group_of: dict[tuple[str, float, float], str] = {}
    return any(
        group_of.setdefault((e.crs, round(e.x, 6), round(e.y, 6)), e.group) != e.group
        for e in entries
        if e.crs
    )


def _squares(entries: Sequence[PatchEntry], side_px: int) -> list[str]:
    """Returns the square of each patch's centre, counted from the north-west of each CRS."""
    corner: dict[str, tuple[float, float]] = {}
    pixel: dict[str, float] = {}
    first: dict[str, PatchEntry] = {}
    for e in entries:
        west, north = corner.get(e.crs, (e.x, e.y))
        corner[e.crs] = min(west, e.x), max(north, e.y)
        start = first.setdefault(e.raster, e)
        way_px = math.hypot(e.row_off - start.row_off, e.col_off - start.col_off)
        if way_px and e.crs not in pixel:
            pixel[e.crs] = math.hypot(e.x - start.x, e.y - start.y) / way_px

    def square(e: PatchEntry) -> str:
        if not e.crs:
            return f"{e.raster}/{e.group}/{e.row_off // side_px}/{e.col_off // side_px}"
        west, north = corner[e.crs]
        ways = north - e.y, e.x - west
        if not pixel.get(e.crs):  # Images of one patch each: what shares its centre.
            return f"{e.crs}/{ways[0]:.6f}/{ways[1]:.6f}"
        # A thousandth of a square lets no centre on a border fall to the rounding.
        row, col = (int(way / (side_px * pixel[e.crs]) + 1e-3) for way in ways)
        return f"{e.crs}/{row}/{col}"

    return [square(e) for e in entries]
