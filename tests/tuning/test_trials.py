"""Records and scores, read from folders made by hand."""

import time
from dataclasses import replace

import pytest
from fakes.small_dataset import write_small_dataset

from landcover_tf.errors import OutputError, RunError
from landcover_tf.run_folder import RunFolder
from landcover_tf.system.signals import INTERRUPTED, STOPPED
from landcover_tf.training.config import TrainConfig
from tuning.trials import (
    StopRequestedError,
    TrialRecord,
    epoch_scores,
    new_folder,
    read_records,
    run_trial,
)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,loss,val_mean_f1\n1,0.9,0.25\n2,0.7,\n3,0.8,0.5\n")
    return RunFolder(tmp_path)


def test_scores_by_epoch(run):
    assert epoch_scores(run, "mean_f1") == {1: 0.25, 2: None, 3: 0.5}


def test_scores_that_are_not_there(run, tmp_path):
    with pytest.raises(RunError, match="val_mean_iou"):
        epoch_scores(run, "mean_iou")
    with pytest.raises(RunError, match=r"history\.csv"):
        epoch_scores(RunFolder(tmp_path / "none"), "mean_f1")


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    new_folder(tmp_path / "a" / "b", "search")
    new_folder(tmp_path / "a" / "b", "search")  # Still empty.
    with pytest.raises(OutputError, match=r"a is not empty and holds no search"):
        new_folder(tmp_path / "a", "search")
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(OutputError, match=r"cannot write .*file"):
            new_folder(path, "search")


def test_records_are_in_the_order_of_the_search(tmp_path):
    # "9" was the last of ten trials, then the search went on with 200.
    for name in ("011", "9", "8", "010"):
        TrialRecord(id=name, settings={}, status="failed", error="x").save(tmp_path / name)
    assert [record.id for record in read_records(tmp_path)] == ["8", "9", "010", "011"]


def test_a_record_survives_its_file(tmp_path):
    record = TrialRecord(
        id="a", settings={"lr": 1e-3, "filters": [8, 4]}, status="completed", score=0.5,
        best_epoch=2, epochs=3, seconds=1.5,
    )  # fmt: skip
    record.save(tmp_path)
    assert TrialRecord.load(tmp_path) == record
    (tmp_path / "trial.json").write_text('{"id": "a", "colour": "red"}')
    with pytest.raises(RunError, match="not the record of a run"):
        TrialRecord.load(tmp_path)


def test_a_failed_attempt_does_not_undo_a_completed_one(tmp_path):
    write_small_dataset(tmp_path / "data")
    folder = tmp_path / "a"
    config = TrainConfig(data_dir=tmp_path / "data", output_dir=folder / "run", patch_size=512)
    before = TrialRecord(id="a", settings={}, status="completed", score=0.61)
    before.save(folder)
    now = run_trial(config, folder, settings={}, objective="mean_f1")
    assert (now.status, now.score) == ("failed", None) and "--patch-size 512" in now.error
    assert TrialRecord.load(folder) == before
    (folder / "trial.json").unlink()
    run_trial(config, folder, settings={}, objective="mean_f1")
    assert TrialRecord.load(folder).status == "failed"


def test_the_times_of_attempts_add_up(tmp_path):
    folder = tmp_path / "a"
    run = RunFolder(folder / "run")
    run.path.mkdir(parents=True)
    run.history.write_text("epoch,val_mean_f1\n1,0.5\n")
    run.summary.write_text('{"epochs": 1, "status": "finished"}')
    config = TrainConfig(data_dir=tmp_path / "data", output_dir=run.path)
    TrialRecord(id="a", settings={}, status="failed", seconds=3600.0).save(folder)
    for _ in range(2):
        record = run_trial(config, folder, settings={}, objective="mean_f1", runner=lambda _: 0)
        assert 3600 <= record.seconds < 3660
        assert TrialRecord.load(folder) == record


def test_the_time_of_a_stopped_attempt_counts(tmp_path):
    config = TrainConfig(data_dir=tmp_path / "data", output_dir=tmp_path / "a" / "run")

    def attempt(code):
        def wait(_):
            time.sleep(0.05)
            return code

        return run_trial(config, tmp_path / "a", settings={}, objective="mean_f1", runner=wait)

    for code in (STOPPED, INTERRUPTED):
        with pytest.raises(StopRequestedError):
            attempt(code)
    assert read_records(tmp_path) == []
    first = attempt(1)
    assert first.seconds >= 0.15
    assert read_records(tmp_path) == [first]
    # Neither is the time of one that fails after a completed one forgotten.
    replace(first, status="completed", score=0.61).save(tmp_path / "a")
    attempt(1)
    assert attempt(1).seconds >= 0.25


def test_hashes_of_shards_are_those_of_another_folder_of_runs(tmp_path):
    folder = tmp_path / "retrained" / "a"
    config = TrainConfig(data_dir=tmp_path / "data", output_dir=folder / "run")
    known, own = tmp_path / "trials" / "shard_hashes.json", RunFolder(folder / "run").shard_hashes
    known.parent.mkdir()
    known.write_text('{"of a trial": {}}')

    def train(start):
        assert own.read_text() == '{"of a trial": {}}'
        own.write_text('{"of a trial": {}, "new": {}}')
        return 1

    run_trial(config, folder, settings={}, objective="mean_f1", hashes=known.parent, runner=train)
    assert known.read_text() == own.read_text()
    assert not (tmp_path / "retrained" / "shard_hashes.json").exists()
