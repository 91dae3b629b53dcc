"""The network of a run, for notebooks."""

from pathlib import Path
from typing import TYPE_CHECKING

from landcover_tf.run_folder import RunFolder
from landcover_tf.system.quiet import start_keras

if TYPE_CHECKING:
    import keras


def load_model(run_dir: Path) -> "keras.Model":
    """Returns the U-Net of a finished run with the weights of its best epoch.

    It takes reflectance, float32 [batch, height, width, bands], height and width multiples of 32,
    and gives logits [batch, height, width, classes], without the calibration.

    Raises:
        RunError: The run is unfinished, or its weights do not fit its specification.
    """
    run = RunFolder(run_dir)
    run.require_finished()
    start_keras()
    from landcover_tf.training.trained import load_trained

    return load_trained(run)[0]
