import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
from fakes.small_dataset import write_small_dataset

from landcover_tf import train
from landcover_tf.datasets.normalizer import Normalizer
from landcover_tf.errors import ConfigError, OutputError, RunError
from landcover_tf.system.files import atomic_path
from landcover_tf.training.preflight import check, write_settings
from landcover_tf.training.state import remove_partial


def test_the_content_of_the_augmentation_file_decides_not_its_name(begun, tmp_path):
    first, moved = tmp_path / "a.toml", tmp_path / "b.json"
    first.write_text('flip = 0.5\npaste_blend = "hard"\n')
    config = begun(first)
    write_settings(config, check(config))
    moved.write_text('{"flip": 0.5, "paste_blend": "hard"}')
    assert check(begun(moved)).augmentation.flip == 0.5
    assert check(begun(tmp_path / "run" / "augmentation.json")).augmentation.flip == 0.5

    first.write_text('flip = 0.25\npaste_blend = "hard"\n')
    with pytest.raises(RunError, match=r"config: augmentation flip \(was 0\.5, now 0\.25\); "):
        check(begun(first))
    with pytest.raises(RunError, match=r"augmentation paste_blend \(was hard, now feathered\)"):
        check(begun("light"))


def test_more_overlap_than_the_dataset_has_is_refused_before_the_run(begun, tmp_path):
    with pytest.raises(ConfigError, match=r"32 px with 16 px overlap.*holds 32 px with 0 px"):
        check(replace(begun("light"), patch_overlap=16))
    assert not (tmp_path / "run").exists()


def test_hashes_that_an_earlier_run_handed_on_are_no_foreign_files(begun, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "shard_hashes.json").write_text("{}")
    assert not check(begun("light")).finished
    (tmp_path / "run" / "notes.txt").write_text("")
    with pytest.raises(OutputError, match="holds other files and no run"):
        check(begun("light"))


def test_what_a_kill_in_the_first_write_left_is_no_foreign_file(begun, tmp_path):
    """A kill before the first rename left a folder that the same command refused for ever."""
    config = begun("light")
    (tmp_path / "run").mkdir()
    killed = [atomic_path(tmp_path / "run" / name) for name in ("shard_hashes.json", "config.json")]
    for write in killed:
        write.__enter__().write_text("{")  # And never left.
    assert len(list((tmp_path / "run").iterdir())) == 2
    found = check(config)
    assert not found.finished
    remove_partial(found.run.state, found.run.best_weights)
    assert not list((tmp_path / "run").iterdir())
    (tmp_path / "run" / ".part").write_text("")  # A name of somebody else.
    with pytest.raises(OutputError, match="holds other files and no run"):
        check(config)


def test_a_download_that_fails_leaves_no_empty_run_folder(tmp_path, monkeypatch, capsys):
    write_small_dataset(tmp_path / "data")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # Nothing listens there.
    monkeypatch.setenv("LANDCOVER_CACHE_DIR", str(tmp_path / "cache"))
    flags = ["--model", "resnet50", "--encoder-weights", "imagenet", "--batch-size", "2"]
    places = ["--data-dir", str(tmp_path / "data"), "--output-dir", str(tmp_path / "run")]
    assert train.main([*places, *flags, "--patch-size", "32", "--patch-overlap", "0"]) == 2
    assert "cannot download" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_runs_without_written_settings_are_told_by_the_name(begun, tmp_path):
    config = begun("light")
    found = check(config)
    write_settings(config, found)
    found.run.augmentation.unlink()
    assert check(config).run == found.run
    with pytest.raises(RunError, match=r"augmentation \(was light, now standard\)"):
        check(begun("standard"))


def test_a_setting_that_the_run_does_not_know_had_its_default(begun):
    config = begun("light")
    found = check(config)
    write_settings(config, found)
    for path, names in (
        (found.run.config, ("clip_norm", "decoder_filters")),
        (found.run.augmentation, ("paste_blend",)),
    ):
        values = json.loads(path.read_text())
        path.write_text(json.dumps({k: v for k, v in values.items() if k not in names}))
    assert check(config).run == found.run
    with pytest.raises(RunError, match=r"config: clip_norm \(was 1\.0, now 0\.5\); "):
        check(replace(config, clip_norm=0.5))


def test_a_dataset_with_another_normalizer_or_nodata_is_another(begun, tmp_path):
    """The hash of the data covers neither, and a rebuild with --normalizer has the same shards."""
    config = begun("light")
    found = check(config)
    write_settings(config, found)
    info = found.info
    fit = partial(Normalizer.fit, statistics=info.statistics, scale=info.scale, offset=info.offset)
    shifted = replace(info.normalizer, shift=(0.0,) * 4)
    for other, message in (
        (replace(info, normalizer=fit("minmax")), r"normalizer \(was standardize, now minmax\)"),
        (replace(info, normalizer=shifted), "other values in normalizer standardize"),
        (replace(info, nodata=5), r"nodata \(was 0, now 5\)"),
    ):
        assert other.data_hash == info.data_hash
        other.save(tmp_path / "data")
        with pytest.raises(RunError, match=f"another dataset than .*data: {message}; choose"):
            check(config)


def test_a_run_with_its_own_normalizer_goes_on_where_the_dataset_gets_another(begun, tmp_path):
    config = replace(begun("light"), normalizer="minmax")
    found = check(config)
    write_settings(config, found)
    info = found.info
    log = Normalizer.fit("log", info.statistics, info.scale, info.offset)
    replace(info, normalizer=log).save(tmp_path / "data")
    assert check(config).info.normalizer == log
    replace(info, normalizer=log, nodata=5).save(tmp_path / "data")
    with pytest.raises(RunError, match=r"data: nodata \(was 0, now 5\); choose"):
        check(config)


def test_class_weights_of_another_number_are_refused_before_the_download(begun, tmp_path):
    config = replace(begun("light"), class_weights=(1.0, 2.0))
    with pytest.raises(ConfigError, match="expects 3 numbers, one for each class of the legend"):
        check(config)
    assert not (tmp_path / "run").exists()
    check(replace(config, loss="dice"))  # It has no use for them.


def test_a_wrong_augmentation_file_leaves_no_run(begun, tmp_path, capsys):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"paste_blend": "soft"}))
    flags = ["--data-dir", str(tmp_path / "data"), "--output-dir", str(tmp_path / "run")]
    small = ["--patch-size", "32", "--batch-size", "2"]
    assert train.main([*flags, *small, "--augmentation", str(path)]) == 2
    assert f"{path}: paste_blend must be one of hard" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_weights_that_cannot_be_had_are_told_before_tensorflow_starts(tmp_path):
    """The first command of an offline user took its whole start before it said so."""
    write_small_dataset(tmp_path / "data")
    flags = f"--data-dir {tmp_path / 'data'} --output-dir {tmp_path / 'run'} --patch-size 32"
    program = (
        "import sys; from landcover_tf import train; "
        f"code = train.main('{flags} --batch-size 2 --encoder-lr-factor 0'.split()); "
        "print(code, 'tensorflow' in sys.modules)"
    )
    nowhere = {"https_proxy": "http://127.0.0.1:9", "LANDCOVER_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | nowhere, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["2", "False"]
    assert "cannot download resnet50_sentinel2_all_moco-df8b932e.pth" in done.stderr
    assert f"put it into {tmp_path / 'cache' / 'weights'}" in done.stderr
    assert "--encoder-weights none and without --encoder-lr-factor 0" in done.stderr
