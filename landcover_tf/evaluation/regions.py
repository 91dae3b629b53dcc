"""Which pixels of a patch are scored, and which patches are resampled together."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from landcover_tf.dataset_info import DatasetInfo
from landcover_tf.grid import PatchGrid
from landcover_tf.patch_index import FILE_NAME, PatchEntry, read_index

FEW_GROUPS = 8
"""With fewer groups than this, resampling whole groups says little; squares are taken instead."""
SQUARE_STRIDES = 3
"""Side of such a square in patch strides."""


def split_entries(info: DatasetInfo, folder: Path, split: str) -> list[PatchEntry] | None:
    """Returns the index entries of a split in record order, None for a dataset without index."""
    if not (folder / FILE_NAME).is_file():
        return None
    entries = read_index(folder, split)
    return entries if len(entries) == info.split(split).records else None


def own_region(entry: PatchEntry, grid: PatchGrid) -> tuple[slice, slice]:
    """Returns the rows and columns of a patch that no other patch of the grid is scored on.

    Patches share their overlap; each is scored on its middle, where it has the most context, so
    that every pixel counts once. At the raster's upper and left edge the middle reaches it.
    """
    before = grid.patch_overlap // 2

    def along(offset: int) -> slice:
        return slice(before if offset > 0 else 0, before + grid.stride)

    return along(entry.row_off), along(entry.col_off)


def block_names(
    entries: Sequence[PatchEntry] | None, patches: int, grid: PatchGrid
) -> tuple[list[str], str]:
    """Returns the block of each patch for the bootstrap, and what a block is, for people.

    Blocks are the groups that the split kept whole, with all their images: two dates of one place
    are not independent. If groups are few, each image in them is divided into squares of 3 x 3
    strides; neighbouring squares are not independent, so the intervals are then somewhat too
    narrow.
    """
    if entries is None:
        return [str(i) for i in range(patches)], "patches"
    # Blocks are numbered in each CRS anew.
    groups = [f"{e.crs}/{e.group}" for e in entries]
    if len(set(groups)) >= FEW_GROUPS:
        return groups, "groups"
    side = SQUARE_STRIDES * grid.stride
    return [
        f"{e.product}/{e.group}/{e.row_off // side}/{e.col_off // side}" for e in entries
    ], f"squares of {side} px"


def own_mask(entries: Sequence[PatchEntry] | None, number: int, grid: PatchGrid) -> np.ndarray:
    """Returns True where patch `number` is scored, bool [patch_size, patch_size]."""
    size = grid.patch_size
    if entries is None:
        return np.ones((size, size), bool)
    mask = np.zeros((size, size), bool)
    mask[own_region(entries[number], grid)] = True
    return mask
