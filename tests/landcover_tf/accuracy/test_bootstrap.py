"""Intervals of resampled blocks against blocks that are really drawn again and summed."""

import numpy as np
import pytest

from landcover_tf.accuracy import bootstrap, scores


def test_sums_are_those_of_the_drawn_blocks_to_the_last_pixel():
    rng = np.random.default_rng(1)
    matrices = rng.integers(0, 2**40, (7, 2, 3, 3))  # Pairs of matrices, as of two classifiers.
    counts = bootstrap.resample(7, samples=50, seed=2)
    assert (counts.sum(axis=1) == 7).all()
    sums = bootstrap.resampled_sums(matrices, counts)
    for drawn, found in zip(counts, sums, strict=True):
        expected = np.repeat(matrices, drawn, axis=0).sum(axis=0)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("score", ["overall_accuracy", "mean_iou", "mean_f1"])
def test_an_interval_holds_the_middle_of_the_samples_scores(score):
    rng = np.random.default_rng(3)
    matrices = rng.integers(0, 2000, (12, 4, 4)) + 4000 * np.eye(4, dtype=int)
    counts = bootstrap.resample(12, samples=400, seed=4)
    statistic = getattr(scores, score)
    found = bootstrap.interval(
        matrices, statistic, bootstrap.resampled_sums(matrices, counts), confidence=0.9
    )
    drawn = [np.repeat(matrices, c, axis=0).sum(axis=0, keepdims=True) for c in counts]
    values = [float(statistic(one)[0]) for one in drawn]
    assert found.value == statistic(matrices.sum(axis=0, keepdims=True))[0]
    assert (found.low, found.high) == tuple(np.quantile(values, (0.05, 0.95)))


def test_one_block_has_no_interval():
    matrices = np.array([[[3, 1], [0, 4]]])
    sums = bootstrap.resampled_sums(matrices, bootstrap.resample(1, samples=5, seed=0))
    found = bootstrap.interval(matrices, scores.overall_accuracy, sums)
    assert found.value == 7 / 8
    assert np.isnan([found.low, found.high]).all()
