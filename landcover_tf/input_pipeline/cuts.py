"""Smaller patches cut from the patches of a dataset, in training and in its checks."""

import numpy as np

from landcover_tf.errors import ConfigError
from landcover_tf.grid import PatchGrid


def cut_origins(
    stored: PatchGrid, patch_size: int | None, patch_overlap: int | None
) -> tuple[int, np.ndarray]:
    """Returns the patch size and where in each stored record the patches begin.

    Args:
        stored: The grid that the records were cut on.
        patch_size: Wanted height and width in pixels; None or the stored size changes nothing.
        patch_overlap: Wanted overlap of neighbours in pixels; None is the stored overlap for
            whole records and no overlap for smaller patches.

    Returns:
        The size in pixels and the (row, column) of each patch, int32 [cuts, 2]. The last patch
        of a row or column is moved back to end with the record, so every pixel is seen and
        nothing is padded.

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
    starts = [
        min(i * grid.stride, stored.patch_size - size) for i in range(grid.count(stored.patch_size))
    ]
    return size, np.array([(row, col) for row in starts for col in starts], np.int32)
