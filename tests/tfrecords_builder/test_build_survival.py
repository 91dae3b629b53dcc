"""Builds that a full disk, a kill or a lost block interrupts."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from builder_inputs import arguments, described, write_pairs
from fakes.full_disks import full_disk
from fakes.killed_program import run_killed

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.tfrecord import read_records
from landcover_tf.errors import OutputError
from landcover_tf.system.locks import alone
from tfrecords_builder.__main__ import main
from tfrecords_builder.config import BuildConfig
from tfrecords_builder.planning import understand
from tfrecords_builder.shards import (
    PlannedRecord,
    RecordPlace,
    ShardJob,
    ShardWriter,
    finish,
    read_result,
    reserve,
)
from tfrecords_builder.work_folder import LOCK, open_work_folder


def test_a_full_disk_loses_nothing(pairs, built, tmp_path, capsys):
    with full_disk(100_000):
        assert main(arguments(pairs, tmp_path / "o")) == 2
    assert "cannot write" in capsys.readouterr().err
    assert not (tmp_path / "o" / "dataset.json").exists()
    assert main(arguments(pairs, tmp_path / "o")) == 2
    assert "unfinished build; add --resume" in capsys.readouterr().err
    assert main(arguments(pairs, tmp_path / "o", "--resume", "--seed", 5)) == 2
    assert "had other settings or input (seed (was 0, now 5))" in capsys.readouterr().err
    assert main(arguments(pairs, tmp_path / "o", "--resume")) == 0
    assert json.loads((tmp_path / "o" / "config.json").read_text())["resume"] is False
    assert described(tmp_path / "o") == described(built)


@pytest.mark.parametrize(("flags", "beside"), [((), 0), (("--compression", "gzip"), 1)])
def test_a_dataset_that_the_disk_cannot_hold_is_refused_before_it_is_cut(
    pairs, tmp_path, capsys, free_space, flags, beside
):
    assert main(arguments(pairs, tmp_path / "whole")) == 0
    sizes = [path.stat().st_size for path in (tmp_path / "whole").glob("*.tfrecord")]
    # A compressed shard is written while its records are there.
    needed = sum(sizes) + beside * max(sizes)
    free_space(needed - 1)
    command = arguments(pairs, tmp_path / "o", *flags)
    assert main(command) == 2
    assert "0.0 GB free, the rest of the dataset needs" in capsys.readouterr().err
    work = tmp_path / "o" / ".build"
    assert not [*work.rglob("*.tfrecord*"), *work.rglob("cut-*")]
    free_space(needed)
    assert main([*command, "--resume"]) == 0


def test_what_is_written_needs_no_room_again(tmp_path, free_space):
    records = tuple(PlannedRecord(key=key, length=1_000_000) for key in ("a", "b"))
    job = ShardJob(name="s.tfrecord", records=records, compression="none", folder=tmp_path)
    reserve([job])
    with ShardWriter() as writer:
        writer.put(job.places()["a"], [bytes(1_000_000)])
    free_space(1_010_000)
    reserve([job])
    free_space(900_000)
    with pytest.raises(OutputError, match="the rest of the dataset needs"):
        reserve([job])


def test_a_second_build_into_a_folder_is_refused(pairs, built, tmp_path, capsys):
    output = tmp_path / "o"
    with alone(output / LOCK, "the first"):
        assert main(arguments(pairs, output, "--resume")) == 2
    assert f"another process builds in {output}; wait for its end" in capsys.readouterr().err
    assert not list(output.iterdir())
    (output / LOCK).touch()  # As a kill leaves it.
    assert main(arguments(pairs, output)) == 0
    assert described(output) == described(built)
    assert not (output / LOCK).exists()


def test_a_build_of_another_gzip_level_does_not_go_on(pairs, tmp_path, capsys):
    flags = arguments(pairs, tmp_path / "o", "--compression", "gzip")
    with full_disk(20_000):
        assert main(flags) == 2
    settings = tmp_path / "o" / ".build" / "build.json"
    begun = json.loads(settings.read_text())
    for level, was in (({"gzip level": 6}, "6"), ({}, "not set")):
        other = {k: v for k, v in begun.items() if k != "gzip level"} | level
        settings.write_text(json.dumps(other))
        capsys.readouterr()
        assert main([*flags, "--resume"]) == 2
        assert f"other settings or input (gzip level (was {was}, now 3))" in capsys.readouterr().err
    settings.write_text(json.dumps(begun))
    assert main([*flags, "--resume"]) == 0


def write_zones(path, *splits):
    """Writes bands of ground 2 km wide, as wide as the scenes of `pairs`, each of one split."""
    features = []
    for number, split in enumerate(splits):
        left, right = 600_000 + 2000 * number, 602_000 + 2000 * number
        ring = [[left, 4.99e6], [right, 4.99e6], [right, 5e6], [left, 5e6], [left, 4.99e6]]
        shape = {"type": "Polygon", "coordinates": [ring]}
        properties = {"zone": f"z{number}", "split": split}
        features.append({"type": "Feature", "properties": properties, "geometry": shape})
    named = {"type": "name", "properties": {"name": "EPSG:32633"}}
    collection = {"type": "FeatureCollection", "crs": named, "features": features}
    path.write_text(json.dumps(collection))


def test_zones_drawn_anew_do_not_go_with_an_unfinished_build(pairs, tmp_path, capsys):
    zones = tmp_path / "zones.geojson"
    flags = arguments(pairs, tmp_path / "o", "--split", "zones", "--zones", zones, "--gap-px", 0)
    assert main(flags) == 2
    assert f"cannot read --zones {zones}: No such file" in capsys.readouterr().err
    write_zones(zones, "train", "val", "test")
    with full_disk(100_000):
        assert main(flags) == 2
    capsys.readouterr()
    write_zones(zones, "val", "train", "test")
    assert main([*flags, "--resume"]) == 2
    assert "had other settings or input (content of --zones)" in capsys.readouterr().err
    write_zones(zones, "train", "val", "test")
    assert main([*flags, "--resume"]) == 0


def test_an_error_in_the_last_step_keeps_the_work(pairs, tmp_path, capsys):
    output = tmp_path / "o"
    with full_disk(100_000):
        assert main(arguments(pairs, output)) == 2
    (output / "patches.jsonl").mkdir()
    assert main(arguments(pairs, output, "--resume")) == 2
    assert "cannot write" in capsys.readouterr().err
    (output / "patches.jsonl").rmdir()
    shard = output / next(output.glob("train-00000*")).name
    whole = shard.read_bytes()
    shard.write_bytes(whole[:5000] + bytes(5000) + whole[10_000:])
    assert main(arguments(pairs, output, "--resume")) == 2
    assert "train-00000" in capsys.readouterr().err
    shard.write_bytes(whole)
    assert main(arguments(pairs, output, "--resume")) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_while_records_are_written_is_named():
    place = RecordPlace(path=Path("/dev/full"), offset=0)
    with ShardWriter() as writer, pytest.raises(OutputError, match=r"/dev/full: .*No space left"):
        writer.put(place, [b"record"])


def test_a_killed_build_looks_unfinished_and_goes_on(tmp_path):
    # Scenes of more than 2^20 pixels, so that each is a job of its own.
    pairs = write_pairs(tmp_path / "data", scenes=2, size=1030)
    flags = ("--shard-size-mb", 4, "--patch-size", 64, "--block-size-m", 1000)
    assert main(arguments(pairs, tmp_path / "whole", *flags)) == 0
    command = arguments(pairs, tmp_path / "o", *flags)
    first = (tmp_path / "whole" / "patches.jsonl").read_text().count('"product":"s0"')
    put = "tfrecords_builder.shards.ShardWriter.put"
    run_killed("tfrecords_builder.__main__", command, entering=put, call=first + 20)
    (cut,) = (tmp_path / "o" / ".build").rglob("cut-*")
    assert cut.name == "cut-000000.json"
    assert {path.name for path in (tmp_path / "o").iterdir()} == {".build", LOCK}
    # What the finished scene left is used, not made again: a mark in it reaches the description.
    values = json.loads(cut.read_text())
    values["class_pixels"]["train"]["10"] += 1_000_000
    cut.write_text(json.dumps(values))
    assert main([*command, "--resume"]) == 0
    assert not (tmp_path / "o" / ".build").exists()
    resumed, whole = described(tmp_path / "o"), described(tmp_path / "whole")
    marked = resumed["splits"]["train"]["class_pixels"]
    assert marked["10"] == whole["splits"]["train"]["class_pixels"]["10"] + 1_000_000
    marked["10"] -= 1_000_000
    assert resumed == whole
    DatasetInfo.load(tmp_path / "o").verify(tmp_path / "o")


def test_a_job_of_a_removed_build_writes_nothing_into_the_next(pairs, tmp_path):
    config = BuildConfig(data_dir=pairs, output_dir=tmp_path / "o")
    records = (PlannedRecord(key="a", length=5),)
    name, found = "train-00000-of-00001.tfrecord", understand(config)

    def begin(config):
        folder = open_work_folder(config, found)
        return ShardJob(name=name, records=records, compression="none", folder=folder)

    removed = begin(config)
    assert begin(config).folder == removed.folder
    shutil.rmtree(config.output_dir)
    job = begin(replace(config, seed=1))
    reserve([job])
    # As a cluster's worker does, which runs on when the program that gave it work is gone.
    with ShardWriter() as writer, pytest.raises(OutputError, match="No such file"):
        writer.put(removed.places()["a"], [b"other"])
    with ShardWriter() as writer:
        writer.put(job.places()["a"], [b"first"])
    finish(job)
    assert list(read_records(job.path, "none")) == [b"first"]


def test_what_the_disk_lost_is_noticed_and_named(tmp_path):
    path = tmp_path / "train-00000-of-00001.tfrecord"
    records = tuple(PlannedRecord(key=key, length=5) for key in ("a", "b", "c"))
    job = ShardJob(name=path.name, records=records, compression="none", folder=tmp_path)
    reserve([job])
    places = job.places()
    with ShardWriter() as writer:
        writer.put(places["c"], [b"th", b"ird"])
        writer.put(places["a"], [b"first"])
    # The second record was never written, or its blocks were lost.
    with pytest.raises(OutputError, match=f"did not keep .*{path.name}, record 1: corrupted"):
        finish(job)
    reserve([job])  # As a resumed build does; it keeps what is there.
    with ShardWriter() as writer:
        writer.put(places["b"], [b"", b"other"])
    finish(job)
    assert list(read_records(path, "none")) == [b"first", b"other", b"third"]
    assert read_result(job).records == 3


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_shard_may_be_finished_twice(compression, tmp_path):
    """As a cluster does that loses a worker before it has told that it is done."""
    records = (PlannedRecord(key="a", length=5),)
    name = "train-00000-of-00001.tfrecord"
    job = ShardJob(name=name, records=records, compression=compression, folder=tmp_path)
    reserve([job])
    with ShardWriter() as writer:
        writer.put(job.places()["a"], [b"first"])
    finish(job)
    before = read_result(job)
    finish(job)
    assert read_result(job) == before
    assert list(read_records(job.path, compression)) == [b"first"]
