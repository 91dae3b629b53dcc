"""What is told of run folders that are not as expected."""

import re
import shlex

import pytest

from landcover_tf import cli
from landcover_tf.errors import RunError
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
