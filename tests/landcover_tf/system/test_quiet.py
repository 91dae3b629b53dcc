"""What is kept from the terminal, and what is not."""

import json
import os
import subprocess
import sys

PROGRAM = """
import sys
from landcover_tf.system.quiet import settle_onednn, start_tensorflow
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


def test_keras_starts_as_we_need_it_and_alone(tmp_path):
    theirs = {"backend": "jax", "image_data_format": "channels_first", "floatx": "float16"}
    (tmp_path / "keras.json").write_text(json.dumps(theirs))
    program = """
import sys
from landcover_tf.system.quiet import start_keras
start_keras()
import keras
layer = keras.layers.Conv2D(4, 3)
layer.build((None, 8, 8, 2))
print(keras.config.backend(), layer.data_format, layer.dtype, layer.kernel.shape)
print(sorted({"sklearn", "matplotlib", "scipy.stats"} & set(sys.modules)))  # Keras would.
from matplotlib import pyplot
from sklearn.ensemble import RandomForestRegressor
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "torch"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["tensorflow channels_last float32 (3, 3, 2, 4)", "[]"]
