"""Ground that earlier datasets hold keeps its split in a new one; new ground is split as usual."""

import json
import shutil
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from builder_inputs import arguments, contents, rewrite, write_pairs
from scipy.spatial import cKDTree

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.patch_index import read_index
from landcover_tf.errors import ConfigError
from tfrecords_builder.__main__ import main
from tfrecords_builder.audit import audit_dataset
from tfrecords_builder.config import BuildConfig
from tfrecords_builder.planning import understand
from tfrecords_builder.reading import stored_patches
from tfrecords_builder.work_folder import open_work_folder

SPLITS = ("train", "val", "test")
GAP = 32
"""Of `arguments`: the patch size."""


@pytest.fixture(scope="module")
def next_year(tmp_path_factory):
    """Four scenes: the three of `pairs` with other clouds, and one that is new."""
    data = write_pairs(tmp_path_factory.mktemp("next"), scenes=4)

    def cloudy(values):
        values[:, 60:150, 110:180] = 0
        return values

    for number in range(3):
        rewrite(data / "images" / f"s{number}.tif", cloudy)
    return data


@pytest.fixture(scope="module")
def rebuilt(next_year, built, tmp_path_factory):
    """The dataset of `next_year`, split like that of `pairs`."""
    folder = tmp_path_factory.mktemp("rebuilt") / "dataset"
    assert main(arguments(next_year, folder, "--split-like", built)) == 0
    return folder


def ground_of(folder):
    """Returns the pixels with data of each split, bool [3, rows, columns] from 5000 km north."""
    held = np.zeros((3, 260, 900), bool)
    for stored in stored_patches(folder, DatasetInfo.load(folder)):
        patch = stored.patch
        row = round((5_000_000 - patch.transform[5]) / 10)
        col = round((patch.transform[2] - 600_000) / 10)
        part = held[SPLITS.index(stored.split), row : row + 32, col : col + 32]
        part |= (patch.validity & 1) == 0
    return held


def nearest(first, second):
    """Returns the least distance of two sets of pixels, counted between their edges."""
    rows = [np.argwhere(held) for held in (first, second)]
    # Only pixels near the other set can be nearest.
    low = [r.min(axis=0) - GAP for r in rows]
    high = [r.max(axis=0) + GAP for r in rows]
    rows = [r[((r >= low[1 - n]) & (r <= high[1 - n])).all(axis=1)] for n, r in enumerate(rows)]
    if not all(map(len, rows)):
        return np.inf
    return cKDTree(rows[0]).query(rows[1], p=np.inf)[0].min() - 1


def test_no_ground_changes_its_split_and_the_gap_holds_between_the_years(built, rebuilt):
    before, after = ground_of(built), ground_of(rebuilt)
    for one, other in product(range(3), repeat=2):
        if one != other:
            assert not (before[one] & after[other]).any()
            assert nearest(before[one], after[other]) >= GAP
    assert not audit_dataset(rebuilt).leaks


def test_patches_of_both_years_are_in_one_split_and_new_ground_is_split(built, rebuilt):
    before = {entry.key: entry.split for entry in read_index(built)}
    after = {entry.key: entry.split for entry in read_index(rebuilt)}
    both = before.keys() & after.keys()
    assert len(both) > 0.6 * len(before)
    assert all(before[key] == after[key] for key in both)
    assert {before[key] for key in both} == set(SPLITS)
    assert sum(key.startswith("s3:") for key in after) > 20
    reasons = [json.loads(line)["reason"] for line in (rebuilt / "dropped.jsonl").open()]
    assert "within the gap to another split of --split-like" in reasons


def test_the_config_repeats_it_elsewhere(rebuilt, tmp_path):
    config = ("--config", str(rebuilt / "config.json"), "--name", "dataset")
    assert main([*config, "--output-dir", str(tmp_path / "o")]) == 0
    assert contents(tmp_path / "o") == contents(rebuilt)


def test_without_it_ground_changes_its_split(built, next_year, tmp_path):
    """That the tests above could fail."""
    assert main(arguments(next_year, tmp_path / "o")) == 0
    before, after = ground_of(built), ground_of(tmp_path / "o")
    changed = [(before[one] & after[other]).any() for one, other in product(range(3), repeat=2)]
    assert sum(changed) > 3  # That of a split with itself is always there.


def test_two_earlier_datasets_and_larger_blocks(built, rebuilt, next_year, tmp_path):
    flags = ("--split-like", built, rebuilt, "--block-size-m", 700)
    assert main(arguments(next_year, tmp_path / "o", *flags)) == 0
    after = ground_of(tmp_path / "o")
    for folder in (built, rebuilt):
        before = ground_of(folder)
        for one, other in product(range(3), repeat=2):
            assert one == other or not (before[one] & after[other]).any()


def test_blocks_that_a_further_coordinate_system_moves_are_told(built, next_year, tmp_path, capsys):
    data = shutil.copytree(next_year, tmp_path / "data")
    config = BuildConfig(data_dir=data, output_dir=tmp_path / "o", split_like=(built,))
    understand(config)
    assert "note: the new" not in capsys.readouterr().out
    for kind in ("images", "labels"):
        rewrite(data / kind / "s3.tif", lambda values: values, crs="EPSG:32634")
    understand(config)
    assert (
        "note: the new and the earlier images have 2 coordinate systems, so blocks lie on the "
        f"equal-area grid EPSG:6933 and no longer as those of {built}; more patches are left out"
    ) in capsys.readouterr().out
    # Where the earlier dataset has the same zones, its blocks lay there before.
    assert main(arguments(data, tmp_path / "zones")) == 0
    understand(replace(config, split_like=(tmp_path / "zones",)))
    assert "note: the new" not in capsys.readouterr().out


def test_what_no_split_can_be_kept_of_is_refused(built, next_year, tmp_path, capsys):
    flags = arguments(next_year, tmp_path / "o", "--split-like")
    assert main([*flags, str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
    assert main([*flags, str(built), "--test-fraction", "0"]) == 2
    assert f"{built} has a split test, for which the new dataset has no share; give --test-" in (
        capsys.readouterr().err
    )
    bare = write_pairs(tmp_path / "bare")
    for path in bare.glob("*/*.tif"):
        rewrite(path, lambda values: values, crs=None)
    wanted = arguments(bare, tmp_path / "local", "--block-size-px", "40")
    assert main(wanted) == 0
    assert main([*flags, str(tmp_path / "local")]) == 2
    assert "local has images without a CRS, which lie on no known ground" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    with pytest.raises(ConfigError, match="--split-like needs --split blocks, got tiles"):
        BuildConfig(data_dir=built, output_dir=tmp_path, split="tiles", split_like=(built,))


def test_a_build_is_not_resumed_with_another_earlier_dataset(
    built, rebuilt, next_year, tmp_path, capsys
):
    earlier, output = tmp_path / "earlier", tmp_path / "o"
    shutil.copytree(built, earlier)
    config = BuildConfig(
        data_dir=next_year, output_dir=output, split_like=(earlier,), legend="landcover9"
    )
    open_work_folder(config, understand(config))
    shutil.rmtree(earlier)
    shutil.copytree(rebuilt, earlier)
    flags = f"--data-dir {next_year} --output-dir {output} --split-like {earlier} --resume"
    assert main([*flags.split(), "--legend", "landcover9"]) == 2
    assert "had other settings or input (input); repeat them" in capsys.readouterr().err
