"""Intervals of resampled blocks against blocks that are really drawn again and summed."""

import numpy as np
import pytest
from sklearn import metrics

from landcover_tf.accuracy import bootstrap, scores

COUNTED = {"class_precision": "predicted"}


def test_sums_are_those_of_the_drawn_blocks_to_the_last_pixel():
    rng = np.random.default_rng(1)
    matrices = rng.integers(0, 2**40, (7, 2, 3, 3))  # Pairs of matrices, as of two classifiers.
    counts = bootstrap.resample(7, samples=50, seed=2)
    assert (counts.sum(axis=1) == 7).all()
    sums = bootstrap.resampled_sums(matrices, counts)
    for drawn, found in zip(counts, sums, strict=True):
        expected = np.repeat(matrices, drawn, axis=0).sum(axis=0)
        np.testing.assert_array_equal(found, expected)


def brute_force(blocks, score):
    """Returns a score of blocks that have all classes, by scikit-learn."""
    truth, predicted = np.indices(blocks.shape[1:]).reshape(2, -1)
    pixels = {"y_true": truth, "y_pred": predicted, "sample_weight": blocks.sum(axis=0).ravel()}
    if score == "overall_accuracy":
        return metrics.accuracy_score(**pixels)
    function = {"mean_iou": metrics.jaccard_score, "mean_f1": metrics.f1_score}[score]
    return function(**pixels, average="macro")


@pytest.mark.parametrize("score", ["overall_accuracy", "mean_iou", "mean_f1"])
def test_an_interval_holds_the_middle_of_the_samples_scores(score):
    """One class is in two of 20 blocks; a mean without it would be another, far better score."""
    rng = np.random.default_rng(3)
    matrices = rng.integers(20, 90, (20, 3, 3)) + 900 * np.eye(3, dtype=int)
    matrices[:, 2] = 0
    matrices[[3, 11], 2] = [120, 20, 60]
    counts = bootstrap.resample(20, samples=400, seed=4)
    statistic = scores.total_scores(matrices.sum(axis=0))[score]
    sums = bootstrap.resampled_sums(matrices, counts)
    found = bootstrap.interval(matrices, statistic, sums, confidence=0.9)
    complete = counts[:, [3, 11]].any(axis=1)
    assert 0.05 < 1 - complete.mean() < 0.2  # 0.9 ** 20 is 0.12.
    met = np.ones(400, bool) if score == "overall_accuracy" else complete
    values = [brute_force(np.repeat(matrices, c, axis=0), score) for c in counts[met]]
    assert found.value == pytest.approx(brute_force(matrices, score))
    assert (found.low, found.high) == pytest.approx(np.quantile(values, (0.05, 0.95)))
    assert found.dropped_fraction == pytest.approx(1 - met.mean())


def test_without_a_sample_of_all_classes_a_mean_has_no_interval():
    matrices = np.zeros((2, 2, 2), int)
    matrices[0, 0, 0], matrices[1, 1, 1] = 5, 7
    sums = bootstrap.resampled_sums(matrices, np.array([[2, 0], [0, 2]]))
    found = bootstrap.interval(matrices, scores.total_scores(sums[0] + sums[1])["mean_iou"], sums)
    ends = {"low": None, "high": None}
    assert found.to_dict() == {"value": 1, **ends, "blocks": 2, "dropped_fraction": 1}
    assert isinstance(found.to_dict()["blocks"], int)


def test_one_block_has_no_interval():
    matrices = np.array([[[3, 1], [0, 4]]])
    sums = bootstrap.resampled_sums(matrices, bootstrap.resample(1, samples=5, seed=0))
    found = bootstrap.interval(matrices, scores.overall_accuracy, sums)
    assert found.value == 7 / 8
    assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize(
    ("score", "blocks"),
    # True pixels of class 1 lie in one block; another has one pixel that is called so, which is
    # an error of that block, but tells nothing about how well the class is found elsewhere.
    [("class_recall", 1), ("class_precision", 2), ("class_iou", 1), ("class_f1", 1)],
)
def test_a_class_in_one_block_has_a_score_without_an_interval(score, blocks):
    matrices = np.zeros((30, 2, 2), int)
    matrices[:, 0, 0] = 1000
    matrices[4, 1] = [10, 90]
    matrices[7, 0, 1] = 1
    sums = bootstrap.resampled_sums(matrices, bootstrap.resample(30, samples=200, seed=0))
    function, counted = getattr(scores, score), COUNTED.get(score, "true")
    found = bootstrap.class_interval(matrices, function, 1, sums, counted=counted)
    assert found.blocks == blocks
    assert 0.8 < found.value < 1
    assert np.isnan([found.low, found.high]).tolist() == [blocks == 1] * 2
    assert bootstrap.class_interval(matrices, function, 0, sums, counted=counted).blocks == 30


@pytest.mark.parametrize(
    ("score", "reference"),
    [
        ("class_recall", metrics.recall_score),
        ("class_precision", metrics.precision_score),
        ("class_f1", metrics.f1_score),
        ("class_iou", metrics.jaccard_score),
    ],
)
def test_false_positives_elsewhere_make_no_score_of_samples_without_the_class(score, reference):
    """Class 1 is in two of 20 blocks, and half of the others have pixels that are called so."""
    matrices = np.zeros((20, 2, 2), int)
    matrices[:, 0, 0] = 1000
    matrices[::2, 0, 1] = np.arange(1, 11)
    matrices[[3, 11], 1] = [[10, 90], [40, 160]]
    counts = bootstrap.resample(20, samples=400, seed=4)
    sums = bootstrap.resampled_sums(matrices, counts)
    function, counted = getattr(scores, score), COUNTED.get(score, "true")
    found = bootstrap.class_interval(matrices, function, 1, sums, counted=counted, confidence=0.9)
    # Of user's accuracy, pixels that are called the class are the whole: 12 blocks have some.
    needed = [3, 11] if counted == "true" else [*range(0, 20, 2), 3, 11]
    met = counts[:, needed].any(axis=1)
    assert (found.blocks, found.dropped_fraction) == (len(needed), pytest.approx(1 - met.mean()))
    values = [_of_pixels(np.repeat(matrices, c, axis=0), reference) for c in counts[met]]
    assert found.value == pytest.approx(_of_pixels(matrices, reference))
    assert (found.low, found.high) == pytest.approx(np.quantile(values, (0.05, 0.95)))
    assert found.low > 0.4 or counted == "predicted"


def test_a_class_that_is_only_predicted_has_an_iou_of_zero_without_an_interval():
    matrices = np.array([[[9, 1], [0, 0]]] * 5)
    sums = bootstrap.resampled_sums(matrices, bootstrap.resample(5, samples=20, seed=0))
    found = bootstrap.class_interval(matrices, scores.class_iou, 1, sums)
    ends = {"low": None, "high": None}
    assert found.to_dict() == {"value": 0, **ends, "blocks": 0, "dropped_fraction": 0}


def _of_pixels(blocks, function):
    """Returns a score of class 1 of the blocks' pixels."""
    truth, predicted = np.indices((2, 2)).reshape(2, -1)
    return function(truth, predicted, sample_weight=blocks.sum(axis=0).ravel(), zero_division=0)
