"""How often each training record is seen in an epoch, so that rare classes are seen more often."""

import numpy as np
import tensorflow as tf

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.patch_index import class_matrix, split_index
from landcover_tf.errors import ConfigError


def repeat_factors(class_pixels: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the mean number of times that each patch is seen in an epoch.

    Repeat factor sampling of Gupta, Dollár and Girshick (LVIS, CVPR 2019): a class that occurs
    in the share f of all patches gets max(1, sqrt(threshold / f)), a patch the largest factor
    of its classes.

    Args:
        class_pixels: Usable pixels, int [patches, classes].
        threshold: Classes in a smaller share of the patches than this are repeated; 0 repeats
            none.

    Returns:
        float64 [patches], at least 1.

    Raises:
        ConfigError: The threshold is no share.
    """
    if not 0 <= threshold <= 1:
        raise ConfigError(f"oversampling must be in [0, 1], got {threshold}")
    present = class_pixels > 0
    share = present.mean(axis=0) if len(present) else np.ones(present.shape[1])
    of_class = np.sqrt(threshold / np.where(share > 0, share, 1.0)).clip(min=1.0)
    return np.where(present, of_class, 1.0).max(axis=1, initial=1.0)


def training_factors(info: DatasetInfo, folder: str, threshold: float) -> np.ndarray | None:
    """Returns `repeat_factors` of the training records in the order of their shards.

    None when every record is seen once, in which case the index is not read.

    Raises:
        DatasetError: The index is missing or not of these shards.
    """
    if threshold == 0:
        return None
    entries = split_index(folder, "train", info.split("train").shards)
    return repeat_factors(class_matrix(entries, info.legend), threshold)


def times_seen(factors: np.ndarray, offset: tf.Tensor) -> tf.Tensor:
    """Returns how often each record is seen in one epoch.

    Systematic rounding: record i gets floor(c[i] + offset) - floor(c[i-1] + offset) of the
    cumulative sum c, so the mean over offsets is the factor itself and the epoch's total
    never differs by more than one.

    Args:
        factors: float64 [records].
        offset: The epoch's random number in [0, 1), float64 scalar.

    Returns:
        int64 [records].
    """
    edges = np.concatenate([[0.0], np.cumsum(factors)])
    floors = tf.cast(tf.floor(tf.constant(edges) + offset), tf.int64)
    return floors[1:] - floors[:-1]


def rare_classes(info: DatasetInfo) -> tuple[int, ...]:
    """Returns the dense indices of classes with less than half of an even share of the pixels.

    Classes without any training pixel are left out: there is nothing to copy.
    """
    counts = info.class_counts("train")
    limit = counts.sum() / (2 * max(np.count_nonzero(counts), 1))
    return tuple(int(i) for i in np.flatnonzero((counts > 0) & (counts < limit)))
