"""Smaller patches cut from the patches of a dataset, in training and in its checks."""

import numpy as np

from landcover_tf.errors import ConfigError
from landcover_tf.grid import PatchGrid


def cut_origins(
    stored: PatchGrid,
    patch_size: int | None,
    patch_overlap: int | None,
    *,
    every_pixel: bool = True,
) -> tuple[int, np.ndarray]:
    """Returns the patch size and where in each stored record the patches begin.

    Args:
        stored: The grid that the records were cut on.
        patch_size: Wanted height and width in pixels; None or the stored size changes nothing.
        patch_overlap: Wanted overlap of neighbours in pixels; None is the stored overlap for
            whole records and no overlap for smaller patches.
        every_pixel: Keep a last patch that shows less than half a stride of new pixels. Without
            it the others are centred, and `free_shift` tells how far they may be moved.

    Returns:
        The size in pixels and the (row, column) of each patch, int32 [cuts, 2]. Nothing is
        padded: the last patch of a row or column is moved back to end with the record.

    Raises:
        ConfigError: More is wanted than the records hold.
    """
    size = stored.patch_size if patch_size is None else patch_size
    whole = size == stored.patch_size
    overlap = (stored.patch_overlap if whole else 0) if patch_overlap is None else patch_overlap
    try:
        grid = PatchGrid(patch_size=size, patch_overlap=overlap)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if size > stored.patch_size or (whole and overlap > stored.patch_overlap):
        raise ConfigError(
            f"patches of {size} px with {overlap} px overlap were asked for, the dataset holds "
            f"{stored.patch_size} px with {stored.patch_overlap} px; ask for at most that or "
            "build the dataset again"
        )
    fitting, rest = divmod(stored.patch_size - size, grid.stride)
    starts = [i * grid.stride for i in range(fitting + 1)]
    if 2 * rest >= grid.stride or (rest and every_pixel):
        starts.append(stored.patch_size - size)
    else:
        starts = [start + rest // 2 for start in starts]
    return size, np.array([(row, col) for row in starts for col in starts], np.int32)


def free_shift(stored: PatchGrid, size: int, origins: np.ndarray) -> tuple[int, int]:
    """Returns the least and the greatest shift in pixels that keep all patches in their record.

    Args:
        stored: The grid that the records were cut on.
        size: Patch height and width in pixels.
        origins: What `cut_origins` gives.
    """
    return -int(origins.min()), stored.patch_size - size - int(origins.max())
