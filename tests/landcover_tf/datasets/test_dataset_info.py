import dataclasses
import json

import numpy as np
import pytest
from fakes.small_dataset import dataset_info

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.dataset_info import DatasetInfo, ProductInfo
from landcover_tf.datasets.dataset_shards import ShardInfo, SplitInfo
from landcover_tf.errors import DatasetError, ModelError
from landcover_tf.legend import load_legend
from landcover_tf.model_info import ModelInfo, find_export
from landcover_tf.model_spec import ModelSpec
from landcover_tf.system.files import sha256_of
from landcover_tf.upsampling import Upsampling


def dataset(folder):
    (folder / "train-00000-of-00001.tfrecord").write_bytes(b"abc")
    shard = ShardInfo(
        file="train-00000-of-00001.tfrecord",
        records=2,
        bytes=3,
        sha256=sha256_of(folder / "train-00000-of-00001.tfrecord"),
    )
    return dataset_info(
        BandStatistics.from_pixels(np.array([[1], [5]], np.uint16), ("B02",)),
        {
            "train": SplitInfo(shards=(shard,), class_pixels={10: 7}),
            "val": SplitInfo(shards=()),
        },
        normalizer="reflectance",
        name="d",
        legend=load_legend("landcover9"),
        products=(ProductInfo(id="S2A", path="S2A.SAFE", baseline="05.11"),),
    )


def test_a_saved_dataset_loads_equal(tmp_path):
    info = dataset(tmp_path)
    info.save(tmp_path)
    assert DatasetInfo.load(tmp_path) == info
    assert DatasetInfo.load(tmp_path).data_hash == info.data_hash
    info.verify(tmp_path)


def test_classes_are_counted_in_the_order_of_the_legend(tmp_path):
    train = SplitInfo(shards=dataset(tmp_path).splits["train"].shards, class_pixels={30: 2, 10: 7})
    info = dataclasses.replace(
        dataset(tmp_path), splits={"train": train, "val": SplitInfo(shards=())}
    )
    counts = info.class_counts("train")
    assert counts.dtype == np.int64 and counts.shape == (len(info.legend.codes),)
    assert counts[:3].tolist() == [7, 0, 2] and counts.sum() == 9
    assert train.class_fractions == {10: 7 / 9, 30: 2 / 9}
    with pytest.raises(DatasetError, match="split 'val' of dataset d is empty"):
        info.class_counts("val")


def test_the_usual_range_is_reflectance_and_absent_without_pixels(tmp_path):
    info = dataset(tmp_path)
    values = np.repeat(np.array([1000, 2000, 3000], np.uint16), [10, 80, 10])[:, None]
    known = dataclasses.replace(info, statistics=BandStatistics.from_pixels(values, ("B02",)))
    # 1000 * 1e-4 - 0.1 and 3000 * 1e-4 - 0.1.
    np.testing.assert_allclose(known.usual_range, [[0.0], [0.2]], atol=1e-12)
    # A fifth of the pixels is 1000 away from the mean of 2000: sqrt(0.2) * 1000 * 1e-4.
    np.testing.assert_allclose(known.band_figures(50), [[0.1], [0.2**0.5 * 0.1], [0.1]], atol=1e-12)
    assert dataclasses.replace(info, statistics=BandStatistics.empty(("B02",))).usual_range is None


def test_upsampling_is_kept_and_checked(tmp_path):
    upsampling = Upsampling(resampling="bilinear", sharpening="glp")
    info = dataclasses.replace(dataset(tmp_path), upsampling=upsampling)
    info.save(tmp_path)
    assert DatasetInfo.load(tmp_path).upsampling == upsampling
    path = tmp_path / "dataset.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"upsampling": {"resampling": "x", "sharpening": "none"}}))
    with pytest.raises(DatasetError, match="unknown resampling 'x'"):
        DatasetInfo.load(tmp_path)


def test_missing_and_changed_shards_are_all_named(tmp_path):
    info = dataset(tmp_path)
    shard = tmp_path / "train-00000-of-00001.tfrecord"
    shard.write_bytes(b"abX")
    info.verify(tmp_path, checksums=False)
    with pytest.raises(DatasetError, match=r"train-00000-of-00001\.tfrecord differs from its SHA"):
        info.verify(tmp_path)
    info.verify(tmp_path, splits=[])
    shard.write_bytes(b"ab")
    with pytest.raises(DatasetError, match="has 2 bytes instead of 3"):
        info.verify(tmp_path)
    shard.unlink()
    with pytest.raises(DatasetError, match="is missing; copy or build it again"):
        info.verify(tmp_path)


def test_other_schema_versions_and_rubbish_are_refused(tmp_path):
    info = dataset(tmp_path)
    info.save(tmp_path)
    path = tmp_path / "dataset.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"schema_version": 2}))
    with pytest.raises(DatasetError, match="has schema version 2, this software reads 1"):
        DatasetInfo.load(tmp_path)
    for name in ("bands", "features", "upsampling"):
        path.write_text(json.dumps({k: v for k, v in values.items() if k != name}))
        with pytest.raises(DatasetError, match=f"not a valid dataset description.*'{name}'.*again"):
            DatasetInfo.load(tmp_path)
    path.write_text("{")
    with pytest.raises(DatasetError, match="not a valid dataset description"):
        DatasetInfo.load(tmp_path)
    path.unlink()
    with pytest.raises(DatasetError, match=r"holds no dataset\.json"):
        DatasetInfo.load(tmp_path)


def test_a_folder_that_cannot_be_read_is_an_error_of_one_sentence(tmp_path):
    # As one without permission, which the superuser has for all.
    with pytest.raises(DatasetError, match=r"cannot read n{300}/dataset\.json: File name too long"):
        DatasetInfo.load("n" * 300)
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"file holds no dataset\.json"):
        DatasetInfo.load(tmp_path / "file")
    (tmp_path / "dataset.json").mkdir()
    with pytest.raises(DatasetError, match=r"holds no dataset\.json"):
        DatasetInfo.load(tmp_path)


def test_splits_that_are_absent_or_empty(tmp_path):
    info = dataset(tmp_path)
    with pytest.raises(DatasetError, match="no split 'test'; it has train, val"):
        info.split("test")
    with pytest.raises(DatasetError, match="'val' of dataset d is empty"):
        info.shard_paths(tmp_path, "val")


def test_the_data_hash_follows_the_shards(tmp_path):
    info = dataset(tmp_path)
    shard = dataclasses.replace(info.splits["train"].shards[0], sha256="0")
    changed = dataclasses.replace(info, splits={"train": SplitInfo(shards=(shard,))})
    assert changed.data_hash != info.data_hash


def test_model_spec_and_info_survive_their_files(tmp_path):
    info = dataset(tmp_path)
    spec = ModelSpec(
        encoder="resnet18",
        band_names=("B02",),
        class_codes=info.legend.codes,
        normalizer=info.normalizer,
    )
    spec.save(tmp_path / "model_spec.json")
    assert ModelSpec.load(tmp_path / "model_spec.json") == spec
    model = ModelInfo(
        name="m",
        version=2,
        bands=info.bands,
        dtype="uint16",
        nodata=0,
        resolution_m=10.0,
        legend=info.legend,
        class_codes=info.legend.codes,
        patch_size=256,
        size_multiple=32,
        receptive_field_px=553,
        margin_px=288,
        upsampling=Upsampling(sharpening="hpf"),
    )
    for version in ("2", "10"):
        (tmp_path / "m" / version).mkdir(parents=True)
        model.save(tmp_path / "m" / version)
    assert ModelInfo.load(find_export(tmp_path / "m" / "2")) == model
    # Versions are numbers: 10 is newer than 2.
    assert find_export(tmp_path / "m").name == find_export(tmp_path).name == "10"


def test_a_folder_without_export(tmp_path):
    with pytest.raises(ModelError, match="holds no exported model"):
        find_export(tmp_path)


def test_a_spec_with_a_normalizer_of_other_bands(tmp_path):
    with pytest.raises(ModelError, match="the normalizer is for bands"):
        ModelSpec(
            encoder="resnet18",
            band_names=("B03",),
            class_codes=(10,),
            normalizer=dataset(tmp_path).normalizer,
        )
