"""Scores by hand, against scikit-learn, and by law."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from sklearn import metrics as sklearn_metrics

from landcover_tf.accuracy.scores import confusion_matrix, scores

MATRIX = np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]])


def test_by_hand():
    found = scores(MATRIX)
    assert found.overall_accuracy == 0.7
    np.testing.assert_allclose(found.precision, [3 / 5, 4 / 5, np.nan])
    np.testing.assert_allclose(found.recall, [3 / 4, 4 / 6, np.nan])
    np.testing.assert_allclose(found.f1, [6 / 9, 8 / 11, np.nan])
    np.testing.assert_allclose(found.iou, [3 / 6, 4 / 7, np.nan])
    assert found.mean_iou == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert found.weighted("recall") == pytest.approx(0.7)
    assert found.support.tolist() == [4, 6, 0]
    assert found.predicted.tolist() == [5, 5, 0]


def test_an_absent_class_is_in_no_mean_even_where_it_is_predicted():
    found = scores(np.array([[3, 1], [0, 0]]))
    # Class 1 has no true pixel: no recall. One pixel was called so: precision and IoU are 0.
    assert math.isnan(found.recall[1])
    assert found.precision[1] == 0
    assert found.iou[1] == 0
    assert found.mean_iou == pytest.approx(3 / 4)
    assert found.mean_f1 == pytest.approx(6 / 7)
    assert found.predicted_absent == 1
    assert scores(MATRIX).predicted_absent == 0
    # Two pixels were called class 1, which one has, and one pixel class 2.
    assert scores(np.array([[3, 1, 1], [0, 1, 0], [0, 0, 0]])).predicted_absent == 1


def test_never_predicted_class_counts_as_zero_in_weighted_means():
    found = scores(np.array([[2, 0], [2, 0]]))
    assert math.isnan(found.precision[1])
    assert found.weighted("precision") == pytest.approx(0.5 * 0.5 + 0.5 * 0)


def test_no_pixel_leaves_everything_undefined():
    found = scores(np.zeros((2, 2), int))
    values = [found.overall_accuracy, found.mean_iou, found.mean_f1, found.kappa, found.matthews]
    assert all(math.isnan(v) for v in [*values, found.weighted("f1")])
    written = json.loads(json.dumps(found.to_dict(["a", "b"]), allow_nan=False))
    assert written["classes"]["a"] == {
        "support": 0,
        "predicted": 0,
        "precision": None,
        "recall": None,
        "f1": None,
        "iou": None,
    }


def test_equal_to_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 3000)
    predicted = np.where(rng.random(3000) < 0.6, truth, rng.integers(0, 5, 3000))
    matrix = confusion_matrix(truth, predicted, 5)
    np.testing.assert_array_equal(matrix, sklearn_metrics.confusion_matrix(truth, predicted))
    found = scores(matrix)
    for average, ours in (("macro", found.macro), ("weighted", found.weighted)):
        theirs = sklearn_metrics.precision_recall_fscore_support(truth, predicted, average=average)
        assert [ours(n) for n in ("precision", "recall", "f1")] == pytest.approx(theirs[:3])
    assert found.macro("iou") == pytest.approx(
        sklearn_metrics.jaccard_score(truth, predicted, average="macro")
    )
    assert found.kappa == pytest.approx(sklearn_metrics.cohen_kappa_score(truth, predicted))
    assert found.matthews == pytest.approx(sklearn_metrics.matthews_corrcoef(truth, predicted))


def test_ignored_pixels_do_not_count():
    truth = np.array([[0, 255], [1, 255]], np.uint8)
    predicted = np.array([[0, 9], [0, 200]], np.uint8)  # Anything may stand at ignored pixels.
    for labels in (truth, truth.astype(np.int8)):  # 255, and -1.
        assert confusion_matrix(labels, predicted, 2).tolist() == [[1, 0], [1, 0]]


counts = st_numpy.arrays(np.int64, (4, 4), elements=st.integers(0, 1000))


@given(counts, counts)
def test_matrices_add_up_and_scores_stay_in_range(a, b):
    found = scores(a + b)
    assert found.pixels == scores(a).pixels + scores(b).pixels
    for values in (found.precision, found.recall, found.f1, found.iou):
        known = values[~np.isnan(values)]
        assert ((known >= 0) & (known <= 1)).all()
    # IoU = F1 / (2 - F1) for every class that has them.
    np.testing.assert_allclose(found.iou, found.f1 / (2 - found.f1))


@given(counts, st.permutations(range(4)))
def test_order_of_classes_changes_no_mean(matrix, order):
    a, b = scores(matrix), scores(matrix[np.ix_(order, order)])
    np.testing.assert_allclose(
        [a.mean_iou, a.mean_f1, a.kappa], [b.mean_iou, b.mean_f1, b.kappa], atol=1e-12
    )


@pytest.mark.parametrize("matrix", [np.zeros((2, 3)), np.zeros(4), -np.ones((2, 2))])
def test_no_confusion_matrix_is_refused(matrix):
    with pytest.raises(ValueError, match="expected a square matrix of counts"):
        scores(matrix)


def test_bad_predictions_are_refused():
    with pytest.raises(ValueError, match=r"predictions must be in \[0, 2\), got 0 to 7"):
        confusion_matrix(np.array([0, 1]), np.array([0, 7]), 2)
    with pytest.raises(ValueError, match="truth is"):
        confusion_matrix(np.zeros(2, int), np.zeros(3, int), 2)
