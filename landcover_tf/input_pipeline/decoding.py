"""Batches of serialised records to reflectance and dense labels, in graph."""

import numpy as np
import tensorflow as tf

from landcover_tf import records
from landcover_tf.dataset_info import DatasetInfo
from landcover_tf.errors import ConfigError
from landcover_tf.grid import PatchGrid
from landcover_tf.input_pipeline.pixels import affine_bands, clear, crop_each, missing_pixels
from landcover_tf.legend import IGNORED

# Reflectance of pixels of exactly 0: far below the unit of any sensor's counts, 1e-4.
BLACK = 1e-6


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


def decode_batch(
    serialized: tf.Tensor, origins: tf.Tensor | None, size: int, info: DatasetInfo
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what the network sees and learns from a batch of records.

    Args:
        serialized: Records, string [batch].
        origins: Row and column of the patch in each record, int32 [batch, 2]; None takes the
            records whole.
        size: Patch height and width in pixels.
        info: The dataset.

    Returns:
        Reflectance, float32 [batch, size, size, bands], 0 in all bands where there is no data and
        nowhere else; dense class index, uint8 [batch, size, size], IGNORED where the label or the
        pixel is unusable.
    """
    patch = records.parse(
        serialized,
        patch_size=info.patch_grid.patch_size,
        bands=len(info.bands),
        dtype=info.dtype,
    )
    stored, label, validity = patch["image"], patch["label"], patch["validity"]
    if origins is not None:
        stored, label, validity = (crop_each(r, origins, size) for r in (stored, label, validity))
    usable = tf.equal(tf.bitwise.bitwise_and(validity, np.uint8(info.invalid_bits)), 0)
    dense = tf.gather(tf.constant(info.legend.index_of_code), tf.cast(label, tf.int32))
    return reflectance(stored, info), tf.where(usable, dense, np.uint8(IGNORED))


def reflectance(stored: tf.Tensor, info: DatasetInfo) -> tf.Tensor:
    """Returns stored values as reflectance.

    Args:
        stored: [batch, size, size, bands] of the dataset's dtype.
        info: The dataset.

    Returns:
        float32 of the same shape, 0 in all bands where all hold the no-data value. Augmentations
        tell by that which pixels are missing, so black pixels have BLACK in its place.
    """
    scaled = affine_bands(
        tf.cast(stored, tf.float32),
        tf.constant(info.scale, tf.float32),
        tf.constant(info.offset, tf.float32),
    )
    missing = missing_pixels(stored, info.nodata)
    black = missing_pixels(scaled) & ~missing
    return clear(clear(scaled, missing), black, BLACK)
