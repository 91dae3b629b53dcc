"""Which pixels of a patch are scored, and which patches are resampled together."""

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path

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


def own_regions(entries: Sequence[PatchEntry], grid: PatchGrid) -> list[tuple[slice, slice]]:
    """Returns the rows and columns that each patch is scored on, so that no pixel counts twice.

    Patches share their overlap, and each is scored on its middle, where it has the most context;
    where no other patch follows on a side, up to its edge.
    """
    before, size, stride = grid.patch_overlap // 2, grid.patch_size, grid.stride
    furthest = (size - 1) // stride
    places = {(e.product, e.row_off, e.col_off) for e in entries}

    def taken(entry: PatchEntry, rows: Iterable[int], columns: Iterable[int]) -> bool:
        return any(
            (entry.product, entry.row_off + row * stride, entry.col_off + column * stride) in places
            for row, column in product(rows, columns)
        )

    def part(follows: Callable[[Sequence[int]], bool]) -> slice:
        start = before if follows(range(-furthest, 0)) else 0
        nearest = next((k for k in range(1, furthest + 1) if follows([k])), None)
        return slice(start, size if nearest is None else before + nearest * stride)

    across = range(-furthest, furthest + 1)
    return [
        (
            part(lambda steps, entry=entry: taken(entry, steps, across)),
            part(lambda steps, entry=entry: taken(entry, across, steps)),
        )
        for entry in entries
    ]


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
