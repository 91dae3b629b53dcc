"""The trained network of a run folder."""

import keras

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.errors import RunError
from landcover_tf.model_spec import ModelSpec
from landcover_tf.models.unet import build_unet
from landcover_tf.run_folder import RunFolder
from landcover_tf.training.precision import dtype_policy


def load_trained(run: RunFolder) -> tuple[keras.Model, ModelSpec, DatasetInfo]:
    """Returns the network with its best weights, its specification and its dataset's description.

    The network computes in float32, whatever precision it was trained in.

    Args:
        run: A finished run; see `RunFolder.require_finished`.

    Raises:
        RunError: The weights do not fit the specification.
    """
    spec, info = ModelSpec.load(run.model_spec), DatasetInfo.load(run.dataset)
    with dtype_policy("float32"):
        model = build_unet(spec)
    try:
        model.load_weights(run.best_weights)
    except (ValueError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(
            f"{run.best_weights} does not fit {run.model_spec.name}: {reason}"
        ) from error
    model.trainable = False
    return model, spec, info
