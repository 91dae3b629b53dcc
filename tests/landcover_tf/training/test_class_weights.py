"""Class weights by hand."""

from pathlib import Path

import numpy as np
import pytest

from landcover_tf.errors import ConfigError
from landcover_tf.training.class_weights import MAX_CLASS_WEIGHT, class_weights
from landcover_tf.training.config import TrainConfig


def test_auto_class_weights_by_hand():
    # Shares 0.81, 0.16, 0.03 and a class of one pixel in a million, and none at all.
    weights = class_weights("auto", [810_000, 160_000, 29_999, 1, 0])
    assert weights == pytest.approx((1, 9 / 4, np.sqrt(810_000 / 29_999), 10, 0))
    assert max(weights) == MAX_CLASS_WEIGHT


@pytest.mark.parametrize("kind", ["auto", "effective-number"])
def test_a_class_that_never_occurs_changes_no_other_weight(kind):
    assert class_weights(kind, [70, 0, 25, 5, 0]) == pytest.approx(
        np.insert(class_weights(kind, [70, 25, 5]), [1, 3], 0)
    )


def test_effective_number_by_hand():
    # N = 4: b = 3/4; 1 - b^3 = 37/64 and 1 - b = 1/4, so the weights differ by 37/16.
    assert class_weights("effective-number", [3, 1]) == pytest.approx((1, 37 / 16))
    many = class_weights("effective-number", [900_000_000, 100_000_000])
    # For N of a milliard pixels b^n is exp(-n / N).
    assert many == pytest.approx((1, (1 - np.exp(-0.9)) / (1 - np.exp(-0.1))), rel=1e-5)


def test_class_weights_given_or_none():
    assert class_weights("none", [1, 2]) is None
    assert class_weights([1, 2.5], [7, 7]) == (1.0, 2.5)


@pytest.mark.parametrize(
    ("kind", "pixels", "message"),
    [
        ([1, 2, 3], [1, 1], "expects 2 numbers, one for each class of the legend, got 3"),
        ([1, -1], [1, 1], "expects finite numbers >= 0, at least one of them above 0, got 1 -1"),
        ([0, 0], [1, 1], "above 0"),
        ("sqrt", [1, 1], "expected class weights auto, none"),
        ("auto", [0, 0], "the dataset has none"),
    ],
)
def test_bad_class_weights_are_refused(kind, pixels, message):
    with pytest.raises(ConfigError, match=message):
        class_weights(kind, pixels)


def config(weights):
    return TrainConfig(data_dir=Path("d"), output_dir=Path("o"), class_weights=weights)


def test_a_config_takes_a_list_of_numbers():
    """A Python program that gave [1.0, 2] read that it must be auto, none or effective-number."""
    assert config([1.0, 2]).class_weights == (1.0, 2)


@pytest.mark.parametrize("weights", [(), [], (1.0, -2.0), (0.0, 0.0), (1.0, np.nan), ("a", 1.0)])
def test_a_config_refuses_weights_that_are_none(weights):
    with pytest.raises(ConfigError, match="--class-weights expects finite numbers >= 0"):
        config(weights)


@pytest.mark.parametrize("weights", [2.0, "sqrt"])
def test_a_config_tells_all_that_the_weights_may_be(weights):
    told = rf"--class-weights must be one of auto, none, effective-number, numbers, got {weights}"
    with pytest.raises(ConfigError, match=told):
        config(weights)
