"""The index of a dataset lists the records of its shards, or is refused."""

import pytest
from fakes.small_dataset import write_small_dataset

from landcover_tf.datasets.patch_index import split_index
from landcover_tf.errors import DatasetError


def test_each_record_has_its_entry(tmp_path):
    info = write_small_dataset(tmp_path, train=5)
    entries = split_index(tmp_path, "train", info.split("train").shards)
    # Shards of two and of three patches.
    assert [entry.position for entry in entries] == [0, 1, 0, 1, 2]
    assert [entry.key for entry in entries] == [f"patch-{number}" for number in range(5)]


@pytest.mark.parametrize("order", [[1, 2, 3, 4], [1, 0, 2, 3, 4], [0, 1, 2, 3, 4, 4]])
def test_other_records_are_refused(tmp_path, order):
    info = write_small_dataset(tmp_path, train=5)
    path = tmp_path / "patches.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("".join(lines[number] + "\n" for number in order))
    with pytest.raises(DatasetError, match=f"lists {len(order)} patches of split train, which"):
        split_index(tmp_path, "train", info.split("train").shards)


def test_a_missing_index_is_refused(tmp_path):
    info = write_small_dataset(tmp_path)
    (tmp_path / "patches.jsonl").unlink()
    with pytest.raises(DatasetError, match=r"cannot read .*patches\.jsonl: No such file .* build"):
        split_index(tmp_path, "train", info.split("train").shards)
