"""The builder as a program, on small real files."""

import json
import shlex
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from builder_inputs import (
    arguments,
    contents,
    described,
    label_of,
    rewrite,
    write_pairs,
    write_raster,
)

from landcover_tf.configs import cli
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.patch_index import class_matrix, read_index
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.preflight import check
from tfrecords_builder.__main__ import main
from tfrecords_builder.reading import stored_patches


@pytest.fixture(scope="module")
def patches(built):
    return list(stored_patches(built, DatasetInfo.load(built)))


def test_layout_and_description(built):
    info = DatasetInfo.load(built)
    info.verify(built)
    assert info.band_names == ("B02", "B03", "B04", "B08")
    assert info.scale == pytest.approx((1e-4,) * 4)
    assert info.resolution_m == 10
    assert (info.dtype, info.nodata) == ("uint16", 0)
    names = [shard.file for shard in info.split("train").shards]
    total = len(names)
    assert total > 1
    assert names == [f"train-{n:05d}-of-{total:05d}.tfrecord" for n in range(total)]
    counts = [shard.records for shard in info.split("train").shards]
    assert max(counts) - min(counts) <= 1
    listed = {s.file for split in info.splits.values() for s in split.shards}
    others = {"config.json", "dataset.json", "dataset.html", "dropped.jsonl", "patches.jsonl"}
    assert {path.name for path in built.iterdir()} == listed | others


def test_records_are_the_windows_of_the_rasters(pairs, patches):
    for stored in patches:
        patch, window = stored.patch, stored.patch.window
        rows, cols = window.clip(200, 200).slices
        with rasterio.open(pairs / "images" / f"{patch.product}.tif") as raster:
            image = raster.read()[:, rows, cols].transpose(1, 2, 0)
            expected = rasterio.windows.transform(
                rasterio.windows.Window(window.col_off, window.row_off, 32, 32), raster.transform
            )
        with rasterio.open(pairs / "labels" / f"{patch.product}.tif") as raster:
            label = raster.read(1)[rows, cols]
        height, width = label.shape
        np.testing.assert_array_equal(patch.image[:height, :width], image)
        np.testing.assert_array_equal(patch.label[:height, :width], label)
        assert (patch.validity[:height, :width] == (image == 0).all(axis=-1)).all()
        assert (patch.validity[height:] == 1).all()
        assert (patch.image[:, width:] == 0).all()
        assert patch.transform == pytest.approx(tuple(expected)[:6])
        assert patch.crs == "EPSG:32633"


def test_statistics_count_each_training_pixel_once(pairs, built, patches):
    seen = {name: np.zeros((200, 200), bool) for name in ("s0", "s1", "s2")}
    for stored in patches:
        if stored.split == "train":
            seen[stored.patch.product][stored.patch.window.clip(200, 200).slices] = True
    pixels, labels = [], []
    for name, chosen in seen.items():
        with rasterio.open(pairs / "images" / f"{name}.tif") as raster:
            image = raster.read().transpose(1, 2, 0)
        with rasterio.open(pairs / "labels" / f"{name}.tif") as raster:
            label = raster.read(1)
        chosen &= (image != 0).all(axis=-1)
        pixels.append(image[chosen])
        labels.append(label[chosen])
    pixels = np.concatenate(pixels).astype(float)
    info = DatasetInfo.load(built)
    assert info.statistics.count == len(pixels)
    np.testing.assert_allclose(info.statistics.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(info.statistics.std, pixels.std(axis=0), rtol=1e-9)
    codes, counts = np.unique(np.concatenate(labels), return_counts=True)
    assert dict(info.splits["train"].class_pixels) == dict(
        zip(codes.tolist(), counts.tolist(), strict=True)
    )


def test_unlabelled_pixels_are_no_class(tmp_path):
    data = write_pairs(tmp_path / "data", scenes=1)
    rewrite(data / "labels" / "s0.tif", lambda v: np.where(np.arange(200) < 70, 0, v).astype("u1"))
    assert main(arguments(data, tmp_path / "o")) == 0
    info = DatasetInfo.load(tmp_path / "o")
    for name, split in described(tmp_path / "o")["splits"].items():
        seen = np.zeros((200, 200), np.uint8)
        for stored in stored_patches(tmp_path / "o", info, (name,)):
            inside = stored.patch.window.clip(200, 200)
            usable = np.where(stored.patch.validity == 0, stored.patch.label, 0)
            seen[inside.slices] = usable[: inside.height, : inside.width]
        codes, counts = np.unique(seen[seen > 0], return_counts=True)
        assert split["class_pixels"] == dict(
            zip(map(str, codes.tolist()), counts.tolist(), strict=True)
        )


def test_the_index_describes_every_record_in_order(built, patches):
    info, entries = DatasetInfo.load(built), read_index(built)
    assert [(e.key, e.split, e.shard, e.position) for e in entries] == [
        (s.patch.key, s.split, s.shard, s.position) for s in patches
    ]
    usable = [np.where(s.patch.validity == 0, s.patch.label, 0) for s in patches]
    expected = [[(label == code).sum() for code in info.legend.codes] for label in usable]
    np.testing.assert_array_equal(class_matrix(entries, info.legend), expected)


def test_dropped_patches_are_listed_with_reasons(built):
    lines = [json.loads(line) for line in (built / "dropped.jsonl").read_text().splitlines()]
    counts = DatasetInfo.load(built).build_config["dropped_patches"]
    assert sum(counts.values()) == len(lines) > 0
    records = sum(split.records for split in DatasetInfo.load(built).splits.values())
    assert len(lines) + records == 3 * 8 * 8  # (200 - 8) / 24 = 8 windows a side.


def test_two_processes_and_another_file_order_give_the_same_bytes(pairs, built, tmp_path):
    rows = [f"{pairs}/images/s{i}.tif,{pairs}/labels/s{i}.tif" for i in (2, 0, 1)]
    listed = tmp_path / "listed"
    listed.mkdir()
    (listed / "pairs.csv").write_text("\n".join(["image,label", *rows]) + "\n")
    assert main(arguments(listed, tmp_path / "dataset", "--jobs", 2)) == 0
    ours, theirs = contents(tmp_path / "dataset"), contents(built)
    shards = [name for name in theirs if name.endswith(".tfrecord")]
    assert {name: ours[name] for name in shards} == {name: theirs[name] for name in shards}
    assert ours["patches.jsonl"] == theirs["patches.jsonl"]


def test_a_scene_cut_in_bands_gives_the_same_bytes(pairs, built, tmp_path, monkeypatch):
    # 200 x 20 pixels: less than the rows of one patch, so every row of patches is a job.
    monkeypatch.setattr("tfrecords_builder.cutting.BAND_PX", 4000)
    assert main(arguments(pairs, tmp_path / "o")) == 0
    assert described(tmp_path / "o") == described(built)
    assert contents(tmp_path / "o").keys() == contents(built).keys()


def test_the_seed_changes_order_and_the_config_repeats_the_build(pairs, built, tmp_path):
    assert main(["--config", str(built / "config.json"), "--output-dir", str(tmp_path / "a")]) == 0
    assert contents(tmp_path / "a").keys() == contents(built).keys()
    assert described(tmp_path / "a") == described(built)
    assert main(arguments(pairs, tmp_path / "b", "--seed", 1)) == 0
    assert DatasetInfo.load(tmp_path / "b").data_hash != DatasetInfo.load(built).data_hash


def test_gzip_holds_the_same_records_in_less_space(pairs, built, patches, tmp_path):
    assert main(arguments(pairs, tmp_path / "z", "--compression", "gzip")) == 0
    info = DatasetInfo.load(tmp_path / "z")
    info.verify(tmp_path / "z")
    zipped = list(stored_patches(tmp_path / "z", info))
    assert [s.patch.key for s in zipped] == [s.patch.key for s in patches]
    for ours, theirs in zip(zipped, patches, strict=True):
        np.testing.assert_array_equal(ours.patch.image, theirs.patch.image)
    plain = DatasetInfo.load(built)
    assert sum(s.bytes for s in info.split("train").shards) < 0.8 * sum(
        s.bytes for s in plain.split("train").shards
    )


def test_images_smaller_than_a_patch_without_crs(tmp_path, capsys):
    random = np.random.default_rng(0)
    rows = ["image,label,group"]
    for number in range(6):
        write_raster(
            tmp_path / f"i{number}.tif", random.integers(-50, 3000, (3, 21, 17)).astype(np.int16)
        )
        write_raster(tmp_path / f"l{number}.tif", np.full((21, 17), 60, np.uint8))
        rows.append(f"i{number}.tif,l{number}.tif,{number // 2}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    flags = ["--split", "group", "--scale", "1e-4", "--bands", "red", "qa", "--band-indexes"]
    assert main([*arguments(tmp_path, tmp_path / "o", *flags), "1", "3"]) == 0
    assert "6 images have no CRS, so the gap between them is unknown" in capsys.readouterr().out
    info = DatasetInfo.load(tmp_path / "o")
    assert (info.dtype, info.nodata, info.resolution_m) == ("int16", -32768, None)
    assert info.band_names == ("red", "qa")
    assert {name: split.records for name, split in info.splits.items()} == {
        "train": 2,
        "val": 2,
        "test": 2,
    }
    for stored in stored_patches(tmp_path / "o", info):
        has_data = stored.patch.validity == 0
        assert has_data[:21, :17].all()
        assert has_data.sum() == 21 * 17
        assert (stored.patch.image[~has_data] == -32768).all()
        assert stored.patch.crs == ""


def test_black_pixels_of_images_without_nodata_value_are_told_and_kept_on_request(tmp_path, capsys):
    data = write_pairs(tmp_path / "data", scenes=2)
    for number in range(2):
        with rasterio.open(data / "labels" / f"s{number}.tif") as raster:
            label, grid = raster.read(1), {"crs": raster.crs, "transform": raster.transform}
        # Class 10 is black, and one pixel in four of class 20 as bright as 8 bits go.
        gray = np.where(label == 10, 0, 100 + label)
        gray[::2, ::2] = np.where(label == 20, 255, gray)[::2, ::2]
        image = data / "images" / f"s{number}.tif"
        write_raster(image, gray.astype(np.uint8), descriptions=("gray",), **grid)
    flags = ("--scale", 1 / 255)
    assert main(arguments(data, tmp_path / "a", *flags)) == 0
    said = capsys.readouterr().out
    command = f"next: landcover train --data-dir {tmp_path / 'a'} --output-dir run"
    assert said.endswith(f"{command} --patch-size 32 --batch-size 5\n")  # A tenth of 56 patches.
    share = np.mean([(label_of(data, n) == 10).mean() for n in range(2)])
    assert (
        f"2 images declare no no-data value, so 0 is taken for it; {share:.2%} of their pixels "
        "have no data, masked ones included; --nodata none keeps those of that value" in said
    )
    assert "10" not in described(tmp_path / "a")["splits"]["train"]["class_pixels"]
    assert main(arguments(data, tmp_path / "b", *flags, "--nodata", "none")) == 0
    assert "no-data value" not in capsys.readouterr().out
    info = DatasetInfo.load(tmp_path / "b")
    assert info.nodata == 255
    for stored in stored_patches(tmp_path / "b", info):
        patch, inside = stored.patch, stored.patch.window.clip(200, 200)
        here = slice(0, inside.height), slice(0, inside.width)
        assert (patch.validity[here] == 0).all()
        label = label_of(data, int(patch.product[1:]))[inside.slices]
        gray = patch.image[..., 0][here]
        assert set(np.unique(gray[label == 20])) <= {120, 254}
        assert (gray[label == 10] == 0).all()
        assert ((patch.image[..., 0] == 255) == (patch.validity == 1)).all()


@pytest.mark.parametrize(
    ("stored", "size", "trained"),
    [
        # A tenth of some fifty patches, of one cut each.
        (40, 200, ["--patch-size", "32", "--batch-size", "5"]),
        # 2 of 4 patches.
        (64, 128, ["--patch-size", "64", "--batch-size", "2"]),
        # 2 of 4, with 4 cuts each.
        (512, 1024, ["--batch-size", "2"]),
        (24, 200, None),
    ],
)
def test_the_next_command_trains_on_patches_that_the_dataset_has(
    tmp_path, capsys, stored, size, trained
):
    data = write_pairs(tmp_path / "data", scenes=3 if size == 200 else 1, size=size)
    flags = ("--patch-size", stored, "--patch-overlap", 0, "--gap-px", 0)
    if size != 200:
        flags = (*flags, "--split", "random", "--i-know-it-leaks")
    assert main(arguments(data, tmp_path / "o", *flags)) == 0
    said = shlex.split(capsys.readouterr().out.splitlines()[-1])
    if trained is None:
        assert said[0] == "dataset"
    else:
        command = ["next:", "landcover", "train", "--data-dir", str(tmp_path / "o")]
        assert said == [*command, "--output-dir", "run", *trained]
        config = cli.parse(TrainConfig, said[3:], prog="train")
        check(replace(config, output_dir=tmp_path / "run"))


@pytest.mark.parametrize("nodata", [np.nan, np.inf])
def test_float_rasters_with_nan(tmp_path, nodata):
    write_pairs(tmp_path, scenes=1)
    with rasterio.open(tmp_path / "images" / "s0.tif") as raster:
        values, profile = raster.read().astype(np.float32) * 1e-4, raster.profile
    values[:, :20, :30] = nodata
    profile.update(dtype="float32", nodata=nodata)
    with rasterio.open(tmp_path / "images" / "s0.tif", "w", **profile) as raster:
        raster.write(values)
        raster.descriptions = ("B02", "B03", "B04", "B08")
    assert main(arguments(tmp_path, tmp_path / "o", "--normalizer", "standardize")) == 0
    info = DatasetInfo.load(tmp_path / "o")
    assert (info.dtype, info.nodata) == ("float32", -9999)
    for stored in stored_patches(tmp_path / "o", info):
        assert np.isfinite(stored.patch.image).all()
        assert ((stored.patch.image == -9999).all(axis=-1) == (stored.patch.validity == 1)).all()
    assert 0.1 < info.statistics.mean[0] < 0.3
