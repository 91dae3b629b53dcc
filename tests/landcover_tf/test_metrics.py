"""The confusion matrix of a batch against that of numpy, eagerly and compiled."""

import numpy as np
import pytest
import tensorflow as tf

from landcover_tf.accuracy.scores import confusion_matrix
from landcover_tf.metrics import confusion

CLASSES = 4
IGNORED = 255


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    """Labels uint8 [2, 6, 5] without class 3, some ignored, and logits."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES - 1, (2, 6, 5)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.3] = IGNORED
    return labels, rng.normal(size=(2, 6, 5, CLASSES)).astype(np.float32)


@pytest.mark.parametrize("jit_compile", [None, False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_counts_are_those_of_numpy(batch, jit_compile, dtype):
    labels, logits = batch[0], batch[1].astype(dtype)
    count = confusion if jit_compile is None else tf.function(confusion, jit_compile=jit_compile)
    found = count(tf.constant(labels), tf.constant(logits), CLASSES)
    assert found.dtype == "int64"
    np.testing.assert_array_equal(found, confusion_matrix(labels, logits.argmax(axis=-1), CLASSES))


def test_rows_are_the_truth():
    labels = np.array([[[0, 0, 1, IGNORED]]])
    outputs = np.eye(3)[np.array([[[0, 2, 1, 1]]])]
    assert confusion(labels, outputs, 3).numpy().tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
