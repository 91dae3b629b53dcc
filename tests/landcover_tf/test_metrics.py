"""The streaming confusion matrix against the numpy scores, in and out of `fit`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from landcover_tf.accuracy.scores import confusion_matrix, scores
from landcover_tf.metrics import STATISTICS, ConfusionMatrix, segmentation_metrics

CLASSES = 4
IGNORED = 255


def batches(count: int = 3):
    """Yields labels uint8 [2, 6, 5] without class 3, some ignored, and logits."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        labels = rng.integers(0, CLASSES - 1, (2, 6, 5)).astype(np.uint8)
        labels[rng.random(labels.shape) < 0.3] = IGNORED
        yield labels, rng.normal(size=(2, 6, 5, CLASSES)).astype(np.float32)


def reference() -> np.ndarray:
    return sum(
        confusion_matrix(labels, logits.argmax(axis=-1), CLASSES) for labels, logits in batches()
    )


def numpy_value(statistic: str) -> float:
    found = scores(reference())
    if statistic in ("mean_precision", "mean_recall"):
        return found.macro(statistic.removeprefix("mean_"))
    return getattr(found, statistic)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_statistics_equal_the_numpy_scores(statistic):
    metric = ConfusionMatrix(CLASSES, statistic)
    for labels, logits in batches():
        metric.update_state(labels, logits)
    np.testing.assert_array_equal(metric.matrix(), reference())
    assert float(metric.result()) == pytest.approx(numpy_value(statistic), rel=1e-6)
    assert metric.name == statistic


def test_absent_classes_do_not_raise_the_mean():
    metric = ConfusionMatrix(3)
    labels = np.array([[[0, 0, 1, 1]]])
    metric.update_state(labels, np.eye(3)[np.array([[[0, 1, 1, 1]]])])
    # IoU 1/2 and 2/3; class 2 occurs nowhere.
    assert float(metric.result()) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_nothing_counted_is_nan_and_reset_starts_again():
    metric = ConfusionMatrix(CLASSES, "overall_accuracy")
    assert np.isnan(float(metric.result()))
    for labels, logits in batches(1):
        metric.update_state(np.full_like(labels, IGNORED), logits)
        assert np.isnan(float(metric.result()))
        metric.update_state(labels, logits)
    assert metric.matrix().any()
    metric.reset_state()
    assert not metric.matrix().any()


def test_counts_beyond_float32_are_exact():
    metric = ConfusionMatrix(2)
    metric.counts.assign(ops.convert_to_tensor([[2**25, 0], [0, 0]], dtype="int64"))
    metric.update_state(np.zeros((1, 1, 1)), np.array([[[[1.0, 0.0]]]]))
    assert metric.matrix()[0, 0] == 2**25 + 1


def test_zero_sample_weight_leaves_pixels_out():
    labels, logits = next(batches(1))
    weight = np.random.default_rng(1).integers(0, 2, labels.shape)
    metric = ConfusionMatrix(CLASSES)
    metric.update_state(labels, logits, sample_weight=weight)
    expected = confusion_matrix(
        np.where(weight > 0, labels, IGNORED), logits.argmax(axis=-1), CLASSES
    )
    np.testing.assert_array_equal(metric.matrix(), expected)


@pytest.mark.parametrize(("policy", "jit_compile"), [("float32", True), ("mixed_float16", False)])
def test_scalars_in_fit_and_evaluate(policy, jit_compile):
    image = keras.Input((6, 5, CLASSES))
    logits = keras.layers.Identity(dtype=policy)(image)
    model = keras.Model(image, logits)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=IGNORED),
        metrics=segmentation_metrics(CLASSES),
        jit_compile=jit_compile,
    )
    labels, inputs = (np.concatenate(parts) for parts in zip(*batches(), strict=True))
    found = model.evaluate(inputs, labels, batch_size=2, verbose=0, return_dict=True)
    for statistic in ("mean_iou", "mean_f1", "overall_accuracy"):
        assert found[statistic] == pytest.approx(numpy_value(statistic), rel=1e-5)


def test_survives_serialization_and_saving(tmp_path):
    metric = ConfusionMatrix(CLASSES, "mean_f1", name="f1")
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert again.get_config() == metric.get_config()
    image = keras.Input((6, 5, CLASSES))
    model = keras.Model(image, keras.layers.Conv2D(CLASSES, 1)(image))
    model.compile(loss="mse", metrics=[metric])
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").output_shape[-1] == CLASSES


def test_replicas_are_summed():
    cpu = tf.config.list_logical_devices("CPU")[0].name
    strategy = tf.distribute.MirroredStrategy([cpu])
    with strategy.scope():
        metric = ConfusionMatrix(CLASSES)
    labels, logits = next(batches(1))
    strategy.run(metric.update_state, (tf.constant(labels), tf.constant(logits)))
    expected = confusion_matrix(labels, logits.argmax(axis=-1), CLASSES)
    np.testing.assert_array_equal(metric.matrix(), expected)


def test_all_scores_of_a_metric():
    metric = ConfusionMatrix(CLASSES)
    for labels, logits in batches():
        metric.update_state(labels, logits)
    assert metric.scores().mean_iou == pytest.approx(scores(reference()).mean_iou)


def test_unknown_statistic_is_refused():
    with pytest.raises(ValueError, match="expected a statistic of"):
        ConfusionMatrix(3, "kappa")
