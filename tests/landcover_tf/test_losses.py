"""Losses against plain numpy, by hand, and by the laws they must obey."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from fakes.default_loss import segmentation_loss
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from landcover_tf.errors import ConfigError
from landcover_tf.loss_settings import LOSS_KINDS, LossSettings
from landcover_tf.losses import near_boundary
from landcover_tf.training.config import TrainConfig

IGNORED = 255
CLASSES = 4


def batch(seed: int = 0, ignored: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels uint8 [2, 8, 8] without class 3, and logits float32 [2, 8, 8, 4]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES - 1, (2, 8, 8)).astype(np.uint8)
    labels[rng.random(labels.shape) < ignored] = IGNORED
    return labels, rng.normal(0, 2, (2, 8, 8, CLASSES)).astype(np.float32)


def value(loss, labels, logits) -> float:
    return float(loss(labels, logits))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def valid_pixels(labels, logits) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels [n] and probabilities [n, classes] of the valid pixels."""
    valid = labels != IGNORED
    return labels[valid].astype(int), softmax(logits)[valid]


def test_cross_entropy_by_hand():
    # Two valid pixels: p = 1/2 for the true class of the first, p = 1/4 for that of the second.
    logits = np.log([[[[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]]])
    labels = np.array([[[0, 1, IGNORED]]])
    expected = (np.log(2) + np.log(4)) / 2
    assert value(segmentation_loss(kind="ce"), labels, logits) == pytest.approx(expected)
    # Weights 1 and 3: (1 * log 2 + 3 * log 4) / 4, not / 2.
    weighted = segmentation_loss(kind="ce", class_weights=(1, 3, 7))
    assert value(weighted, labels, logits) == pytest.approx((np.log(2) + 3 * np.log(4)) / 4)


def test_cross_entropy_equals_keras_with_ignored_class():
    labels, logits = batch()
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=IGNORED)
    assert value(segmentation_loss(kind="ce"), labels, logits) == pytest.approx(
        float(theirs(labels, logits)), rel=1e-5
    )


def test_label_smoothing_equals_keras():
    labels, logits = batch(ignored=0)
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    ours = segmentation_loss(kind="ce", label_smoothing=0.1)
    expected = float(theirs(np.eye(CLASSES)[labels], logits))
    assert value(ours, labels, logits) == pytest.approx(expected, rel=1e-5)


def test_focal_equals_its_definition():
    labels, logits = batch()
    classes, probability = valid_pixels(labels, logits)
    own = probability[np.arange(len(classes)), classes]
    expected = np.mean(-((1 - own) ** 2) * np.log(own))
    assert value(segmentation_loss(kind="focal"), labels, logits) == pytest.approx(
        expected, rel=1e-5
    )
    without_gamma = value(segmentation_loss(kind="focal", focal_gamma=0), labels, logits)
    assert without_gamma == pytest.approx(value(segmentation_loss(kind="ce"), labels, logits))


@pytest.mark.parametrize(
    ("kind", "alpha", "beta", "power"),
    [("dice", 0.5, 0.5, 1), ("tversky", 0.3, 0.7, 1), ("focal_tversky", 0.3, 0.7, 0.75)],
)
def test_overlap_losses_equal_their_definition(kind, alpha, beta, power):
    labels, logits = batch()
    classes, probability = valid_pixels(labels, logits)
    terms = []
    for c in range(CLASSES - 1):  # Class 3 has no pixel and must not count.
        truth, found = (classes == c).astype(float), probability[:, c]
        overlap = (truth * found).sum()
        false_positive, false_negative = found.sum() - overlap, truth.sum() - overlap
        index = (overlap + 1) / (overlap + alpha * false_positive + beta * false_negative + 1)
        terms.append((1 - index) ** power)
    assert value(segmentation_loss(kind=kind), labels, logits) == pytest.approx(
        np.mean(terms), rel=1e-5
    )


def lovasz_by_definition(labels, logits) -> float:
    """Sums errors times the growth of 1 - IoU as mispredicted pixels are added one by one."""
    classes, probability = valid_pixels(labels, logits)
    losses = []
    for c in np.unique(classes):
        truth = classes == c
        errors = np.abs(truth - probability[:, c])
        missed, jaccard_before, total = np.zeros(len(classes), bool), 0.0, 0.0
        for pixel in np.argsort(-errors, kind="stable"):
            missed[pixel] = True
            intersection = (truth & ~missed).sum()
            union = (truth | missed).sum()
            jaccard = 1 - intersection / union
            total += errors[pixel] * (jaccard - jaccard_before)
            jaccard_before = jaccard
        losses.append(total)
    return float(np.mean(losses))


def test_lovasz_equals_its_definition():
    labels, logits = batch()
    expected = lovasz_by_definition(labels, logits)
    assert value(segmentation_loss(kind="lovasz"), labels, logits) == pytest.approx(
        expected, rel=1e-5
    )


def test_lovasz_of_certain_predictions_is_one_minus_mean_iou():
    # Truth 0 0 1 1, predicted 0 1 1 1: IoU 1/2 and 2/3.
    logits = 100 * np.eye(2)[np.array([[[0, 1, 1, 1]]])]
    labels = np.array([[[0, 0, 1, 1]]])
    expected = 1 - (1 / 2 + 2 / 3) / 2
    assert value(segmentation_loss(kind="lovasz"), labels, logits) == pytest.approx(expected)


def test_two_terms_are_weighted():
    labels, logits = batch()
    parts = {kind: value(segmentation_loss(kind=kind), labels, logits) for kind in ("ce", "dice")}
    both = segmentation_loss(kind="ce_dice", ce_weight=0.7, dice_weight=0.2)
    expected = 0.7 * parts["ce"] + 0.2 * parts["dice"]
    assert value(both, labels, logits) == pytest.approx(expected)


def gradient(loss, labels, logits) -> np.ndarray:
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        total = loss(labels, variable)
    return np.asarray(tape.gradient(total, variable))


@pytest.mark.parametrize("kind", LOSS_KINDS)
def test_no_valid_pixel_costs_exactly_zero_and_moves_nothing(kind):
    _, logits = batch()
    logits[0, 0, 0] = np.nan
    labels = np.full((2, 8, 8), IGNORED, np.uint8)
    loss = segmentation_loss(kind=kind, class_weights=(1, 2, 3, 4), boundary_weight=1)
    assert value(loss, labels, logits) == 0.0
    assert not gradient(loss, labels, logits).any()


@pytest.mark.parametrize("kind", LOSS_KINDS)
def test_ignored_pixels_change_neither_loss_nor_gradient(kind):
    labels, logits = batch()
    other = logits.copy()
    other[labels == IGNORED] = np.inf
    loss = segmentation_loss(kind=kind, boundary_weight=0.5)
    assert value(loss, labels, other) == value(loss, labels, logits)
    negative = np.where(labels == IGNORED, -1, labels.astype(int))
    assert value(loss, negative, logits) == value(loss, labels, logits)
    slope = gradient(loss, labels, logits)
    assert np.isfinite(slope).all()
    assert slope[labels == IGNORED].any() == np.False_
    assert slope[labels != IGNORED].any()


@pytest.mark.parametrize("kind", LOSS_KINDS)
def test_gradient_equals_finite_differences(kind):
    labels, logits = batch(seed=4)
    loss = segmentation_loss(kind=kind, class_weights=(1, 2, 3, 4), label_smoothing=0.05)
    direction = np.random.default_rng(5).normal(size=logits.shape).astype(np.float32)
    step = 1e-2
    slope = (
        value(loss, labels, logits + step * direction)
        - value(loss, labels, logits - step * direction)
    ) / (2 * step)
    expected = float((gradient(loss, labels, logits) * direction).sum())
    assert slope == pytest.approx(expected, rel=2e-2, abs=1e-3)


@pytest.mark.parametrize("kind", LOSS_KINDS)
def test_perfect_predictions_cost_next_to_nothing_and_have_a_slope(kind):
    labels, _ = batch()
    logits = 40 * np.eye(CLASSES, dtype=np.float32)[np.where(labels == IGNORED, 0, labels)]
    loss = segmentation_loss(kind=kind, focal_gamma=0.5)
    assert 0 <= value(loss, labels, logits) < 1e-4
    assert np.isfinite(gradient(loss, labels, logits)).all()


@settings(max_examples=15)
@given(seed=st.integers(0, 999), kind=st.sampled_from(sorted(LOSS_KINDS)))
def test_loss_does_not_depend_on_the_order_of_images(seed, kind):
    labels, logits = batch(seed)
    loss = segmentation_loss(kind=kind)
    turned = value(loss, labels[::-1].copy(), logits[::-1].copy())
    assert turned == pytest.approx(value(loss, labels, logits), rel=1e-5)


def test_half_precision_logits_of_a_large_batch_do_not_overflow():
    # 2 * 256 * 256 pixels of one class: their count alone exceeds what float16 can hold.
    labels = np.zeros((2, 256, 256), np.uint8)
    logits = np.zeros((2, 256, 256, CLASSES), np.float16)
    for kind in ("ce_dice", "ce_lovasz", "ce_tversky"):
        loss = segmentation_loss(kind=kind)
        result = loss(labels, ops.convert_to_tensor(logits))
        assert keras.backend.standardize_dtype(result.dtype) == "float32"
        assert value(loss, labels, logits.astype(np.float32)) == pytest.approx(float(result))
    # p = 1/4 everywhere: Dice of the one class is 2 * n/4 / (n + n/4) = 0.4.
    assert value(segmentation_loss(kind="dice"), labels, logits) == pytest.approx(0.6, abs=1e-4)


@pytest.mark.parametrize("kind", ["ce_dice", "focal", "focal_tversky", "lovasz"])
def test_compiled_with_xla_gives_the_same(kind):
    labels, logits = batch()
    loss = segmentation_loss(kind=kind, boundary_weight=1, class_weights=(1, 2, 3, 4))
    compiled = tf.function(lambda y, p: loss(y, p), jit_compile=True)
    result = float(compiled(tf.constant(labels), tf.constant(logits)))
    assert result == pytest.approx(value(loss, labels, logits), rel=1e-5)


def test_mixed_precision_policy_keeps_float32():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        labels, logits = batch()
        result = segmentation_loss()(labels, ops.cast(logits, "float16"))
        assert keras.backend.standardize_dtype(result.dtype) == "float32"
    finally:
        keras.config.set_dtype_policy(policy)


def test_settings_survive_serialization():
    loss = segmentation_loss(kind="focal_dice", class_weights=(1, 2, 3, 4), boundary_weight=2)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    labels, logits = batch()
    assert value(again, labels, logits) == value(loss, labels, logits)


def test_a_serialized_loss_of_earlier_versions_loads():
    """The settings were parameters then; the form is that of `keras.losses.serialize`."""
    settings_ = {
        "kind": "focal_dice", "ce_weight": 0.5, "dice_weight": 0.25,
        "class_weights": [1.0, 2.0, 3.0, 4.0], "label_smoothing": 0.0, "focal_gamma": 2.0,
        "tversky_alpha": 0.3, "tversky_beta": 0.7, "tversky_gamma": 0.75, "boundary_weight": 2.0,
        "boundary_px": 2,
    }  # fmt: skip
    config = {"name": "segmentation_loss", "reduction": "sum_over_batch_size", **settings_}
    name = "SegmentationLoss"
    form = {"module": "landcover_tf.losses", "class_name": name,
            "config": config, "registered_name": f"landcover_tf>{name}"}  # fmt: skip
    loss = keras.losses.deserialize(form)
    assert loss.settings == LossSettings(**settings_)
    assert keras.losses.serialize(loss) == form


def test_replicas_joined_by_sums_get_the_loss_of_the_whole_batch():
    """Two parts of unequal validity; a replica alone would weigh its pixels too high.

    The own part lacks class 2, which the other one has.
    """
    labels, logits = batch()
    labels[0, :6] = IGNORED
    labels[0][labels[0] == 2] = 1
    for kind in ("ce", "dice", "ce_dice", "focal_tversky"):
        loss = segmentation_loss(kind=kind, class_weights=(1, 5, 2, 1))
        whole = value(loss, labels, logits)
        sums = [sums_of_replica(loss, labels[i : i + 1], logits[i : i + 1]) for i in (0, 1)]
        totals = iter([a + b for a, b in zip(*sums, strict=True)])
        loss.cross_replica_sum = lambda _, totals=totals: ops.convert_to_tensor(next(totals))
        assert value(loss, labels[:1], logits[:1]) == pytest.approx(whole, rel=1e-5)


def sums_of_replica(loss, labels, logits) -> list[np.ndarray]:
    """Returns what a replica offers to the others, in order."""
    offered: list[np.ndarray] = []

    def offer(values):
        offered.append(ops.convert_to_numpy(values))
        return values

    loss.cross_replica_sum = offer
    loss(labels, logits)
    return offered


def test_keras_divides_the_loss_among_replicas():
    """Keras scales what it reduces itself, which a scalar escapes."""
    labels, logits = batch()
    assert tuple(segmentation_loss().call(ops.convert_to_tensor(labels), logits).shape) == (1,)


def test_boundary_by_hand():
    labels = np.array([[[0, 0, 0, 1, 1, 1]] * 3], np.int32)
    valid = np.ones_like(labels, np.float32)
    one = ops.convert_to_numpy(near_boundary(ops.convert_to_tensor(labels), valid, 1))
    assert one[0].tolist() == [[0, 0, 1, 1, 0, 0]] * 3
    two = ops.convert_to_numpy(near_boundary(ops.convert_to_tensor(labels), valid, 2))
    assert two[0].tolist() == [[0, 1, 1, 1, 1, 0]] * 3
    # Against ignored pixels there is no boundary, and they carry no weight.
    valid[..., 3:] = 0
    none = ops.convert_to_numpy(near_boundary(ops.convert_to_tensor(labels), valid, 2))
    assert not none.any()


@pytest.mark.parametrize("reach", [1, 2, 3])
def test_boundary_equals_brute_force(reach):
    rng = np.random.default_rng(reach)
    labels = rng.choice([0, 3], (2, 13, 11), p=[0.93, 0.07]).astype(np.int32)
    valid = (rng.random(labels.shape) < 0.8).astype(np.float32)
    expected = np.zeros_like(valid)
    for image, row, col in np.argwhere(valid > 0):
        window = np.s_[
            image, max(row - reach, 0) : row + reach + 1, max(col - reach, 0) : col + reach + 1
        ]
        other = (labels[window] != labels[image, row, col]) & (valid[window] > 0)
        expected[image, row, col] = other.any()
    assert 0 < expected.mean() < valid.mean()
    found = near_boundary(ops.convert_to_tensor(labels), ops.convert_to_tensor(valid), reach)
    np.testing.assert_array_equal(ops.convert_to_numpy(found), expected)


def test_lovasz_of_a_replica_leaves_out_classes_of_the_others():
    labels, logits = batch()
    alone = value(segmentation_loss(kind="lovasz"), labels[:1], logits[:1])
    joined = segmentation_loss(kind="lovasz")
    # Class 3 is present on another replica only.
    joined.cross_replica_sum = lambda values: values + ops.ones_like(values)
    assert value(joined, labels[:1], logits[:1]) == alone


@pytest.mark.parametrize(("reach", "weights"), [(1, [1, 1, 3, 3]), (2, [1, 3, 3, 3])])
def test_boundary_pixels_weigh_more(reach, weights):
    labels = np.array([[[0, 0, 0, 1]]])
    logits = np.log([[[[0.5, 0.5], [0.5, 0.5], [0.25, 0.75], [0.5, 0.5]]]])
    expected = np.average(np.log([2, 2, 4, 2]), weights=weights)
    loss = segmentation_loss(kind="ce", boundary_weight=2, boundary_px=reach)
    assert value(loss, labels, logits) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"kind": "mse"}, "--loss must be one of ce, focal"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\)"),
        ({"ce_weight": -1.0}, "ce_weight must not be negative"),
        (
            {"kind": "ce_tversky", "ce_weight": 0.0, "dice_weight": 0.0},
            "ce_weight or dice_weight must be positive for the loss ce_tversky",
        ),
        ({"tversky_beta": 0.0}, "tversky_beta must be positive"),
        ({"class_weights": (1, -2)}, "must not be negative"),
        ({"focal_gamma": float("nan")}, "focal_gamma must not be negative"),
    ],
)
def test_bad_settings_are_refused(settings_, message):
    with pytest.raises(ConfigError, match=message):
        segmentation_loss(**settings_)


def test_the_config_of_a_training_refuses_them_itself():
    with pytest.raises(ConfigError, match="label_smoothing must be in"):
        TrainConfig(data_dir=Path(), output_dir=Path(), label_smoothing=1.0)


def test_wrong_number_of_class_weights_is_refused():
    labels, logits = batch()
    with pytest.raises(ConfigError, match="expected 4 class weights, one per class, got 2"):
        segmentation_loss(class_weights=(1, 2))(labels, logits)
