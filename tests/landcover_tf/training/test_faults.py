"""Failures of memory, disk and network, made for real, end in a sentence."""

from dataclasses import replace
from pathlib import Path

import pytest
import tensorflow as tf
from fakes.small_dataset import write_small_dataset

from landcover_tf.errors import ConfigError, DatasetError, OutputError, RunError
from landcover_tf.input_pipeline.dataset import evaluation_dataset
from landcover_tf.system.files import full_disk_told
from landcover_tf.training.faults import explained


def told(data_dir: Path = Path("DATA"), *, workers: int = 1):
    return explained(
        data_dir, splits=("train", "val"), memory_advice="lower --batch-size", workers=workers
    )


def test_exhausted_memory_names_the_flags():
    with pytest.raises(ConfigError, match="out of memory; lower --batch-size"), told():
        tf.zeros([2**30, 2**14])  # 64 TiB.
    with pytest.raises(ConfigError, match="out of memory"), told():
        raise tf.errors.InternalError(None, None, "Autotuning failed: CUDNN_STATUS_ALLOC_FAILED")
    with pytest.raises(ConfigError, match="out of memory"), told():
        raise MemoryError


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_though_tensorflow_calls_it_an_exhausted_resource():
    expected = "cannot write RUN: no space left on device; make room"
    with pytest.raises(OutputError, match=expected), told(), full_disk_told("RUN"):
        tf.io.write_file("/dev/full", "events")


def test_a_damaged_record_is_named(tmp_path):
    info = write_small_dataset(tmp_path)
    shard = info.shard_paths(tmp_path, "train")[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1  # In the fourth of seven records.
    shard.write_bytes(content)
    named = rf"shard {shard}, record 3: corrupted record, its checksum differs; copy or build"
    with pytest.raises(DatasetError, match=named), told(tmp_path):
        list(evaluation_dataset(info, tmp_path, "train", batch_size=1))


def test_lost_shards_and_faults_that_passed_name_the_check(tmp_path):
    info = write_small_dataset(tmp_path)
    check = f"landcover validate {tmp_path}"
    with pytest.raises(DatasetError, match=rf"corrupted record at 5.*{check}"), told(tmp_path):
        raise tf.errors.DataLossError(None, None, "corrupted record at 5")
    (shard,) = info.shard_paths(tmp_path, "val")
    shard.unlink()
    with pytest.raises(DatasetError, match=rf"{shard.name}.*{check}"), told(tmp_path):
        list(evaluation_dataset(info, tmp_path, "val", batch_size=1))


def test_only_shards_that_are_read_are_looked_at_for_a_damaged_record(tmp_path):
    info = write_small_dataset(tmp_path)
    (shard,) = info.shard_paths(tmp_path, "val")
    shard.write_bytes(shard.read_bytes()[:-1])
    replace(info, splits={"train": info.splits["train"], "test": info.splits["val"]}).save(tmp_path)
    check = f"corrupted record at 5.*landcover validate {tmp_path}"
    with pytest.raises(DatasetError, match=check), told(tmp_path):
        raise tf.errors.DataLossError(None, None, "corrupted record at 5")
    info.save(tmp_path)
    shard.unlink()
    with pytest.raises(DatasetError, match=check), told(tmp_path):
        raise tf.errors.DataLossError(None, None, "corrupted record at 5")


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
