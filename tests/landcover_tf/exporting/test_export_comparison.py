"""Which differences between a model and its original are rounding."""

import numpy as np
import pytest

from landcover_tf.errors import ModelError
from landcover_tf.exporting.comparison import Answers, differences
from landcover_tf.model_info import Calibration


def answers(*probabilities: float, classes: int | None = None) -> Answers:
    """Returns the answers for one pixel; the class is the likeliest unless given."""
    values = np.array([probabilities], np.float32)
    likeliest = values.argmax(axis=-1) if classes is None else np.array([classes])
    return {"classes": likeliest.astype(np.uint8), "probabilities": values}


def compare(got: Answers, expected: Answers, scale: float = 1.0):
    return differences(
        got, expected, models=("ONNX model", "SavedModel"), tolerance=1e-3,
        calibration=Calibration(method="temperature", scale=(scale,)),
    )  # fmt: skip


def test_two_classes_may_swap_where_each_moves_by_the_tolerance():
    """0.4992 to 0.5001 and 0.5008 to 0.4999: both by 9e-4, from 1.6e-3 apart."""
    check = compare(answers(0.5001, 0.4999), answers(0.4992, 0.5008))
    assert check.different_classes == 1
    assert check.max_probability_difference == pytest.approx(9e-4, rel=1e-3)


def test_a_class_that_differs_beside_no_tie_is_refused():
    message = "the ONNX model differs from the SavedModel: probabilities by 0, 1 of 1 classes"
    with pytest.raises(ModelError, match=message):
        compare(answers(0.4, 0.6, classes=0), answers(0.4, 0.6))
    with pytest.raises(ModelError, match="1 of 1 classes"):
        compare(answers(1.0, classes=9), answers(1.0))


def test_a_calibration_stretches_the_rounding_of_logits_too():
    got, expected = answers(0.303, 0.697), answers(0.3, 0.7)
    with pytest.raises(ModelError, match=r"probabilities by 0\.003, 0 of 1 classes"):
        compare(got, expected)
    assert compare(got, expected, scale=4).different_classes == 0
    with pytest.raises(ModelError, match="probabilities by nan"):
        compare(answers(np.nan, 0.7, classes=1), expected, scale=4)
