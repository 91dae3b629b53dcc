"""Number formats: what is chosen where, and float16, whose gradients need a scaled loss."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from fakes.default_loss import segmentation_loss

from landcover_tf.optimizers import PartedOptimizer
from landcover_tf.training import precision
from landcover_tf.training.distributed import choose_devices
from landcover_tf.training.precision import choose_jit, choose_precision, dtype_policy
from landcover_tf.training.steps import Stepper

GPU = [SimpleNamespace(name="/physical_device:GPU:0")]


@pytest.mark.parametrize(
    ("asked", "gpus", "expected"),
    [
        ("auto", [], "float32"),
        ("auto", GPU, "float16"),
        ("float32", GPU, "float32"),
        ("float16", [], "float16"),
        ("bfloat16", [], "bfloat16"),
        ("bfloat16", GPU, "bfloat16"),
    ],
)
def test_the_number_format_follows_the_device_only_when_it_may(monkeypatch, asked, gpus, expected):
    monkeypatch.setattr(precision.tf.config, "list_physical_devices", lambda kind: gpus)
    assert choose_precision(asked) == expected


@pytest.mark.parametrize(
    ("asked", "gpus", "expected"),
    [
        ("auto", [], False), ("auto", GPU, True), ("on", [], True), ("on", GPU, True),
        ("off", [], False), ("off", GPU, False),
    ],
)  # fmt: skip
def test_the_compiler_follows_the_device_only_when_it_may(monkeypatch, asked, gpus, expected):
    monkeypatch.setattr(precision.tf.config, "list_physical_devices", lambda kind: gpus)
    assert choose_jit(asked) is expected


def test_the_policy_ends_with_the_block():
    before = keras.config.dtype_policy().name
    with pytest.raises(RuntimeError, match="inside"), dtype_policy("bfloat16"):
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        raise RuntimeError("inside")
    assert keras.config.dtype_policy().name == before


def batch() -> tuple[tf.Tensor, tf.Tensor]:
    """Returns two patches whose class is their brightest band."""
    image = np.random.default_rng(0).uniform(0, 1, (2, 8, 8, 3)).astype(np.float32)
    return tf.constant(image), tf.constant(image.argmax(axis=-1).astype(np.uint8))


def float16_stepper(seed: int, accumulation: int = 1) -> Stepper:
    """Returns the stepper of a network that computes in float16, up to its logits."""
    keras.utils.set_random_seed(seed)
    with dtype_policy("float16"):
        model = keras.Sequential([
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(8, 3, padding="same", name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.ReLU(name="relu"),
            keras.layers.Conv2D(3, 1, name="logits", dtype="float32"),
        ], name="small")  # fmt: skip
    optimizer = PartedOptimizer(
        "adamw", weight_decay=0.01, part_of=lambda v: "all", factors={"all": 1.0}, scale_loss=True
    )
    stepper = Stepper(
        model,
        segmentation_loss(kind="ce_dice"),
        optimizer,
        strategy=choose_devices("single").strategy,
        clip_norm=1.0,
        accumulation=accumulation,
        ema_decay=0.9,
    )
    optimizer.set_learning_rate(0.02)
    return stepper


def make_steps(stepper: Stepper, number: int) -> list[tuple[float, float]]:
    """Returns loss and norm of the gradient of each step."""
    found = [stepper.train([batch()] * stepper.accumulation, 0.9) for _ in range(number)]
    return [(float(loss), float(norm)) for loss, norm in found]


def test_float16_learns_with_its_loss_scaled():
    stepper = float16_stepper(seed=1)
    kernel = stepper.model.get_layer("first").kernel
    assert kernel.dtype == "float32"
    assert stepper.model.get_layer("first").compute_dtype == "float16"
    found = make_steps(stepper, 12)
    assert np.isfinite(found).all()
    assert found[-1][0] < 0.7 * found[0][0]
    # Large scales stay until steps fail; norms are told without the scale, which is 2**15.
    assert stepper.optimizer.loss_scale() == 2.0**15
    assert all(norm < 100 for _, norm in found)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_gradient_that_overflows_halves_the_scale_and_moves_no_weight(accumulation):
    stepper = float16_stepper(seed=1, accumulation=accumulation)
    make_steps(stepper, 2)
    # float16 ends at 65504, far below any gradient times this.
    before = stepper.state() | {"optimizer/loss_scale": np.array([2.0**40, 2], np.float32)}
    stepper.restore(before)
    ((loss, norm),) = make_steps(stepper, 1)
    assert np.isfinite(loss) and not np.isfinite(norm)
    after = stepper.state()
    assert after["optimizer/loss_scale"].tolist() == [2.0**39, 0]
    moving = {f"model/{v.path}" for v in stepper.model.non_trainable_variables}
    for name, value in before.items():
        if name.startswith(("model/", "optimizer/all/")) and name not in moving:
            np.testing.assert_array_equal(after[name], value, err_msg=name)
    # The overflow leaves nothing behind, in the summed gradients neither.
    stepper.restore(after | {"optimizer/loss_scale": np.array([2.0**10, 0], np.float32)})
    assert np.isfinite(make_steps(stepper, 1)).all()


def test_a_restored_float16_training_goes_on_as_the_first():
    first, second = float16_stepper(seed=1), float16_stepper(seed=2)
    make_steps(first, 2)
    kept = first.state() | {"optimizer/loss_scale": np.array([2.0**12, 2], np.float32)}
    for stepper in (first, second):
        stepper.restore(kept)
        for name, value in stepper.state().items():
            np.testing.assert_array_equal(value, kept[name], err_msg=name)
    assert make_steps(first, 2) == make_steps(second, 2)
    ended, other = first.state(), second.state()
    assert ended["optimizer/loss_scale"].tolist() == [2.0**12, 4]
    for name, value in ended.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)


def test_layers_that_become_trainable_leave_the_scale_alone():
    stepper = float16_stepper(seed=1)
    make_steps(stepper, 1)
    stepper.restore(stepper.state() | {"optimizer/loss_scale": np.array([2.0**12, 7], np.float32)})
    stepper.retrace()
    assert stepper.optimizer.state()["loss_scale"].tolist() == [2.0**12, 7]
