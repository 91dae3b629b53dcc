"""What is told of run folders that are not as expected."""

import re
import shlex

import pytest
from fakes.small_dataset import write_small_dataset

from landcover_tf import evaluate
from landcover_tf.configs import cli, config_files
from landcover_tf.errors import RunError
from landcover_tf.report import sections
from landcover_tf.run_folder import RunFolder
from landcover_tf.system.files import write_json
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.learning_curves import learning_curves


def test_a_copied_run_is_continued_in_the_copy(tmp_path):
    original, copy = tmp_path / "run", tmp_path / "copy"
    config = TrainConfig(data_dir=tmp_path / "data", output_dir=original)
    config_files.write_config(config, copy / "config.json")
    with pytest.raises(RunError, match="has not finished") as caught:
        RunFolder(copy).require_finished()
    advice = re.search("`(.+)`", str(caught.value)).group(1)
    words = shlex.split(advice.removeprefix("landcover train "))
    assert cli.parse(TrainConfig, words, prog="train").output_dir == copy


def test_an_evaluation_that_cannot_be_written_is_told_before_it_begins(tmp_path, capsys):
    run = RunFolder(tmp_path)
    write_json(run.dataset, write_small_dataset(tmp_path / "data", train=1).to_dict())
    write_json(run.config, {"data_dir": str(tmp_path / "data")})
    write_json(run.summary, {"status": "finished"})
    for path in (run.model_spec, run.best_weights, tmp_path / "evaluation"):
        path.write_text("")
    assert evaluate.main(["--run-dir", str(tmp_path), "--split", "val"]) == 2
    said = capsys.readouterr().err
    assert f"cannot write into {tmp_path}/evaluation/val: {tmp_path}/evaluation is no" in said


@pytest.mark.parametrize("epochs", [1, 2, 3, 40])
def test_the_ticks_of_learning_curves_are_whole_epochs(epochs):
    figure = learning_curves([{"epoch": n, "train_loss": 1 / n} for n in range(1, epochs + 1)], 1)
    for axis in figure.axes:
        ticks = axis.get_xticks()
        assert (ticks % 1 == 0).all() and ((ticks >= 1) & (ticks <= epochs)).any()


def test_the_history_comes_back_as_it_was_written(tmp_path):
    run = RunFolder(tmp_path)
    history = [
        {"epoch": 1.0, "val_loss": 0.25, "val_mean_iou": None},
        {"epoch": 2.0, "val_loss": 0.125, "val_mean_iou": 0.5},
    ]
    run.write_history(history)
    assert run.history.read_text() == "epoch,val_loss,val_mean_iou\n1,0.25,\n2,0.125,0.5\n"
    assert run.read_history() == history


def test_a_column_that_the_first_epoch_lacks_is_in_the_history(tmp_path):
    run = RunFolder(tmp_path)
    run.write_history([{"epoch": 1.0}, {"epoch": 2.0, "input_wait_fraction": 0.25}])
    assert run.history.read_text() == "epoch,input_wait_fraction\n1,\n2,0.25\n"


@pytest.mark.parametrize("text", [None, "epoch\nfirst\n", "epoch\n1,2\n"])
def test_a_history_that_is_none_is_named(tmp_path, text):
    run = RunFolder(tmp_path)
    if text is not None:
        run.history.write_text(text)
    with pytest.raises(RunError, match=r"cannot read .*history\.csv"):
        run.read_history()


def test_the_report_draws_the_history_of_a_run(tmp_path):
    run = RunFolder(tmp_path)
    write_json(run.summary, {"best_epoch": 1})
    assert sections.learning(run) is None
    # A run of an earlier version may lack a column.
    run.write_history([{"epoch": 1, "train_loss": 2.0, "val_loss": None, "val_mean_iou": 0.5}])
    (picture,) = sections.learning(run).pictures
    assert picture.url.startswith("data:image/png;base64,")
    figure = learning_curves(run.read_history(), best_epoch=1)
    labels = [text.get_text() for axis in figure.axes for text in axis.get_legend().get_texts()]
    assert labels == ["train loss", "val loss", "val mean iou", "val mean f1",
                      "val overall accuracy", "learning rate"]  # fmt: skip
