"""Training: from built shards to a run folder; and the trained model back from it.

Importing this package does not import TensorFlow; its functions do.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from landcover_tf.dataset_info import DatasetInfo
from landcover_tf.model_info import ModelSpec
from landcover_tf.run_folder import RunFolder

if TYPE_CHECKING:
    import keras


def load_model(run_dir: str | Path) -> tuple["keras.Model", ModelSpec, DatasetInfo]:
    """Returns the network of a run with its best weights, and what describes it.

    The network computes in float32, whatever precision it was trained in.

    Raises:
        RunError: The folder holds no best weights, or they do not fit the specification.
    """
    from landcover_tf.training.trained import load_trained

    return load_trained(RunFolder(Path(run_dir)))
