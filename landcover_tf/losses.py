"""Segmentation losses that count valid pixels only.

Every term obeys the same rules: it computes in float32 whatever the precision policy, pixels
whose label is no class (255) contribute nothing, a class without valid pixels in the batch
contributes nothing, and a batch without valid pixels costs exactly 0.

Labels are dense indices, integer [batch, height, width]; predictions are logits [batch, height,
width, classes].
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import keras
from keras import ops

from landcover_tf.errors import ConfigError
from landcover_tf.loss_settings import LOSS_KINDS, LossSettings

# Dice of an almost empty class is noise; one pixel of smoothing damps it and keeps the quotient
# finite. It is tiny against the thousands of pixels of a real batch.
_SMOOTHING_PX = 1.0
# Below every class and every negated class.
_NO_CLASS = -1e6


@keras.saving.register_keras_serializable(package="landcover_tf")
class SegmentationLoss(keras.losses.Loss):
    """A term per pixel (cross-entropy, focal), a term per region (Dice, ...), or both.

    Args:
        settings: The terms, their weights and their exponents.
        name: For Keras.
        reduction: For Keras.
    """

    def __init__(
        self,
        settings: LossSettings,
        *,
        name: str = "segmentation_loss",
        reduction: str = "sum_over_batch_size",
    ) -> None:
        # Labels pass through this dtype too; float32 holds every class index exactly.
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.settings = settings
        self.cross_replica_sum: Callable[[Any], Any] = _identity
        """Sums a tensor over replicas. With it every replica gets the loss of the global batch,
        of which sums over pixels are taken; without it, the loss of its own part. The Lovasz
        term is always that of the own part."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of the batch, float32 [1].

        The shape is [1] and not a scalar because Keras divides by the number of replicas only
        what it reduces itself.
        """
        settings, classes = self.settings, y_pred.shape[-1]
        self._check_classes(classes)
        labels = ops.cast(y_true, "int32")
        valid = ops.logical_and(labels >= 0, labels < classes)
        labels = ops.where(valid, labels, 0)
        valid_px = ops.cast(valid, "float32")
        truth = ops.one_hot(labels, classes, dtype="float32") * ops.expand_dims(valid_px, -1)
        logits = ops.cast(y_pred, "float32")
        # An ignored pixel may hold anything, even NaN, and NaN * 0 would be NaN.
        logits = ops.where(ops.expand_dims(valid, -1), logits, 0.0)
        pixel_term, region_term = LOSS_KINDS[settings.kind]
        both = pixel_term is not None and region_term is not None
        loss = ops.zeros((), "float32")
        if pixel_term:
            term = self._pixel_loss(truth, logits, self._pixel_weights(labels, valid_px))
            loss = loss + (settings.ce_weight if both else 1.0) * term
        if region_term:
            term = self._region_loss(region_term, truth, ops.softmax(logits, axis=-1), valid_px)
            loss = loss + (settings.dice_weight if both else 1.0) * term
        return ops.reshape(loss, (1,))

    def get_config(self) -> dict[str, Any]:
        weights = self.settings.class_weights
        listed = {"class_weights": None if weights is None else list(weights)}
        return super().get_config() | asdict(self.settings) | listed

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SegmentationLoss":
        of_keras = {name: config[name] for name in ("name", "reduction")}
        settings = {name: value for name, value in config.items() if name not in of_keras}
        return cls(LossSettings(**settings), **of_keras)

    def _pixel_loss(self, truth: Any, logits: Any, weights: Any) -> Any:
        """Returns sum(weight * loss) / sum(weight) over pixels."""
        log_probability = ops.log_softmax(logits, axis=-1)
        settings, smoothing = self.settings, self.settings.label_smoothing
        target = truth * (1 - smoothing) + smoothing / truth.shape[-1]
        losses = -ops.sum(target * log_probability, axis=-1)
        if LOSS_KINDS[settings.kind][0] == "focal" and settings.focal_gamma:
            own_probability = ops.exp(ops.sum(truth * log_probability, axis=-1))
            # The power's slope is infinite at 0 for exponents below 1, so 0 is not reached.
            losses = losses * ops.power(
                ops.maximum(1 - own_probability, 1e-7), settings.focal_gamma
            )
        total, weight = self._sums(losses * weights), self._sums(weights)
        return ops.where(weight > 0, total / ops.where(weight > 0, weight, 1.0), 0.0)

    def _pixel_weights(self, labels: Any, valid: Any) -> Any:
        """Returns the weight of each pixel, 0 where invalid, float32 [batch, height, width]."""
        settings, weights = self.settings, valid
        if settings.class_weights is not None:
            table = ops.convert_to_tensor(settings.class_weights, dtype="float32")
            weights = weights * ops.take(table, labels, axis=0)
        if settings.boundary_weight:
            near = near_boundary(labels, valid, settings.boundary_px)
            weights = weights * (1 + settings.boundary_weight * near)
        return weights

    def _region_loss(self, term: str, truth: Any, probability: Any, valid: Any) -> Any:
        """Returns the mean over classes with valid pixels in the batch."""
        if term == "lovasz":
            # Sorting takes all pixels in one place: each replica takes those of its own part.
            present = ops.sum(truth, axis=(0, 1, 2)) > 0
            losses = _lovasz_losses(truth, probability, valid)
        else:
            present = self._sums(truth, keep_classes=True) > 0
            losses = self._overlap_losses(term, truth, probability, valid)
        count = ops.sum(ops.cast(present, "float32"))
        return ops.sum(ops.where(present, losses, 0.0)) / ops.maximum(count, 1.0)

    def _overlap_losses(self, term: str, truth: Any, probability: Any, valid: Any) -> Any:
        """Returns 1 - (TP + s) / (TP + alpha FP + beta FN + s) of each class over the batch.

        Dice is the case alpha = beta = 0.5. Sums run over the batch and not per image, because
        one patch rarely shows all classes.
        """
        weights = self.settings.tversky_alpha, self.settings.tversky_beta
        alpha, beta = (0.5, 0.5) if term == "dice" else weights
        found = probability * ops.expand_dims(valid, -1)
        overlap = self._sums(truth * found, keep_classes=True)
        false_positive = self._sums(found, keep_classes=True) - overlap
        false_negative = self._sums(truth, keep_classes=True) - overlap
        index = (overlap + _SMOOTHING_PX) / (
            overlap + alpha * false_positive + beta * false_negative + _SMOOTHING_PX
        )
        if term == "focal_tversky":
            return ops.power(ops.maximum(1 - index, 1e-7), self.settings.tversky_gamma)
        return 1 - index

    def _sums(self, values: Any, *, keep_classes: bool = False) -> Any:
        """Returns the sum over pixels of the batch, of all replicas where they are joined."""
        return self.cross_replica_sum(ops.sum(values, axis=(0, 1, 2) if keep_classes else None))

    def _check_classes(self, classes: int) -> None:
        weights = self.settings.class_weights
        if weights is not None and len(weights) != classes:
            raise ConfigError(
                f"expected {classes} class weights, one per class, got {len(weights)}"
            )


def near_boundary(labels: Any, valid: Any, reach_px: int) -> Any:
    """Returns 1 where another class lies within `reach_px` (rows, columns, diagonals), else 0.

    Args:
        labels: Dense labels, int32 [batch, height, width]; any class where invalid.
        valid: 1 where the label counts, float32 [batch, height, width]. Invalid pixels are of
            no class.
        reach_px: 1 marks the pixels on both sides of a boundary, 2 one more row, and so on.

    Returns:
        float32 [batch, height, width].
    """
    reach = [[0, 0], [reach_px, reach_px], [reach_px, reach_px]]

    def highest(values: Any) -> Any:
        # Padded here, because some backends take zeros for the rim.
        known = ops.pad(ops.where(valid > 0, values, _NO_CLASS), reach, constant_values=_NO_CLASS)
        return ops.max_pool(ops.expand_dims(known, -1), 2 * reach_px + 1, 1, "valid")[..., 0]

    classes = ops.cast(labels, "float32")
    return ops.cast(highest(classes) > -highest(-classes), "float32") * valid


def _lovasz_losses(truth: Any, probability: Any, valid: Any) -> Any:
    """Returns the Lovasz extension of 1 - IoU of each class (Berman et al. 2018), [classes].

    An ignored pixel gets error 0: sorted last, it changes neither the others' slopes nor the sum.
    """
    classes = truth.shape[-1]
    errors = ops.abs(truth - probability) * ops.expand_dims(valid, -1)
    errors = ops.transpose(ops.reshape(errors, (-1, classes)))
    truth = ops.transpose(ops.reshape(truth, (-1, classes)))
    order = ops.stop_gradient(ops.argsort(-errors, axis=-1))
    errors = ops.take_along_axis(errors, order, axis=-1)
    hit = ops.stop_gradient(ops.take_along_axis(truth, order, axis=-1))
    total = ops.sum(hit, axis=-1, keepdims=True)
    left = total - ops.cumsum(hit, axis=-1)
    union = total + ops.cumsum(1 - hit, axis=-1)
    jaccard = 1 - left / ops.maximum(union, 1.0)
    slopes = ops.concatenate([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], axis=-1)
    return ops.sum(errors * slopes, axis=-1)


def _identity(value: Any) -> Any:
    return value
