"""Reliability against sums by hand; fits against parameters that made the labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax

from landcover_tf.accuracy.calibration import (
    CLASS_PIXELS,
    Reliability,
    at_limit,
    fit_temperature,
    fit_vector,
    negative_log_likelihood,
    softmax,
)


def drawn(classes: int = 4, pixels: int = 60_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns calibrated logits and labels drawn from their probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (pixels, classes))
    # The class of the largest logit plus Gumbel noise follows the softmax.
    return logits, (logits + rng.gumbel(size=logits.shape)).argmax(axis=-1)


def test_reliability_by_hand():
    confidence = np.array([0.1, 0.9, 0.95, 0.5, 1.0])
    correct = np.array([False, True, False, True, True])
    found = Reliability.of(confidence, correct, bins=2)
    # A value on an edge belongs to the bin below it: 0.1 and 0.5; 0.9, 0.95 and 1.
    np.testing.assert_array_equal(found.count, [2, 3])
    np.testing.assert_array_equal(found.correct, [1, 2])
    np.testing.assert_allclose(found.confidence, [0.6, 2.85])
    assert found.error == pytest.approx((0.4 + 0.85) / 5)
    np.testing.assert_allclose(found.accuracy, [1 / 2, 2 / 3])
    np.testing.assert_allclose(found.mean_confidence, [0.3, 0.95])


def test_no_pixels_have_no_error():
    assert np.isnan(Reliability.of(np.zeros(0), np.zeros(0, bool)).error)


def test_reliability_of_each_class_by_hand():
    probability = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    found = Reliability.by_class(probability, np.array([0, 1, 1]), bins=1)
    np.testing.assert_array_equal(found.count, [[3], [3]])
    np.testing.assert_array_equal(found.correct, [[1], [2]])
    np.testing.assert_allclose(found.error, [0.7 / 3, 0.7 / 3])


@given(st.data())
def test_batches_add_up(data):
    n = data.draw(st.integers(0, 40))
    confidence = data.draw(hnp.arrays(float, n, elements=st.floats(0, 1)))
    correct = data.draw(hnp.arrays(bool, n))
    cut = data.draw(st.integers(0, n))
    whole = Reliability.of(confidence, correct)
    parts = Reliability.of(confidence[:cut], correct[:cut]) + Reliability.of(
        confidence[cut:], correct[cut:]
    )
    for name in ("count", "confidence", "correct"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-9)


def test_likelihood_is_that_of_scipy():
    logits, label = drawn(pixels=50)
    expected = -log_softmax(logits * 30, axis=-1)[np.arange(50), label].mean()
    assert negative_log_likelihood(logits * 30, label) == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoiled_the_logits_is_found(temperature):
    logits, label = drawn()
    assert fit_temperature(logits * temperature, label) == pytest.approx(temperature, rel=0.03)


def test_without_pixels_nothing_is_changed():
    empty = np.zeros((0, 3)), np.zeros(0, int)
    assert fit_temperature(*empty) == 1
    scale, bias = fit_vector(*empty)
    np.testing.assert_array_equal([scale, bias], [[1, 1, 1], [0, 0, 0]])


def test_the_factors_and_offsets_that_spoiled_the_logits_are_found():
    logits, label = drawn()
    scale, bias = np.array([0.5, 1.0, 2.0, 1.2]), np.array([1.0, -0.5, 0.0, 0.3])
    spoiled = (logits - bias) / scale
    found, offset = fit_vector(spoiled, label)
    np.testing.assert_allclose(found, scale, rtol=0.05)
    # Softmax does not see what is added to all logits.
    np.testing.assert_allclose(offset - offset.mean(), bias - bias.mean(), atol=0.05)
    fitted = Reliability.by_class(softmax(spoiled * found + offset), label)
    alone = Reliability.by_class(softmax(spoiled / fit_temperature(spoiled, label)), label)
    assert fitted.error.max() < 0.01 < alone.error.max()


def test_a_rare_class_keeps_the_temperature():
    logits, label = drawn(pixels=20_000)
    kept = (label != 3) | (np.cumsum(label == 3) < CLASS_PIXELS)
    logits, label = logits[kept] * 2, label[kept]
    scale, bias = fit_vector(logits, label)
    assert scale[3] == pytest.approx(1 / fit_temperature(logits, label)) and bias[3] == 0
    assert abs(scale[:3] - scale[3]).max() > 0


@pytest.mark.parametrize("fitted", [True, False])
def test_offsets_need_two_classes_of_enough_pixels(fitted):
    label = np.repeat([0, 1], [CLASS_PIXELS, CLASS_PIXELS - (not fitted)])
    logits = np.random.default_rng(0).normal(0, 2, (len(label), 2)) + np.array([0, 1])
    scale, bias = fit_vector(logits, label)
    assert bias.any() == fitted
    assert (scale != 1 / fit_temperature(logits, label)).any() == fitted


def test_a_factor_that_the_pixels_say_nothing_of_is_the_temperature():
    logits, label = drawn(classes=2, pixels=5000)
    label[:200] = 2
    logits = np.pad(logits * 3, ((0, 0), (0, 1)))  # Of class 2 always 0.
    scale, _ = fit_vector(logits, label)
    assert scale[2] == pytest.approx(1 / fit_temperature(logits, label)) != scale[1]


def test_factors_within_a_hundredth_of_a_limit_are_at_it():
    assert at_limit([1, 0.0502]) and at_limit([19.9]) and not at_limit([0.06, 19])
