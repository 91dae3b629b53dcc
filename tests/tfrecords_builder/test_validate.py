import json
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from builder_inputs import arguments, write_pairs
from fakes.small_dataset import write_shard
from rasterio.transform import from_origin

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.patch_index import read_index
from landcover_tf.datasets.records import encode
from landcover_tf.legend import load_legend
from tfrecords_builder import card, inspect, validate
from tfrecords_builder.__main__ import main as build
from tfrecords_builder.mismatch import LabelShift, OddSpectra
from tfrecords_builder.reading import stored_patches


def rewrite(folder, change):
    """Rewrites the first training shard with changed patches and matching checksums."""
    from dataclasses import replace

    info = DatasetInfo.load(folder)
    first = info.split("train").shards[0]
    patches = [s.patch for s in stored_patches(folder, info) if s.shard == first.file]
    change(patches)
    written = write_shard(folder / first.file, [encode(p) for p in patches])
    shard = replace(
        first,
        records=written.records,
        bytes=written.bytes,
        sha256=written.sha256,
    )
    train = replace(info.splits["train"], shards=(shard, *info.splits["train"].shards[1:]))
    replace(info, splits={**info.splits, "train": train}).save(folder)


def problems(folder):
    return "\n".join(validate.validate_dataset(folder).problems)


def test_a_built_dataset_is_sound(built, tmp_path, capsys):
    assert validate.main([str(built), "--report", str(tmp_path / "v.json")]) == 0
    assert "the dataset is sound" in capsys.readouterr().out
    assert json.loads((tmp_path / "v.json").read_text())["problems"] == []
    assert validate.main([str(built), "--report", str(tmp_path / "v.json")]) == 0


def test_one_flipped_byte_is_one_problem_and_hides_no_other_record(writable, capsys):
    info = DatasetInfo.load(writable)
    shard = info.split("train").shards[0]
    path = writable / shard.file
    data = bytearray(path.read_bytes())
    data[shard.bytes // shard.records + 500] ^= 1  # Inside the second record.
    path.write_bytes(data)
    assert validate.main([str(writable)]) == 1
    records = sum(split.records for split in info.splits.values())
    text = capsys.readouterr().out
    assert f"{shard.file}, record 1: corrupted record, its checksum differs; copy" in text
    assert f"{records - 1} records read, 1 problems" in text


def test_a_shard_cut_short_is_one_problem(writable):
    shard = DatasetInfo.load(writable).split("train").shards[0]
    path = writable / shard.file
    path.write_bytes(path.read_bytes()[:-100])
    (problem,) = validate.validate_dataset(writable).problems
    assert f"{shard.file}, record {shard.records - 1}: truncated record" in problem


def test_a_missing_shard_is_one_problem_and_a_warning_of_the_list(writable, capsys):
    shard = DatasetInfo.load(writable).split("train").shards[0]
    (writable / shard.file).unlink()
    (problem,) = validate.validate_dataset(writable).problems
    assert problem.endswith(f"{shard.file} is missing; copy or build the dataset again")
    assert inspect.main([str(writable)]) == 0
    assert f"warning: dataset {writable} is damaged: {shard.file} is missing;" in (
        capsys.readouterr().err
    )


def test_a_sound_shard_of_another_dataset_is_found(writable):
    def spoil(patches):
        patches.reverse()

    before = (writable / "dataset.json").read_bytes()
    rewrite(writable, spoil)
    (writable / "dataset.json").write_bytes(before)
    (problem,) = validate.validate_dataset(writable).problems
    assert "differs from its SHA-256" in problem


def test_wrong_codes_and_values_are_found(writable):
    def spoil(patches):
        patches[0].label[3, 3] = 77
        patches[1].image[patches[1].validity == 0] = 0
        patches.append(patches[2])

    rewrite(writable, spoil)
    text = problems(writable)
    assert "record 0" in text
    assert "has label codes outside the legend: [77]" in text
    assert "empty pixels not marked as no data" in text
    assert "holds the same pixels as" in text
    assert "has the key of" in text


def test_any_number_of_processes_finds_the_same(writable):
    def spoil(patches):
        patches[0].label[3, 3] = 77
        patches[1].image[..., 0][patches[1].validity == 0] = 65535
        patches.append(patches[2])

    rewrite(writable, spoil)
    # A record of another shard is there twice, and a shard is cut short.
    held_out = DatasetInfo.load(writable).split("test").shards[0]
    path = writable / held_out.file
    path.write_bytes(path.read_bytes()[:-100])
    one, two = (validate.validate_dataset(writable, jobs=jobs) for jobs in (1, 2))
    assert one == two
    assert len(one.problems) > 4
    assert one.hints


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs Linux")
def test_every_shard_is_read_once(built):
    def bytes_read():
        return int(Path("/proc/self/io").read_text().split()[1])

    info = DatasetInfo.load(built)
    validate.validate_dataset(built)
    before = bytes_read()
    validate.validate_dataset(built)
    described = sum((built / name).stat().st_size for name in ("dataset.json", "patches.jsonl"))
    shards = sum(shard.bytes for split in info.splits.values() for shard in split.shards)
    assert shards <= bytes_read() - before < 1.2 * shards + described


def test_labels_that_differ_from_the_index_are_found(writable):
    def swap(patches):
        patches[0].label[patches[0].label == patches[0].label[16, 16]] = 90

    rewrite(writable, swap)
    assert "but the index says" in problems(writable)


def test_constant_bands_and_wild_values_are_hints(writable):
    def spoil(patches):
        patches[0].image[..., 2][patches[0].validity == 0] = 1500
        patches[1].image[..., 0][patches[1].validity == 0] = 65535

    rewrite(writable, spoil)
    found = validate.validate_dataset(writable)
    assert not found.problems
    assert any("band B04 is constant" in hint for hint in found.hints)
    assert any("reflectance reaches from" in hint for hint in found.hints)


@pytest.mark.parametrize("shift", [(0, 0), (2, -3)])
def test_shifted_labels_are_noticed(shift):
    random = np.random.default_rng(0)
    found = LabelShift()
    for _ in range(6):
        label = random.choice([10, 20, 60], (12, 12)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        image = label[..., None] / 100 + random.normal(0, 0.02, (96, 96, 2))
        moved = np.roll(label, shift, axis=(0, 1))
        found.add(image.astype(np.float32), moved, np.ones((96, 96), bool), 0)
    if shift == (0, 0):
        assert found.hints() == []
    else:
        # Labels moved by (2, -3) fit when they move back.
        assert "move by -2 rows and +3 columns" in found.hints()[0]


def test_a_class_that_looks_like_another_is_noticed():
    random, legend, found = np.random.default_rng(0), load_legend("landcover9"), OddSpectra()
    for number in range(12):
        label = np.full((16, 16), 60, np.uint8)
        level = 0.4 if number == 5 else 0.05
        image = random.normal(level, 0.01, (16, 16, 3)).astype(np.float32)
        found.add(f"patch {number}", image, label, legend)
    assert found.hints(legend) == ["patch 5: water bodies looks unlike that class elsewhere"]


def test_a_record_opens_as_geotiff_where_it_was_cut(pairs, built, tmp_path, capsys):
    entry = read_index(built, "test")[0]
    image, picture = tmp_path / "out.tif", tmp_path / "out.png"
    flags = ["--key", entry.key, "--to-geotiff", str(image), "--png", str(picture)]
    assert inspect.main([str(built), *flags]) == 0
    printed = capsys.readouterr().out
    assert entry.shard in printed
    with (
        rasterio.open(image) as patch,
        rasterio.open(pairs / "images" / f"{entry.product}.tif") as scene,
        rasterio.open(tmp_path / "out.label.tif") as label,
    ):
        assert patch.crs == scene.crs
        # Corners are whole metres; six significant digits would lose the last.
        assert f"{patch.transform.c:.0f}, 0, -10, {patch.transform.f:.0f}" in printed
        assert patch.descriptions == scene.descriptions
        assert patch.scales == scene.scales
        assert label.colormap(1)[10][:3] == load_legend("landcover9").classes[0].rgb
        # The same ground has the same values in both files.
        x, y = patch.transform @ (20.5, 9.5)
        row, col = scene.index(x, y)
        np.testing.assert_array_equal(patch.read()[:, 9, 20], scene.read()[:, row, col])
    assert picture.stat().st_size > 1000
    # Any of its files may be something else by now.
    (tmp_path / "out.label.tif").write_text("mine")
    image.unlink()
    picture.unlink()
    assert inspect.main([str(built), *flags]) == 2
    said = capsys.readouterr().err
    assert "out.label.tif, " in said and "out.validity.tif exist already; pass --over" in said
    assert (tmp_path / "out.label.tif").read_text() == "mine" and not image.exists()
    assert inspect.main([str(built), *flags, "--overwrite"]) == 0


def test_records_are_listed_and_wrong_keys_refused(built, capsys):
    assert inspect.main([str(built), "--split", "val", "--limit", "2"]) == 0
    assert "records; open one with --key" in capsys.readouterr().out
    assert inspect.main([str(built), "--key", "nowhere"]) == 2
    assert "has no record 'nowhere'; a key looks like s" in capsys.readouterr().err
    assert inspect.main([str(built), "--png", "x.png"]) == 2
    assert "need the --key of a record" in capsys.readouterr().err
    assert inspect.main([str(built), "--key", "s0", "--png", "x.jpg"]) == 2
    assert "--png must end in .png, got x.jpg" in capsys.readouterr().err
    assert inspect.main([str(built), "--key", "s0", "--to-geotiff", "x.png"]) == 2
    assert "--to-geotiff must end in .tif, got x.png" in capsys.readouterr().err


def test_the_card_shows_splits_classes_and_patches(built, tmp_path):
    page = (built / "dataset.html").read_text()
    for text in ("agricultural areas", "Where", "B08", "within the gap", "Sample patches"):
        assert text in page
    assert page.count("data:image/png;base64,") == 3  # One sheet of samples for each split.
    assert page.count("<svg") == 1 + 4  # One map, four bands.
    drawn = sum(d.count("z") for d in re.findall(r'<path d="(M[^"]*)"', page))
    assert drawn == len(read_index(built)) + 4
    assert "http" not in page
    for _ in range(2):
        assert card.main([str(built), "--output", str(tmp_path / "again.html")]) == 0
        assert (tmp_path / "again.html").read_text() == page


def test_the_card_replaces_no_raster(built, tmp_path, capsys):
    mine = tmp_path / "mine.tif"
    mine.write_bytes(b"II*")
    assert card.main([str(built), "--output", str(mine)]) == 2
    assert "mine.tif is there already and no report" in capsys.readouterr().err
    assert mine.read_bytes() == b"II*"


def test_patches_in_degrees_are_drawn_in_their_size(tmp_path):
    data = write_pairs(tmp_path / "data", scenes=1)
    for folder in ("images", "labels"):
        with rasterio.open(data / folder / "s0.tif", "r+") as raster:
            raster.crs, raster.transform = "EPSG:4326", from_origin(10, 50, 1.5e-4, 1e-4)
    assert build(arguments(data, tmp_path / "o")) == 0
    page = (tmp_path / "o" / "dataset.html").read_text()
    corners = re.search(r"EPSG:4326, ([\d.]+), ([\d.]+) to ([\d.]+), ([\d.]+)<", page)
    left, bottom, right, top = map(float, corners.groups())
    sides = {tuple(map(float, s)) for s in re.findall(r"h([\d.]+)v([\d.]+)h-[\d.]+z", page)}
    (drawn,) = sides
    scale = 600 / max(right - left, top - bottom)
    assert drawn == pytest.approx((32 * 1.5e-4 * scale, 32 * 1e-4 * scale), abs=0.06)


def test_programs_answer_without_tensorflow():
    import subprocess
    import sys

    code = (
        "import sys, tfrecords_builder.__main__ as m\n"
        "from tfrecords_builder import audit, card, inspect, validate\n"
        "for p in (m, audit, card, inspect, validate): assert p.main(['--help']) == 0\n"
        "assert not {'tensorflow', 'matplotlib', 'scipy'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
