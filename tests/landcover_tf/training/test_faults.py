"""Failures of memory, disk and network, made for real, end in a sentence."""

from pathlib import Path

import pytest
import tensorflow as tf
from fakes.small_dataset import write_small_dataset

from landcover_tf.errors import ConfigError, DatasetError, RunError
from landcover_tf.input_pipeline.dataset import evaluation_dataset
from landcover_tf.training.faults import explained


def told(*, workers: int = 1):
    return explained(Path("DATA"), memory_advice="lower --batch-size", workers=workers)


def test_exhausted_memory_names_the_flags():
    with pytest.raises(ConfigError, match="out of memory; lower --batch-size"), told():
        tf.zeros([2**30, 2**14])  # 64 TiB.
    with pytest.raises(ConfigError, match="out of memory"), told():
        raise tf.errors.InternalError(None, None, "Autotuning failed: CUDNN_STATUS_ALLOC_FAILED")
    with pytest.raises(ConfigError, match="out of memory"), told():
        raise MemoryError


def test_damaged_and_lost_shards_name_the_check(tmp_path):
    info = write_small_dataset(tmp_path)
    (shard,) = info.shard_paths(tmp_path, "val")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    check = r"tfrecords_builder\.validate DATA"
    with pytest.raises(DatasetError, match=rf"corrupted record.*{check}"), told():
        list(evaluation_dataset(info, tmp_path, "val", batch_size=1))
    shard.unlink()
    with pytest.raises(DatasetError, match=rf"{shard.name}.*{check}"), told():
        list(evaluation_dataset(info, tmp_path, "val", batch_size=1))


def test_a_lost_worker_is_told_among_several():
    error = tf.errors.UnavailableError(None, None, "connection refused\nmore")
    lost = r"another worker was lost \(connection refused\)"
    with pytest.raises(RunError, match=lost), told(workers=2):
        raise error
    with pytest.raises(tf.errors.UnavailableError), told():
        raise error


def test_faults_of_ours_stay_what_they_are():
    with pytest.raises(tf.errors.InvalidArgumentError), told():
        tf.reshape(tf.zeros([3]), [2])
