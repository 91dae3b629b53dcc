"""The confusion matrix of a batch on any Keras backend, inside a compiled step.

The scores of summed matrices are those of `landcover_tf.accuracy.scores`.
"""

from typing import Any

import keras
from keras import ops


def confusion(labels: Any, outputs: Any, num_classes: int) -> Any:
    """Returns pixel counts by true class (row) and predicted class, integer [classes, classes].

    The counts are integers: float32 stops counting at 16.7 million pixels, which 256 patches
    already hold.

    Args:
        labels: Dense labels, integer [batch, height, width]; what is no class does not count.
        outputs: Logits or probabilities [batch, height, width, classes].
        num_classes: Number of classes.
    """
    labels = ops.cast(labels, "int32")
    valid = ops.logical_and(labels >= 0, labels < num_classes)
    truth = ops.one_hot(ops.where(valid, labels, 0), num_classes, dtype="float32")
    truth = truth * ops.expand_dims(ops.cast(valid, "float32"), -1)
    found = ops.one_hot(ops.argmax(outputs, axis=-1), num_classes, dtype="float32")
    # A product per image stays exact in float32, and compiles under XLA where bincount fails.
    counts = ops.einsum("bhwt,bhwp->btp", truth, found)
    return ops.sum(ops.cast(ops.round(counts), _count_dtype()), axis=0)


def _count_dtype() -> str:
    # JAX has no 64-bit integers unless it is told so globally.
    return "int32" if keras.backend.backend() == "jax" else "int64"
