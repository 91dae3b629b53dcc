"""What is kept from the terminal, and what is not."""

import os
import subprocess
import sys

PROGRAM = """
import sys
from landcover_tf.quiet import settle_onednn, start_tensorflow
start_tensorflow()
import tensorflow as tf
if "settled" in sys.argv:
    settle_onednn()
tf.function(tf.transpose)(tf.constant([[1, 2]]))
print("a real error", file=sys.stderr)
"""


def said(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stderr


def test_onednn_does_not_report_a_missing_avx512_as_an_error():
    """On processors without it, its line stood in the first bar of a training."""
    told = said("settled")
    assert "oneDNN" not in told and told.endswith("a real error\n")
