"""Accumulated batches against the larger batch that they are cut from; clipped gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from fakes.default_loss import segmentation_loss

from landcover_tf.optimizers import PartedOptimizer
from landcover_tf.training.steps import Stepper


def make_stepper(batches: int, *, scale_loss: bool = False, **settings) -> Stepper:
    """Returns the stepper of a small network under plain gradient descent."""
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
        scale_loss=scale_loss,
    )
    stepper = Stepper(
        model, segmentation_loss(kind="ce"), optimizer,
        strategy=tf.distribute.get_strategy(), accumulation=batches, **settings,
    )  # fmt: skip
    optimizer.set_learning_rate(0.1)
    return stepper


def random_batch() -> tuple[np.ndarray, np.ndarray]:
    """Returns four patches whose class is their brightest band."""
    image = np.random.default_rng(0).uniform(0, 1, (4, 8, 8, 3)).astype(np.float32)
    return image, image.argmax(axis=-1).astype(np.uint8)


def cuts_of(image: np.ndarray, label: np.ndarray, batches: int) -> list:
    parts = zip(np.split(image, batches), np.split(label, batches), strict=True)
    return [(tf.constant(i), tf.constant(v)) for i, v in parts]


def stepped(batches: int, **settings) -> tuple[list, list[np.ndarray]]:
    """Returns losses and norms of two steps on a batch cut into `batches`, and the weights."""
    stepper, cut = make_stepper(batches, **settings), cuts_of(*random_batch(), batches)
    said = [[float(value) for value in stepper.train(cut, 0.0)] for _ in range(2)]
    return said, stepper.model.get_weights()


@pytest.mark.parametrize("jit", [False, True])
def test_two_batches_of_equal_weight_make_the_step_of_both_together(jit):
    whole, weights = stepped(1)
    cut, found = stepped(2, jit=jit)
    # A second step begins with empty sums.
    np.testing.assert_allclose(cut, whole, rtol=1e-5)
    for one, other in zip(found, weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_accumulated_batches_are_compiled_like_the_last(jit):
    """Only the last batch of a step was compiled."""
    stepper, (batch, _) = make_stepper(2, jit=jit), cuts_of(*random_batch(), 2)
    for function, arguments in (
        (stepper._accumulate, (batch,)),
        (stepper._train, (batch, tf.constant(0.0))),
    ):
        graph = function.get_concrete_function(*arguments).graph.as_graph_def()
        assert any(node.attr["_XlaMustCompile"].b for node in graph.node) == jit


@pytest.mark.parametrize("scale_loss", [False, True])
@pytest.mark.parametrize("clip_norm", [0.0, 0.01, 100.0])
def test_a_long_gradient_is_shortened_to_the_clip_norm(clip_norm, scale_loss):
    stepper = make_stepper(1, clip_norm=clip_norm, scale_loss=scale_loss)
    before = stepper.model.get_weights()
    _, norm = stepper.train(cuts_of(*random_batch(), 1), 0.0)
    assert 0.02 < norm < 50
    moved = [a - b for a, b in zip(stepper.model.get_weights(), before, strict=True)]
    # The first step of Nesterov's momentum 0.9 is 1.9 gradients times the rate, which is 0.1.
    expected = 0.19 * (0.01 if clip_norm == 0.01 else float(norm))
    assert np.sqrt(sum((m**2).sum() for m in moved)) == pytest.approx(expected, rel=1e-3)
