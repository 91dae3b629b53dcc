"""The state of a training survives what happens to its files."""

import math
import os
import stat

import numpy as np
import pytest
from fakes.full_disks import full_disk

from landcover_tf.errors import OutputError, RunError
from landcover_tf.training.state import (
    Progress,
    load_state,
    monitored,
    remove_partial,
    save_state,
)


def test_a_disk_that_refuses_is_told_and_the_old_state_stays(tmp_path):
    path = tmp_path / "state.safetensors"
    save_state(path, {"w": np.ones(2)}, Progress(step=1))
    with (
        full_disk(10_000),
        pytest.raises(OutputError, match=r"cannot write .*state\.safetensors: "),
    ):
        save_state(path, {"w": np.ones(10_000)}, Progress(step=2))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    arrays, progress = load_state(path)
    assert progress.step == 1
    np.testing.assert_array_equal(arrays["w"], [1, 1])


def test_colleagues_may_read_what_the_umask_lets_them(tmp_path):
    path = tmp_path / "state.safetensors"
    for mask, mode in ((0o022, 0o644), (0o007, 0o660)):
        before = os.umask(mask)
        try:
            save_state(path, {"w": np.ones(2)}, Progress())
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_state_that_one_may_not_read_is_no_damaged_one(as_nobody):
    path = as_nobody / "state.safetensors"
    save_state(path, {"w": np.ones(2)}, Progress(step=1))
    path.chmod(0)
    with pytest.raises(RunError, match=r"^cannot read .*state\.safetensors: Permission denied$"):
        load_state(path)


def test_only_what_a_save_writes_is_removed(tmp_path):
    state, best = tmp_path / "last" / "state.safetensors", tmp_path / "best.weights.h5"
    folder = state.parent
    (folder / ".tmpFolder").mkdir(parents=True)
    for name in (".tmp8jw5eI", ".state.0a1b.part", ".tmp_notes.txt", ".tmp"):
        (folder / name).write_bytes(b"")
    remove_partial(state, best)
    assert {path.name for path in folder.iterdir()} == {".tmpFolder", ".tmp_notes.txt", ".tmp"}


def test_a_lower_loss_is_a_higher_score():
    row = {"val_loss": 0.25, "val_mean_iou": 0.5, "val_mean_f1": None}
    assert monitored(row, "loss") == -0.25
    assert monitored(row, "mean_iou") == 0.5
    assert math.isnan(monitored(row, "mean_f1")) and math.isnan(monitored({}, "loss"))
