"""Scores with intervals, of the network, of the baseline, and of the difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landcover_tf.accuracy import bootstrap
from landcover_tf.accuracy.bootstrap import Interval, Statistic
from landcover_tf.accuracy.scores import Scores, class_iou, scores, total_scores


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The scores of one classifier on a split."""

    name: str
    scores: Scores
    intervals: dict[str, Interval]
    """Interval of each of `total_scores`."""
    class_iou: tuple[Interval, ...]
    """Interval of each class's IoU, in dense order."""

    def to_dict(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns plain values for JSON, None for what is undefined."""
        values = self.scores.to_dict(class_names)
        values["intervals"] = {name: i.to_dict() for name, i in self.intervals.items()}
        for name, interval in zip(class_names, self.class_iou, strict=True):
            values["classes"][name]["iou_interval"] = interval.to_dict()
        return {"name": self.name} | values


def judge(
    name: str, matrices: np.ndarray, blocks: Sequence[str], *, samples: int, seed: int
) -> Judged:
    """Returns the scores of one classifier.

    Args:
        name: For people.
        matrices: Confusion matrices, int64 [patches, classes, classes].
        blocks: Block of each patch.
        samples: Bootstrap samples.
        seed: Decides the samples.
    """
    own = bootstrap.block_matrices(matrices, blocks)
    counts = bootstrap.resample(len(own), samples=samples, seed=seed)
    sums = bootstrap.resampled_sums(own, counts)
    matrix = own.sum(axis=0)

    return Judged(
        name=name,
        scores=scores(matrix),
        intervals={
            key: bootstrap.interval(own, statistic, sums)
            for key, statistic in total_scores(matrix).items()
        },
        class_iou=tuple(
            bootstrap.class_interval(own, class_iou, i, sums) for i in range(len(matrix))
        ),
    )


def difference(
    first: np.ndarray, second: np.ndarray, blocks: Sequence[str], *, samples: int, seed: int
) -> dict[str, Interval]:
    """Returns the scores of `first` minus those of `second`, resampled in pairs.

    Both saw the same places: what makes a place easy for one makes it easy for the other, so
    the interval of the difference is narrower than the two intervals suggest.

    Args:
        first: Confusion matrices, int64 [patches, classes, classes].
        second: The same of the other classifier on the same patches.
        blocks: Block of each patch.
        samples: Bootstrap samples.
        seed: Decides the samples.
    """
    both = bootstrap.block_matrices(np.stack([first, second], axis=1), blocks)
    counts = bootstrap.resample(len(both), samples=samples, seed=seed)
    sums = bootstrap.resampled_sums(both, counts)

    def of_pairs(statistic: Statistic) -> Statistic:
        return lambda pairs: statistic(pairs[:, 0]) - statistic(pairs[:, 1])

    # The truth, and with it the set of classes, is that of both.
    statistics = total_scores(both[:, 0].sum(axis=0))
    return {
        key: bootstrap.interval(both, of_pairs(statistic), sums)
        for key, statistic in statistics.items()
    }
