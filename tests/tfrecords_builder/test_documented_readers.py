"""The readers that docs/records.md shows give what this package gives."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from landcover_tf.datasets.dataset_info import FORMULAS, DatasetInfo
from landcover_tf.datasets.example_proto import decode_example
from landcover_tf.datasets.tfrecord import read_records
from landcover_tf.validity import ValidityBit
from tfrecords_builder.reading import stored_patches

PAGE = Path(__file__).parents[2] / "docs/records.md"


def run_block(marker):
    """Runs the one Python block with `marker` in this folder and returns its names."""
    (block,) = (
        b for b in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if marker in b
    )
    names = {}
    exec(block, names)
    return names


@pytest.fixture
def train(built, tmp_path, monkeypatch):
    """Makes the dataset `dataset` of the current folder; returns its training patches."""
    (tmp_path / "dataset").symlink_to(built)
    monkeypatch.chdir(tmp_path)
    return list(stored_patches(built, DatasetInfo.load(built), ("train",)))


def assert_read(got, train, built):
    info = DatasetInfo.load(built)
    assert len(got) == len(train)
    for (reflectance, label, usable), stored in zip(got, train, strict=True):
        patch = stored.patch
        expected = patch.image * np.array(info.scale) + np.array(info.offset)
        np.testing.assert_allclose(reflectance, expected, rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(label, patch.label)
        np.testing.assert_array_equal(usable, (patch.validity & info.invalid_bits) == 0)


def test_with_tensorflow(train, built):
    names = run_block("import tensorflow as tf")
    assert_read(list(names["dataset"].as_numpy_iterator()), train, built)


def test_with_numpy(train, built):
    names = run_block("import gzip, json, struct")
    shards = DatasetInfo.load(built).split("train").shards
    got = [names["read"](r) for s in shards for r in names["records"](f"dataset/{s.file}")]
    assert_read(got, train, built)


def test_with_this_package(train, capsys):
    run_block("from landcover_tf.datasets.records import decode")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[0] for line in lines] == [stored.patch.key for stored in train]


def test_the_description_names_what_a_record_holds(built):
    info = DatasetInfo.load(built)
    first = next(iter(read_records(info.shard_paths(built, "train")[0], "none")))
    example = decode_example(first)
    assert sorted(feature.name for feature in info.features) == sorted(example)
    for feature in info.features:
        value = example[feature.name]
        if feature.type == "int64_list":
            assert len(value) == feature.shape[0]
        elif feature.dtype != "utf-8":
            assert len(value) == np.prod(feature.shape) * np.dtype(feature.dtype).itemsize
    assert info.validity_bits == {bit.name.lower(): bit.value for bit in ValidityBit}
    values = json.loads((built / "dataset.json").read_text())
    assert values["formulas"] == FORMULAS
    page = (built / "dataset.html").read_text()
    assert "usable = <code>(validity &amp; invalid_bits) == 0</code>" in page
    assert "32 shadow, 64 snow" in page
    assert "32 × 32 × 4" in page
