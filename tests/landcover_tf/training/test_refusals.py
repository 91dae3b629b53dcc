"""What cannot be trained, or not be written, is told before anything begins."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import tensorflow as tf
from fakes.small_dataset import write_small_dataset
from fakes.small_loop import settings, small_loop

from landcover_tf import evaluate, train
from landcover_tf.errors import ConfigError, DatasetError, ModelError, OutputError
from landcover_tf.run_folder import FINISHED
from landcover_tf.system.files import write_json
from landcover_tf.system.locks import alone
from landcover_tf.training import startup
from landcover_tf.training.building import build
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.distributed import Devices
from landcover_tf.training.interruption import StopRequest
from landcover_tf.training.preflight import check, write_settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": 0}, "split 'train' of dataset small is empty"),
        ({"val": 0}, "dataset small has no validation patch, .*; build it with a --val-fraction"),
        ({"codes": (10,)}, r"the training split of small has 1 \(water\); add labelled scenes"),
        ({"codes": (255,)}, r"the training split of small has 0 \(none\)"),
    ],
)
def test_datasets_that_teach_nothing_are_told(tmp_path, changes, message):
    write_small_dataset(tmp_path / "data", **{"train": 4, "val": 2} | changes)
    with pytest.raises(DatasetError, match=message):
        check(settings(tmp_path / "data", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_program_tells_of_one_class_in_a_sentence(tmp_path, capsys):
    write_small_dataset(tmp_path / "data", train=4, val=2, codes=(30,))
    folders = ["--data-dir", str(tmp_path / "data"), "--output-dir", str(tmp_path / "run")]
    size = ["--patch-size", "32", "--batch-size", "2"]
    assert train.main([*folders, *size, "--encoder-weights", "none"]) == 2
    error = capsys.readouterr().err
    assert "needs at least two classes" in error and "1 (urban)" in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def known(run: Path) -> set[str]:
    """Returns the names of the shards whose hashes a run folder keeps."""
    return {Path(name).name for name in json.loads((run / "shard_hashes.json").read_text())}


def changed_shard(folder: Path, *, how: str) -> str:
    """Writes a dataset, changes a shard but not its size, and returns that shard's name."""
    info = write_small_dataset(folder, train=4, val=2)
    shard = info.shard_paths(folder, "val")[0]
    content = bytearray(shard.read_bytes())
    if how == "flipped byte":
        content[len(content) // 2] ^= 1
    else:  # Sound records, of another dataset.
        other = write_small_dataset(folder.with_name("other"), train=4, val=2, seed=1)
        content = other.shard_paths(folder.with_name("other"), "val")[0].read_bytes()
    assert len(content) == shard.stat().st_size
    shard.write_bytes(content)
    return shard.name


@pytest.mark.parametrize("how", ["flipped byte", "other shard"])
def test_a_changed_shard_is_told_before_training_and_evaluation(tmp_path, capsys, how):
    name = changed_shard(tmp_path / "data", how=how)
    folders = ["--data-dir", str(tmp_path / "data"), "--output-dir", str(tmp_path / "run")]
    size = ["--patch-size", "32", "--batch-size", "2", "--epochs", "1"]
    assert train.main([*folders, *size, "--model", "resnet18", "--encoder-weights", "none"]) == 2
    assert f"is damaged: {name} differs from its SHA-256; copy" in capsys.readouterr().err
    # The sound shards are not read again when the damaged one is replaced.
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["shard_hashes.json"]
    sound = {path.name for path in (tmp_path / "data").glob("*.tfrecord")} - {name}
    assert known(tmp_path / "run") - {name} == sound

    config = settings(tmp_path / "data", tmp_path / "run")
    found = check(config)
    write_settings(config, found)
    write_json(found.run.summary, {"status": FINISHED})
    for path in (found.run.model_spec, found.run.best_weights):
        path.touch()
    found.run.shard_hashes.unlink()
    assert evaluate.main(["--run-dir", str(found.run.path), "--split", "train"]) == 2
    assert f"is damaged: {name} differs from its SHA-256; copy" in capsys.readouterr().err
    assert known(tmp_path / "run") - {name} == sound


@contextmanager
def as_nobody() -> Iterator[None]:
    """Inside, permissions count: root, as in a container, may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, with a dataset in `data` and the locked `locked`."""
    # The session's own folder for temporary files is closed to other users.
    with TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        write_small_dataset(folder / "data", train=4, val=2)
        (folder / "locked").mkdir(mode=0o555)
        yield folder


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("locked", "no permission to write into --output-dir .*locked"),
        ("locked/run", "cannot create --output-dir .*run: Permission denied"),
        ("data/dataset.json/run", "cannot create --output-dir .*run: Not a directory"),
    ],
)
def test_a_folder_that_cannot_be_written_is_told(open_folder, output, message):
    with as_nobody(), pytest.raises(OutputError, match=message):
        check(settings(open_folder / "data", open_folder / output))
    assert not list((open_folder / "locked").iterdir())


def test_what_only_tensorflow_finds_is_told_before_the_shards_are_read(tmp_path):
    changed_shard(tmp_path / "data", how="flipped byte")
    config = settings(tmp_path / "data", tmp_path / "run", encoder_weights="absent.safetensors")
    with pytest.raises(ModelError, match=r"absent\.safetensors"):
        train.train_model(config)
    assert not (tmp_path / "run").exists()


def test_a_second_training_in_a_run_folder_is_refused(tmp_path):
    write_small_dataset(tmp_path / "data", train=4, val=2)
    config = settings(tmp_path / "data", tmp_path / "run")
    run = check(config).run
    with (
        alone(run.lock, "the first"),
        pytest.raises(OutputError, match=f"another process trains in {run.path}; wait for its end"),
    ):
        startup.train(config)
    assert not list(run.path.iterdir())


def test_a_finished_run_is_told_without_tensorflow(tmp_path):
    write_small_dataset(tmp_path / "data", train=4, val=2)
    folders = {"data_dir": tmp_path / "data", "output_dir": tmp_path / "run"}
    config = TrainConfig(**folders, patch_size=32, batch_size=2)
    found = check(config)
    write_settings(config, found)
    write_json(found.run.summary, {"status": FINISHED, "best_epoch": 2})
    arguments = ["--config", str(found.run.config)]
    code = (
        "import sys; from landcover_tf.train import main; code = main(sys.argv[1:]); "
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "is finished (best epoch 2); nothing to do" in done.stdout


def test_a_run_that_another_process_finished_meanwhile_stays(tmp_path, capsys):
    write_small_dataset(tmp_path / "data", train=4, val=2)
    config = settings(tmp_path / "data", tmp_path / "run")
    found = check(config)
    write_settings(config, found)
    write_json(found.run.summary, {"status": FINISHED, "best_epoch": 2})
    assert startup.train(config) == 0
    assert "is finished (best epoch 2); nothing to do" in capsys.readouterr().out
    assert found.run.read_summary() == {"status": FINISHED, "best_epoch": 2}


class TwoDevices(Devices):
    """What a machine with two GPUs gives; nothing runs on them here."""

    replicas = 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jit": "on"}, "--jit on is not supported together with 2 devices.*; use --jit off"),
        ({"batch_size": 3}, "--batch-size 3 must be a multiple of the 2 devices"),
    ],
)
def test_settings_that_several_devices_cannot_have(tmp_path, changes, message):
    info = write_small_dataset(tmp_path / "data", train=4, val=2)
    config = settings(tmp_path / "data", tmp_path / "run", **changes)
    devices = TwoDevices(tf.distribute.get_strategy())
    with pytest.raises(ConfigError, match=message):
        build(config, info, devices, resume=False)


def test_a_seed_that_numpy_does_not_take_is_refused(tmp_path):
    """It ended in NumPy's traceback."""
    with pytest.raises(ConfigError, match=r"--seed must be in \[0, 4294967294\], got 4294967295"):
        settings(tmp_path / "data", tmp_path / "run", seed=2**32 - 1)


def test_the_largest_seed_trains(tmp_path):
    write_small_dataset(tmp_path / "data", train=4, val=1)
    config = settings(
        tmp_path / "data", tmp_path / "run", seed=2**32 - 2, epochs=1, gradient_accumulation=1
    )
    assert small_loop(config).train(StopRequest())
