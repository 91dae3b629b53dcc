"""Lists of experiments as a program, with trainings of a few seconds."""

import json
import re
from pathlib import Path

import pytest
from fakes.small_dataset import write_small_dataset

from landcover_tf.run_folder import RunFolder
from landcover_tf.system.files import write_json
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.preflight import check, write_settings
from tuning import experiments
from tuning.trials import TrialRecord, read_records

COMMON = {
    "model": "resnet18", "encoder_depth": 2, "encoder_weights": "none", "patch_size": 32,
    "patch_overlap": 0, "batch_size": 16, "decoder_filters": [16, 8, 8, 8, 8], "pictures": 0,
    "epochs": 1, "augmentation": "none", "optimizer": "sgd",
}  # fmt: skip


def experiments_file(path, *listed, **common):
    path.write_text(json.dumps({"common": COMMON | common, "experiments": listed}))
    return path


def test_a_failed_experiment_does_not_stop_the_others(small_dataset, tmp_path, capsys):
    path = experiments_file(tmp_path / "list.json", {"name": "broken"}, {"name": "good"})
    output = tmp_path / "out"
    # What lies in the way of a run is told by its own process, before that loads TensorFlow.
    (output / "broken").mkdir(parents=True)
    (output / "broken" / "run").write_text("no folder")
    (output / "config.json").write_text('{"objective": "mean_iou"}')
    (output / "shard_hashes.json").write_text('{"of an earlier run": {"sha256": ""}}')
    arguments = ["--experiments", str(path), "--data-dir", str(small_dataset),
                 "--output-dir", str(output)]  # fmt: skip
    assert experiments.main(arguments) == 1
    assert re.search("broken failed: .*cannot create --output-dir", capsys.readouterr().err)
    by_name = {r.id: r for r in read_records(output)}
    assert by_name["good"].status == "completed" and by_name["broken"].status == "failed"
    assert (output / "comparison.png").stat().st_size > 1000
    # Hashes of shards are handed on from run to run.
    known = json.loads((output / "shard_hashes.json").read_text())
    assert json.loads((output / "good" / "run" / "shard_hashes.json").read_text()) == known
    assert {Path(name).name for name in known} == {
        "of an earlier run",
        *(path.name for path in small_dataset.rglob("*.tfrecord*")),
    }
    assert experiments.main([*arguments, "--only", "good"]) == 0
    assert "finished before" in capsys.readouterr().out
    # The score of a run with other settings is not the edited experiment's.
    experiments_file(path, {"name": "good", "lr": 0.02})
    assert experiments.main(arguments) == 2
    assert "another config: lr" in capsys.readouterr().err


def test_a_failed_experiment_of_other_settings_does_not_keep_the_others(
    small_dataset, tmp_path, capsys
):
    output = tmp_path / "out"
    write_json(output / "config.json", {"objective": "mean_iou"})
    folders = {"data_dir": small_dataset, "output_dir": output / "big" / "run"}
    began = TrainConfig(**COMMON | folders | {"monitor": "mean_iou", "decoder_filters": (16,) * 5})
    write_settings(began, check(began))
    TrialRecord(id="big", settings={}, status="failed", error="killed").save(output / "big")
    (output / "other").mkdir()
    (output / "other" / "run").write_text("no folder")  # Fails, before TensorFlow is loaded.
    path = experiments_file(
        tmp_path / "list.json", {"name": "big", "batch_size": 8}, {"name": "other"},
        decoder_filters=[16] * 5,
    )  # fmt: skip
    arguments = ["--experiments", str(path), "--data-dir", str(small_dataset),
                 "--output-dir", str(output)]  # fmt: skip
    assert experiments.main(arguments) == 2
    said = capsys.readouterr()
    assert "big: left out" in said.out
    failed, left_out = said.err.splitlines()
    assert failed.startswith("other failed: ")
    assert left_out == (
        f"big left out: {output}/big/run holds a run of another config: batch_size (was 16, now 8);"
        " take the change back, give the experiment another name, or move the folder"
        f" {output}/big away to train it anew"
    )
    assert TrialRecord.load(output / "big").error == "killed"


def test_experiments_of_two_datasets_are_not_ranked_together(small_dataset, tmp_path, capsys):
    path = experiments_file(tmp_path / "list.json", {"name": "old"}, {"name": "new"})
    other = write_small_dataset(tmp_path / "other", seed=1)
    output = tmp_path / "out"
    write_json(output / "config.json", {"objective": "mean_iou"})
    run = RunFolder(output / "old" / "run")
    write_json(run.dataset, other.to_dict())
    write_json(run.config, {})
    TrialRecord(id="old", settings={}, status="completed", score=0.5).save(output / "old")
    kept = sorted(output.rglob("*"))
    arguments = ["--experiments", str(path), "--data-dir", str(small_dataset),
                 "--output-dir", str(output), "--only", "new"]  # fmt: skip
    assert experiments.main(arguments) == 2
    assert re.search(r"of another dataset than .*small.* \(old\), whose", capsys.readouterr().err)
    assert sorted(output.rglob("*")) == kept


def test_the_shipped_experiments_are_valid(tmp_path):
    from pathlib import Path

    from tuning.space import train_config

    shipped = Path(experiments.__file__).with_name("experiments_config.json")
    found = experiments.read_experiments(shipped)
    assert len(found) == 11
    configs = [train_config(settings, tmp_path, tmp_path) for settings in found.values()]
    # No two of them are one and the same training.
    assert len(set(configs)) == 11


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "list 'experiments'"),
        ('{"experiments": [{"lr": 1}]}', "experiment 1 needs a name"),
        ('{"experiments": [{"name": "a/b"}]}', "needs a name"),
        ('{"experiments": [{"name": "a"}, {"name": "a"}]}', "two experiments are named 'a'"),
        ('{"experiments": [{"name": "a", "lrr": 1}]}', "'lrr'"),
        ('{"experiments": [{"name": "a", "patch_size": 512}]}', "experiment 'a': --patch-size 512"),
        ('{"experiments": [{"name": "b", "lr": "fast"}]}', "experiment 'b': the training settings"),
    ],
)
def test_lists_that_are_refused(small_dataset, tmp_path, capsys, text, message):
    (tmp_path / "list.json").write_text(text)
    arguments = ["--experiments", str(tmp_path / "list.json"), "--data-dir", str(small_dataset),
                 "--output-dir", str(tmp_path / "out")]  # fmt: skip
    assert experiments.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
