"""Samples of pixels come from some patches of a large split and from all of a small one."""

import numpy as np
import pytest
from fakes.small_dataset import write_small_dataset

from landcover_tf.evaluation.predictions import drawn_patches, patches
from landcover_tf.evaluation.regions import labelled_pixels


def images(info, folder, only=None):
    batches = patches(info, folder, "train", batch_size=4, label="", only=only)
    return np.concatenate([image for image, _ in batches])


@pytest.fixture
def dataset(tmp_path):
    # Shards of 6 and of 7 patches.
    return write_small_dataset(tmp_path, train=13), tmp_path


def test_patches_are_drawn_shard_by_shard(dataset):
    info, _ = dataset
    drawn = [drawn_patches(info, "train", seed=seed, most=8).tolist() for seed in range(20)]
    first, second = [*range(6), 6, 7], [0, *range(6, 13)]
    assert 0 < drawn.count(first) == 20 - drawn.count(second) < 20
    assert drawn[3] == drawn_patches(info, "train", seed=3, most=8).tolist()
    assert drawn_patches(info, "train", seed=0, most=13).tolist() == list(range(13))
    assert drawn_patches(info, "train", seed=0).tolist() == list(range(13))


def test_only_the_drawn_patches_are_read(dataset):
    info, folder = dataset
    whole = images(info, folder)
    for only in ([0, 5, 6, 12], [7, 8], list(range(13))):
        np.testing.assert_array_equal(images(info, folder, np.array(only)), whole[only])
    shard = info.splits["train"].shards[0]
    (folder / shard.file).unlink()
    np.testing.assert_array_equal(images(info, folder, np.array([6, 9])), whole[[6, 9]])
    # Every pixel of 32 x 32 is labelled.
    assert labelled_pixels(info, folder, "train") == 13 * 32 * 32
    assert labelled_pixels(info, folder, "train", np.array([6, 9])) == 2 * 32 * 32
