"""Scores from confusion matrices; numpy only.

Rows are the truth, columns the prediction; in front of them, a matrix may have more axes, such as
that of bootstrap samples. A score that is undefined is NaN, never 0 or 1. Means over classes are
over those with true pixels, so that all classifiers of a split are averaged over the same classes:
a pixel that is called a class which the split lacks is an error of its true class, and would else
add a class with the score 0.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landcover_tf.system.files import json_number


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns pixel counts by true class (row) and predicted class (column).

    Args:
        truth: Dense class indices, any integer dtype and shape; values outside
            [0, num_classes), such as 255 for ignored, are left out.
        predicted: Dense class indices in [0, num_classes) wherever `truth` is a class.
        num_classes: Number of classes.

    Returns:
        int64 [num_classes, num_classes].

    Raises:
        ValueError: The shapes differ or a prediction is not a class.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth is {truth.shape}, predicted is {predicted.shape}")
    valid = (truth >= 0) & (truth < num_classes)
    rows, columns = truth[valid].astype(np.int64), predicted[valid].astype(np.int64)
    if columns.size and not 0 <= columns.min() <= columns.max() < num_classes:
        raise ValueError(
            f"predictions must be in [0, {num_classes}), got {columns.min()} to {columns.max()}"
        )
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def class_precision(matrices: np.ndarray) -> np.ndarray:
    """Returns the share of the pixels predicted as a class that are it, float [..., classes]."""
    return _ratio(_correct(matrices), matrices.sum(axis=-2))


def class_recall(matrices: np.ndarray) -> np.ndarray:
    """Returns the share of a class's pixels that were found, float [..., classes]."""
    return _ratio(_correct(matrices), matrices.sum(axis=-1))


def class_f1(matrices: np.ndarray) -> np.ndarray:
    """Returns the harmonic mean of precision and recall, float [..., classes]."""
    return _ratio(2 * _correct(matrices), matrices.sum(axis=-1) + matrices.sum(axis=-2))


def class_iou(matrices: np.ndarray) -> np.ndarray:
    """Returns intersection over union, float [..., classes]."""
    correct = _correct(matrices)
    return _ratio(correct, matrices.sum(axis=-1) + matrices.sum(axis=-2) - correct)


def overall_accuracy(matrices: np.ndarray) -> np.ndarray:
    """Returns the share of correct pixels, float [...]."""
    return _ratio(_correct(matrices).sum(axis=-1), matrices.sum(axis=(-1, -2)))


def total_scores(matrix: np.ndarray) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Returns `overall_accuracy`, `mean_iou` and `mean_f1` as functions of matrices [..., c, c].

    The means are over the classes with true pixels in `matrix`, and NaN for matrices that lack one
    of them: where bootstrap samples lose a rare class, the mean of the others is another score.

    Args:
        matrix: Confusion matrix of all pixels, [c, c].
    """
    classes = matrix.sum(axis=-1) > 0

    def mean_of(score: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        def mean(matrices: np.ndarray) -> np.ndarray:
            support = matrices.sum(axis=-1)
            values = np.where(support > 0, score(matrices), np.nan)[..., classes]
            return _ratio(values.sum(axis=-1), np.full(support.shape[:-1], classes.sum()))

        return mean

    return {
        "overall_accuracy": overall_accuracy,
        "mean_iou": mean_of(class_iou),
        "mean_f1": mean_of(class_f1),
    }


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Agreement of a prediction with the truth."""

    matrix: np.ndarray
    """Counts by true class (row) and predicted class (column), [classes, classes]."""
    precision: np.ndarray
    """Share of the pixels predicted as a class that are it (user's accuracy), [classes]."""
    recall: np.ndarray
    """Share of a class's pixels that were found (producer's accuracy), [classes]."""
    f1: np.ndarray
    """Harmonic mean of precision and recall, [classes]."""
    iou: np.ndarray
    """Intersection over union, [classes]."""
    overall_accuracy: float
    """Share of correct pixels; NaN without pixels."""

    @property
    def support(self) -> np.ndarray:
        """True pixels of each class, [classes]."""
        return np.asarray(self.matrix.sum(axis=1))

    @property
    def predicted(self) -> np.ndarray:
        """Predicted pixels of each class, [classes]."""
        return np.asarray(self.matrix.sum(axis=0))

    @property
    def pixels(self) -> int:
        """Scored pixels."""
        return int(self.matrix.sum())

    @property
    def predicted_absent(self) -> int:
        """Pixels that were predicted as classes without true pixels."""
        return int(self.predicted[self.support == 0].sum())

    def macro(self, name: str) -> float:
        """Returns the mean of `precision`, `recall`, `f1` or `iou` over classes with true pixels.

        A class that was never predicted has no precision and is left out of the mean of that.
        """
        return float(_mean(getattr(self, name), self.matrix))

    def weighted(self, name: str) -> float:
        """Returns the mean of a per-class score, weighted by true pixels.

        A class with pixels but without a score (never predicted: no precision) counts as 0,
        because leaving it out would reward never predicting it.
        """
        if not self.pixels:
            return math.nan
        values = np.nan_to_num(getattr(self, name), nan=0.0)
        return float((values * self.support).sum() / self.support.sum())

    @property
    def mean_iou(self) -> float:
        """Mean intersection over union of the classes with true pixels."""
        return self.macro("iou")

    @property
    def mean_f1(self) -> float:
        """Mean F1 of the classes with true pixels."""
        return self.macro("f1")

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond that of independent margins; NaN if undefined."""
        if not self.pixels:
            return math.nan
        share = self.matrix / self.pixels
        chance = float(share.sum(axis=1) @ share.sum(axis=0))
        return math.nan if chance == 1 else (self.overall_accuracy - chance) / (1 - chance)

    @property
    def matthews(self) -> float:
        """Multi-class Matthews correlation (Gorodkin 2004); NaN if a margin has one class."""
        n, truth, found = (
            float(self.pixels),
            self.support.astype(float),
            self.predicted.astype(float),
        )
        covariance = n * np.trace(self.matrix) - truth @ found
        spread = math.sqrt((n**2 - found @ found) * (n**2 - truth @ truth))
        return float(covariance / spread) if spread else math.nan

    def to_dict(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns plain values for JSON, None for what is undefined.

        Args:
            class_names: Name of each class, in dense order.
        """
        names = ("precision", "recall", "f1", "iou")
        return {
            "pixels": self.pixels,
            "predicted_as_absent_classes": self.predicted_absent,
            "overall_accuracy": json_number(self.overall_accuracy),
            "kappa": json_number(self.kappa),
            "matthews": json_number(self.matthews),
            "macro": {name: json_number(self.macro(name)) for name in names},
            "weighted": {name: json_number(self.weighted(name)) for name in names},
            "classes": {
                class_name: {"support": int(self.support[i]), "predicted": int(self.predicted[i])}
                | {name: json_number(getattr(self, name)[i]) for name in names}
                for i, class_name in enumerate(class_names)
            },
            "confusion_matrix": self.matrix.tolist(),
        }


def scores(matrix: np.ndarray) -> Scores:
    """Returns the scores of a confusion matrix.

    Args:
        matrix: Counts or areas by true class (row) and predicted class (column).

    Raises:
        ValueError: The matrix is not square or has a negative entry.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or (matrix < 0).any():
        raise ValueError(f"expected a square matrix of counts, got shape {matrix.shape}")
    return Scores(
        matrix=matrix,
        precision=class_precision(matrix),
        recall=class_recall(matrix),
        f1=class_f1(matrix),
        iou=class_iou(matrix),
        overall_accuracy=float(overall_accuracy(matrix)),
    )


def _correct(matrices: np.ndarray) -> np.ndarray:
    return np.diagonal(matrices, axis1=-2, axis2=-1).astype(float)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    top, bottom = np.asarray(numerator, float), np.asarray(denominator, float)
    quotient = np.full(bottom.shape, np.nan)
    np.divide(top, bottom, out=quotient, where=bottom > 0)
    return quotient


def _mean(values: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Returns the mean of the defined scores of classes with true pixels."""
    defined = ~np.isnan(values) & (matrices.sum(axis=-1) > 0)
    return _ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))
