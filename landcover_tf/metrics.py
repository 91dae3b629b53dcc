"""Streaming metrics over valid pixels, all derived from one confusion matrix."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from landcover_tf.accuracy.scores import Scores, scores


@keras.saving.register_keras_serializable(package="landcover_tf")
class ConfusionMatrix(keras.metrics.Metric):
    """Counts true against predicted classes and gives one score of the counts.

    It takes dense labels [batch, height, width] and logits or probabilities [batch, height,
    width, classes]. Labels outside [0, num_classes), such as 255 for ignored, do not count.
    The counts are integers: float32 stops counting at 16.7 million pixels, which 256 patches
    already hold.

    Args:
        num_classes: Number of classes.
        statistic: What `result` returns: a key of `STATISTICS`. It equals the property of that
            name of `landcover_tf.accuracy.scores.Scores`; NaN before any pixel was counted.
        name: Name in logs; the statistic's by default.
    """

    def __init__(
        self,
        num_classes: int,
        statistic: str = "mean_iou",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        if statistic not in STATISTICS:
            raise ValueError(f"expected a statistic of {sorted(STATISTICS)}, got {statistic!r}")
        super().__init__(name=name or statistic, dtype=dtype)
        self.num_classes = num_classes
        self.statistic = statistic
        self.counts = self.add_variable(
            (num_classes, num_classes),
            initializer="zeros",
            dtype=_count_dtype(),
            name="counts",
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts the pixels of a batch.

        Args:
            y_true: Dense labels, integer [batch, height, width].
            y_pred: Logits or probabilities [batch, height, width, classes].
            sample_weight: Pixels [batch, height, width] of weight 0 do not count; other weights
                make no difference, because a count is a count.
        """
        labels = ops.cast(y_true, "int32")
        if sample_weight is not None:
            weight = ops.broadcast_to(ops.convert_to_tensor(sample_weight), ops.shape(labels))
            labels = ops.where(weight > 0, labels, -1)
        self.counts.assign_add(confusion(labels, y_pred, self.num_classes))

    def result(self) -> Any:
        """Returns the statistic of all pixels counted so far, a float32 scalar."""
        return STATISTICS[self.statistic](ops.cast(self.counts, "float32"))

    def matrix(self) -> np.ndarray:
        """Returns the counts, int64 [classes, classes]; rows are the truth."""
        return ops.convert_to_numpy(self.counts).astype(np.int64)

    def scores(self) -> Scores:
        """Returns every score of the pixels counted so far."""
        return scores(self.matrix())

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_classes": self.num_classes,
            "statistic": self.statistic,
        }


def confusion(labels: Any, outputs: Any, num_classes: int) -> Any:
    """Returns pixel counts by true class (row) and predicted class, integer [classes, classes].

    Args:
        labels: Dense labels, integer [batch, height, width]; what is no class does not count.
        outputs: Logits or probabilities [batch, height, width, classes].
        num_classes: Number of classes.
    """
    labels = ops.cast(labels, "int32")
    valid = ops.logical_and(labels >= 0, labels < num_classes)
    truth = ops.one_hot(ops.where(valid, labels, 0), num_classes, dtype="float32")
    truth = truth * ops.expand_dims(ops.cast(valid, "float32"), -1)
    found = ops.one_hot(ops.argmax(outputs, axis=-1), num_classes, dtype="float32")
    # A product per image stays exact in float32, and compiles under XLA where bincount fails.
    counts = ops.einsum("bhwt,bhwp->btp", truth, found)
    return ops.sum(ops.cast(ops.round(counts), _count_dtype()), axis=0)


def segmentation_metrics(num_classes: int) -> list[ConfusionMatrix]:
    """Returns the metrics to compile a model with: `mean_iou`, `mean_f1`, `overall_accuracy`."""
    return [
        ConfusionMatrix(num_classes, name) for name in ("mean_iou", "mean_f1", "overall_accuracy")
    ]


def _count_dtype() -> str:
    # JAX has no 64-bit integers unless it is told so globally.
    return "int32" if keras.backend.backend() == "jax" else "int64"


def _overall_accuracy(counts: Any) -> Any:
    return _quotient(ops.sum(ops.diagonal(counts)), ops.sum(counts))


def _mean_iou(counts: Any) -> Any:
    correct, truth, found = _margins(counts)
    return _mean_where_defined(correct, truth + found - correct)


def _mean_f1(counts: Any) -> Any:
    correct, truth, found = _margins(counts)
    return _mean_where_defined(2 * correct, truth + found)


def _mean_precision(counts: Any) -> Any:
    correct, _, found = _margins(counts)
    return _mean_where_defined(correct, found)


def _mean_recall(counts: Any) -> Any:
    correct, truth, _ = _margins(counts)
    return _mean_where_defined(correct, truth)


STATISTICS: dict[str, Callable[[Any], Any]] = {
    "mean_iou": _mean_iou,
    "mean_f1": _mean_f1,
    "mean_precision": _mean_precision,
    "mean_recall": _mean_recall,
    "overall_accuracy": _overall_accuracy,
}


def _margins(counts: Any) -> tuple[Any, Any, Any]:
    return ops.diagonal(counts), ops.sum(counts, axis=1), ops.sum(counts, axis=0)


def _mean_where_defined(numerator: Any, denominator: Any) -> Any:
    """Returns the mean quotient of the classes whose denominator is not 0."""
    defined = denominator > 0
    quotients = ops.where(defined, numerator / ops.where(defined, denominator, 1.0), 0.0)
    return _quotient(ops.sum(quotients), ops.sum(ops.cast(defined, "float32")))


def _quotient(numerator: Any, denominator: Any) -> Any:
    return ops.where(denominator > 0, numerator / ops.maximum(denominator, 1e-30), float("nan"))
