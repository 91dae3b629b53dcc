"""What is told of run folders that are not as expected."""

import re
import shlex

import pytest

from landcover_tf import cli, evaluate
from landcover_tf.errors import RunError
from landcover_tf.files import write_json
from landcover_tf.run_folder import RunFolder
from landcover_tf.training.config import TrainConfig


def test_a_copied_run_is_continued_in_the_copy(tmp_path):
    original, copy = tmp_path / "run", tmp_path / "copy"
    config = TrainConfig(data_dir=tmp_path / "data", output_dir=original)
    cli.write_config(config, copy / "config.json")
    with pytest.raises(RunError, match="has not finished") as caught:
        RunFolder(copy).require_finished()
    advice = re.search("`(.+)`", str(caught.value)).group(1)
    words = shlex.split(advice.removeprefix("python -m landcover_tf.train "))
    assert cli.parse(TrainConfig, words, prog="train").output_dir == copy


def test_an_evaluation_that_cannot_be_written_is_told_before_it_begins(tmp_path, capsys):
    run = RunFolder(tmp_path)
    write_json(run.config, {"data_dir": "data"})
    write_json(run.summary, {"status": "finished"})
    for path in (run.dataset, run.model_spec, run.best_weights, tmp_path / "evaluation"):
        path.write_text("")
    assert evaluate.main(["--run-dir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"cannot write into {tmp_path}/evaluation/test: {tmp_path}/evaluation is no" in said
