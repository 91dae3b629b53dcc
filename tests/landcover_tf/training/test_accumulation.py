"""Accumulated batches against the larger batch that they are cut from."""

import keras
import numpy as np
import tensorflow as tf

from landcover_tf.losses import SegmentationLoss
from landcover_tf.optimizers import PartedOptimizer
from landcover_tf.training.steps import Stepper


def stepped(image: np.ndarray, label: np.ndarray, batches: int) -> tuple[list, list[np.ndarray]]:
    """Returns losses and norms of two steps on this batch cut into `batches`, and the weights."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([
        keras.Input((8, 8, 3)),
        keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="first"),
        keras.layers.Conv2D(3, 1, name="logits"),
    ])  # fmt: skip
    optimizer = PartedOptimizer(
        # Its steps have the size of the gradient, unlike AdamW's.
        "sgd",
        weight_decay=0.0,
        part_of=lambda v: "all",
        factors={"all": 1.0},
    )
    stepper = Stepper(
        model, SegmentationLoss(kind="ce"), optimizer,
        strategy=tf.distribute.get_strategy(), accumulation=batches,
    )  # fmt: skip
    optimizer.set_learning_rate(0.1)
    parts = zip(np.split(image, batches), np.split(label, batches), strict=True)
    cut = [(tf.constant(i), tf.constant(v)) for i, v in parts]
    said = [[float(value) for value in stepper.train(cut, 0.0)] for _ in range(2)]
    return said, model.get_weights()


def test_two_batches_of_equal_weight_make_the_step_of_both_together():
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 1, (4, 8, 8, 3)).astype(np.float32)
    label = image.argmax(axis=-1).astype(np.uint8)
    whole, weights = stepped(image, label, 1)
    cut, found = stepped(image, label, 2)
    # A second step begins with empty sums.
    np.testing.assert_allclose(cut, whole, rtol=1e-5)
    for one, other in zip(found, weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
