"""The numbers of exported versions."""

import os
import shutil
import time

import pytest
from fakes.small_export import write_small_export

from landcover_tf.errors import ModelError, OutputError
from landcover_tf.exporting.model_versions import next_version, require_new


def test_next_version_follows_the_highest(tmp_path):
    assert next_version(tmp_path / "none") == 1
    for name in ("2", "10", ".11.99.part", "notes"):
        (tmp_path / name).mkdir()
    assert next_version(tmp_path) == 11
    shutil.rmtree(tmp_path)


def test_the_number_of_a_withdrawn_version_is_not_given_again(tmp_path):
    model = tmp_path / "export" / "landcover"
    for version in (1, 2):
        write_small_export(tmp_path / "export", version=version)
    (model / "2").rename(tmp_path / "export" / "withdrawn-2")
    assert next_version(model) == 3
    for version in (1, 2):
        with pytest.raises(OutputError, match=f"version {version} already|above 2, .* got 2: "):
            require_new(model, version)
    require_new(model, 3)
    write_small_export(tmp_path / "other", version=1)
    shutil.copytree(tmp_path / "other" / "landcover" / "1", model / "7")
    assert next_version(model) == 8
    (model / "highest_version").write_text("two\n")
    with pytest.raises(ModelError, match=r"highest version .*highest_version, got .*two"):
        next_version(model)


def test_an_export_removes_what_killed_ones_left_beside_the_served_versions(tmp_path):
    model = tmp_path / "landcover"
    killed, under_way = model / ".2.abcd.part", model / ".3.abcd.part"
    for folder in (killed, under_way):
        (folder / "variables").mkdir(parents=True)
    long_ago = time.time() - 3600
    for path in (killed / "variables", killed):
        os.utime(path, (long_ago, long_ago))
    write_small_export(tmp_path, version=4)
    assert sorted(p.name for p in model.iterdir()) == [under_way.name, "4", "highest_version"]
